"""The notification key: made once, ours alone, the same for ever after."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from paymux.app import notify_rules
from paymux.config import Settings
from paymux.domain.errors import ConfigurationBroken
from paymux.kit.notify_key import NotifyKey
from paymux.storage.contract import Notification


def test_it_is_made_once_and_read_again(tmp_path: Path) -> None:
    """The second start has the same key; the file can be read by nobody else."""
    path = tmp_path / "new" / "notify_key.pem"
    first = NotifyKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert NotifyKey.load_or_create(path).public_pem == first.public_pem
    assert list(path.parent.iterdir()) == [path]


def test_its_signature_is_the_protocol_s(tmp_path: Path) -> None:
    """A receiver with the public half verifies RSA PKCS#1 v1.5 with SHA-256 over the raw body."""
    key = NotifyKey.load_or_create(tmp_path / "key.pem")
    public = serialization.load_pem_public_key(key.public_pem.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    body = '{"subject":"咖啡"}'.encode()
    public.verify(base64.b64decode(key.sign(body), validate=True), body, padding.PKCS1v15(), hashes.SHA256())


def test_the_header_s_two_forms(tmp_path: Path) -> None:
    """Bare: the signature alone. Prefixed: the terminal's number before it (upay-v2.md §13 no. 12)."""
    key = NotifyKey.load_or_create(tmp_path / "key.pem")
    note = Notification(
        bucket=1,
        merchant_id="M",
        sn="7",
        notification_id="n",
        url="http://x",
        body='{"terminal_sn":"T1"}',
        ctime_ms=1,
    )
    bare = notify_rules(Settings(), key)
    prefixed = notify_rules(Settings(notify_header="prefixed", notify_success="status"), key)
    signature = key.sign(note.body.encode())
    assert (bare.sign(note), bare.any_2xx) == (signature, False)
    assert (prefixed.sign(note), prefixed.any_2xx) == (f"T1 {signature}", True)


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff"])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    """Receivers hold the public half: a new key in silence would make every notification look forged."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationBroken, match="restore it from your backup"):
        NotifyKey.load_or_create(path)
    assert path.read_bytes() == content
