"""Secrets at rest: AES-256-GCM under a key file, bound to the row they belong to.

A sealed value is `v1`, a random 96-bit nonce and the ciphertext; its place (table, column,
row) is authenticated, so a value moved to another row does not open (reliability.md §5.4).
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"v1"
_NONCE_BYTES = 12


class Seal:
    """Seals and opens secrets with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> Seal:
        """Return the seal with the key in `path`, made 0600 when it is not there yet."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return cls(path.read_bytes())  # Another replica was quicker.
            with os.fdopen(handle, "wb") as file:
                file.write(AESGCM.generate_key(256))
                file.flush()
                os.fsync(file.fileno())
        return cls(path.read_bytes())

    def close(self, secret: str, *, place: str) -> bytes:
        """Return `secret` sealed for `place`."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), place.encode())

    def open(self, sealed: bytes, *, place: str) -> str:
        """Return the secret. Raises ValueError when it was not sealed for `place` by this key."""
        if sealed[:2] != _VERSION:
            raise ValueError("not a sealed value")
        nonce, text = sealed[2 : 2 + _NONCE_BYTES], sealed[2 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, place.encode()).decode()
        except InvalidTag:
            raise ValueError("sealed with another key or for another place") from None
