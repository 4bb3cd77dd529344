"""Sealed texts open with their key, in their place, unaltered; and with nothing else."""

import base64
import stat
from pathlib import Path

import pytest

from paymux.domain.errors import ConfigurationBroken
from paymux.kit.seal import Sealer

SEALER = Sealer(b"k" * 32)


@pytest.mark.parametrize("text", ["", "secret", "密钥 🔑", "x" * 10_000])
def test_what_was_sealed_opens(text: str) -> None:
    """Any text, and never twice the same seal."""
    sealed = SEALER.seal(text, "terminals", "key", "t1")
    assert SEALER.unseal(sealed, "terminals", "key", "t1") == text
    assert sealed != SEALER.seal(text, "terminals", "key", "t1")
    assert not text or text not in sealed


@pytest.mark.parametrize(
    "place", [("terminals", "key", "t2"), ("terminals", "keyt1"), ("term", "inalskey", "t1")]
)
def test_a_seal_moved_to_another_place_does_not_open(place: tuple[str, ...]) -> None:
    """Another row, or another way to cut the same letters into parts."""
    sealed = SEALER.seal("secret", "terminals", "key", "t1")
    with pytest.raises(ConfigurationBroken):
        SEALER.unseal(sealed, *place)


def test_another_key_does_not_open_it() -> None:
    """The text says what to do and names the place, not the secret."""
    with pytest.raises(ConfigurationBroken, match=r"terminals / t1.*master key"):
        Sealer(b"x" * 32).unseal(SEALER.seal("secret", "terminals", "t1"), "terminals", "t1")


def test_an_altered_seal_does_not_open() -> None:
    """Every bit counts."""
    sealed = base64.b64decode(SEALER.seal("secret", "p").removeprefix("v1."))
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigurationBroken):
            SEALER.unseal("v1." + base64.b64encode(altered).decode(), "p")
    for wrong in ("", "v1.", "v1.AAAA", "secret", "v1.é"):
        with pytest.raises(ConfigurationBroken):
            SEALER.unseal(wrong, "p")


def test_the_key_file_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, 64 hex digits, the same key at the next start, nothing else left behind."""
    path = tmp_path / "keys" / "master.key"
    sealed = Sealer.load_or_create(path).seal("secret", "p")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64
    assert Sealer.load_or_create(path).unseal(sealed, "p") == "secret"
    assert Sealer.from_hex(path.read_text()).unseal(sealed, "p") == "secret"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "k" * 64, "00" * 31, "00" * 33, "é" * 32])
def test_a_broken_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    """From settings and from a file, with a word on what to do."""
    path = tmp_path / "master.key"
    path.write_text(text)
    with pytest.raises(ConfigurationBroken, match="64 hex digits"):
        Sealer.from_hex(text)
    with pytest.raises(ConfigurationBroken, match="backup") as refused:
        Sealer.load_or_create(path)
    assert not text or text not in str(refused.value)
    with pytest.raises(ConfigurationBroken):
        Sealer(b"short")
