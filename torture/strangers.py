"""Tokens that open no door: one that is over, one that somebody else signed."""

from __future__ import annotations

import uuid
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mesh.clock import real_seconds
from mesh.tokens import AUDIENCE, LIFE_SECONDS

_LONG_AGO = 3_600


def expired(app_id: str, key: Path) -> str:
    """Return a token that its app did sign, an hour ago."""
    return _token(app_id, key, signed=real_seconds() - _LONG_AGO)


def forged(app_id: str, key: Path) -> str:
    """Return a token of an app that the owner of another `key` signed, just now."""
    return _token(app_id, key, signed=real_seconds())


def _token(app_id: str, key: Path, *, signed: int) -> str:
    claims = {
        "iss": app_id,
        "aud": AUDIENCE,
        "iat": signed,
        "exp": signed + LIFE_SECONDS,
        "jti": uuid.uuid4().hex,
    }
    private = load_pem_private_key(key.read_bytes(), None)
    return jwt.encode(claims, private, algorithm="EdDSA")  # type: ignore[arg-type]
