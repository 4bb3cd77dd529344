"""The key that signs notifications to merchants: RSA-2048, made at the first start (upay-v2.md §11).

Receivers keep the public half, so the file must outlive the process: back it up with the database.
"""

import base64
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from paymux.domain.errors import ConfigurationBroken

_PEM = serialization.Encoding.PEM


class NotifyKey:
    """An RSA key pair. `public_pem` is what merchants are given."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self.private = private
        public = private.public_key()
        self.public_pem = public.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    @classmethod
    def load_or_create(cls, path: Path) -> "NotifyKey":
        """Read the PEM file, or make it (mode 0600); raises `ConfigurationBroken` when it is no RSA key."""
        if not path.exists():
            _create(path)
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            text = f"notify key {path} cannot be read ({error}); restore it from your backup"
            raise ConfigurationBroken(text) from error
        if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < 2048:
            raise ConfigurationBroken(f"notify key {path} must be an RSA key of 2048 bits or more")
        return cls(private)

    def sign(self, body: bytes) -> str:
        """Return the Base64 signature of a notification's raw body: PKCS#1 v1.5 with SHA-256."""
        signature = self.private.sign(body, padding.PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()


def _create(path: Path) -> None:
    """Write beside the place and link into it: whole or not at all, and the first of two makers wins."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".notify_key")
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        try:
            Path(path).hardlink_to(name)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink()
    except OSError as error:
        raise ConfigurationBroken(f"notify key {path} cannot be made: {error}") from error
