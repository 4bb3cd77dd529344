"""Secrets at rest: AES-256-GCM under one master key that never enters the database (promise M9).

A sealed text is bound to its place (table, column, row): moved to another row it no longer opens.
"""

import base64
import binascii
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paymux.domain.errors import ConfigurationBroken
from paymux.kit.ids import fresh_bytes

_KEY_BYTES = 32
_NONCE_BYTES = 12
"""What GCM takes without hashing; random nonces are safe for 2**32 texts, and secrets are written rarely."""
_VERSION = "v1."
"""Says how the rest is to be read, should we ever seal in another way."""
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class Sealer:
    """Seals and opens texts. `master_key` is 32 bytes; its loss is the loss of every sealed secret."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise ConfigurationBroken(f"the master key must be {_KEY_BYTES} bytes, not {len(master_key)}")
        self._cipher = AESGCM(master_key)

    @classmethod
    def from_hex(cls, text: str) -> "Sealer":
        """Take the key as 64 hex digits, as settings carry it; raises `ConfigurationBroken`."""
        if not _HEX_KEY.fullmatch(text.strip()):
            raise ConfigurationBroken(
                "the master key must be 64 hex digits: `openssl rand -hex 32` makes one for a new database"
            )
        return cls(bytes.fromhex(text.strip()))

    @classmethod
    def load_or_create(cls, path: Path) -> "Sealer":
        """Read the key file, or make it (mode 0600, 64 hex digits); raises `ConfigurationBroken`."""
        try:
            if not path.exists():
                _create(path)
            return cls.from_hex(path.read_text("ascii"))
        except (OSError, UnicodeDecodeError, ConfigurationBroken) as error:
            text = f"master key file {path} cannot be used ({error}); restore it from your backup"
            raise ConfigurationBroken(text) from error

    def seal(self, plain: str, *place: str) -> str:
        """Return `plain` sealed for `place`, e.g. ("terminals", "current_key", terminal_sn)."""
        nonce = fresh_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain.encode(), _bound_to(place))
        return _VERSION + base64.b64encode(sealed).decode()

    def unseal(self, sealed: str, *place: str) -> str:
        """Return what was sealed for `place`; raises `ConfigurationBroken` when it was not."""
        try:
            if not sealed.startswith(_VERSION):
                raise ValueError(_VERSION)  # noqa: TRY301 - every unreadable text ends in the one answer below
            data = base64.b64decode(sealed[len(_VERSION) :], validate=True)
            nonce, encrypted = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, encrypted, _bound_to(place)).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise ConfigurationBroken(
                f"a secret in the database ({' / '.join(place)}) does not open with this master key: give "
                "the key the database was made with, or restore the row from your backup"
            ) from error


def _bound_to(place: tuple[str, ...]) -> bytes:
    """The place as bytes no other place has: a length before each part."""
    return "".join(f"{len(part)}:{part}" for part in place).encode()


def _create(path: Path) -> None:
    """Write beside the place and link into it: whole or not at all, and the first of two makers wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{fresh_bytes(8).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(fresh_bytes(_KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        _link(draft, path)
    finally:
        draft.unlink()


def _link(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
