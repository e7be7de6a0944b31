"""How an app gets in and is told: its keys, and where its webhooks go.

A key is retired in real time, as tokens live; a webhook secret is overlapped in business time,
as deliveries are tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh.numbers import new_id
from mesh.tokens import public_key
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.model import refuse

KEYS_MAX = 2  # Live ones: the old and the new.


class KeyState(StrEnum):
    """Where a key is. Mirrors `AppKey.State` in the contract."""

    ACTIVE = auto()
    RETIRING = auto()
    RETIRED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """A public key that signs, or signed, tokens of an app."""

    key_id: str
    app_id: str
    public_key_pem: str
    fingerprint: str
    retire_time: datetime | None
    create_time: datetime

    def state(self, now: datetime) -> KeyState:
        """Return where the key is at `now`, in real time."""
        if self.retire_time is None:
            return KeyState.ACTIVE
        return KeyState.RETIRING if self.retire_time > now else KeyState.RETIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of an app, the oldest first, and the version of the app that has them."""

    version: int
    keys: Sequence[AppKey]

    def find(self, key_id: str) -> AppKey:
        """Return the key. Raises Refused(APP_KEY_NOT_FOUND)."""
        for key in self.keys:
            if key.key_id == key_id:
                return key
        raise refuse(reasons.REASON_APP_KEY_NOT_FOUND, key_id=key_id)

    def check_new(self, new: AppKey, *, now: datetime) -> None:
        """Raise Refused unless `new` may be added: APP_KEY_KNOWN, APP_KEYS_FULL."""
        for key in self.keys:
            if key.fingerprint == new.fingerprint:
                raise refuse(reasons.REASON_APP_KEY_KNOWN, key_id=key.key_id)
        if sum(key.state(now) is not KeyState.RETIRED for key in self.keys) >= KEYS_MAX:
            raise refuse(reasons.REASON_APP_KEYS_FULL, limit=KEYS_MAX)

    def retired(self, key_id: str, *, at: datetime, now: datetime) -> AppKey:
        """Return the key as it is when it is retired `at` a moment; itself when it was already.

        Raises Refused, in this order: APP_KEY_NOT_FOUND, APP_KEY_LAST.
        """
        key = self.find(key_id)
        if key.state(now) is KeyState.RETIRED:
            return key
        if not any(one.retire_time is None for one in self.keys if one is not key):
            raise refuse(reasons.REASON_APP_KEY_LAST, key_id=key_id)
        return replace(key, retire_time=max(at, now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an app's webhooks go and what signs them. Secrets are sealed for the app's row.

    `version` is the app's. The old secret is valid until its time, in business time.
    """

    app_id: str
    version: int
    url: str
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)
    old_secret_until: datetime | None

    def rotated(self, secret: bytes, *, overlap: timedelta, now: datetime) -> Endpoint:
        """Return it with a new secret; the one that was is valid for `overlap`."""
        if not overlap:
            return replace(self, secret=secret, old_secret=None, old_secret_until=None)
        return replace(self, secret=secret, old_secret=self.secret, old_secret_until=now + overlap)

    def valid_secrets(self, now: datetime) -> list[bytes]:
        """Return the sealed secrets that sign at `now`, the newest first."""
        if self.old_secret is None or self.old_secret_until is None:
            return [self.secret]
        return [self.secret, self.old_secret] if now < self.old_secret_until else [self.secret]


def new_key(app_id: str, pem: str, *, now: datetime) -> AppKey:
    """Return the key in `pem` as a new one of the app. Raises Refused(PUBLIC_KEY_INVALID)."""
    try:
        key = public_key(pem)
    except ValueError:
        raise refuse(reasons.REASON_PUBLIC_KEY_INVALID) from None
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return AppKey(
        key_id=new_id("key"),
        app_id=app_id,
        public_key_pem=pem,
        fingerprint=hashlib.sha256(der).hexdigest(),
        retire_time=None,
        create_time=now,
    )
