"""Who is who: Ed25519 tokens that callers sign themselves (decisions.md 23).

A token is a JWT with `iss` (an app's id, `svc:<service>` or `op:<operator>`), `aud`
`tongbao`, `iat`, `exp` at most ten minutes later, and `jti`. There is no token service:
whoever has a private key whose public half we know may speak as its owner.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from mesh.batch import NotExecuted, Unknown
from mesh.clock import real_seconds
from mesh.errors import Refused, refuse
from tongbao.common.v1 import options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons

AUDIENCE = "tongbao"
LIFE_SECONDS_MAX = 600
LIFE_SECONDS = 300
_LEEWAY_SECONDS = 5  # Clocks of two machines.
_CACHED_MAX = 10_000
# What is read of a token before its signature is checked goes to a file system or a database
# as a name: nothing but names of ours may.
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_APP_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# A token that was good is good no more when its key was retired: how often we look.
LOOK_SECONDS = 2

KeysOf = Callable[[str], Awaitable[Sequence[Ed25519PublicKey]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed a token."""

    role: options_pb2.Role.ValueType
    name: str  # An app's id, a service's or an operator's name.


@dataclass(slots=True, kw_only=True)
class _Known:
    """A token that was verified: by which key, until when it lives, when to look at its key."""

    identity: Identity
    issuer: str
    key: Ed25519PublicKey
    end: int
    look_at: int


class Signer:
    """Signs tokens of one owner, each used until half of its life is over."""

    def __init__(self, issuer: str, key: Ed25519PrivateKey) -> None:
        self._issuer, self._key = issuer, key
        self._token, self._renew_at = "", 0

    @classmethod
    def from_file(cls, issuer: str, path: Path) -> Signer:
        """Return the signer for the private key in the PEM file at `path`."""
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey), f"{path.name} is not an Ed25519 key"
        return cls(issuer, key)

    def token(self) -> str:
        """Return a token that is good for at least half of LIFE_SECONDS."""
        now = real_seconds()
        if now >= self._renew_at:
            claims = {
                "iss": self._issuer,
                "aud": AUDIENCE,
                "iat": now,
                "exp": now + LIFE_SECONDS,
                "jti": uuid.uuid4().hex,
            }
            self._token = jwt.encode(claims, self._key, algorithm="EdDSA")
            self._renew_at = now + LIFE_SECONDS // 2
        return self._token


class Verifier:
    """Tells who signed a token. Verifies each token once and remembers it until it ends.

    Whether an app still has the key that signed it is asked again every LOOK_SECONDS, so a key
    that is retired takes its tokens with it.
    """

    def __init__(self, keys_dir: Path, *, apps: KeysOf | None = None) -> None:
        self._keys_dir, self._apps = keys_dir, apps
        self._known: dict[str, _Known] = {}

    async def identify(self, token: str) -> Identity:
        """Return the owner of `token`.

        Raises Refused(TOKEN_INVALID) or Refused(TOKEN_EXPIRED).
        """
        now = real_seconds()
        known = self._known.get(token)
        if known is not None and now < known.end + _LEEWAY_SECONDS:
            if now >= known.look_at and known.identity.role == options_pb2.ROLE_APP:
                await self._look_again(token, known, now)
            return known.identity
        known = await self._verify(token)
        if len(self._known) >= _CACHED_MAX:
            self._known.clear()  # Rare, and cheaper than keeping an order of use.
        self._known[token] = known
        return known.identity

    async def lapse(self, token: str) -> Refused:
        """Return why `token` is good no more, when that is so: for calls that last."""
        while True:
            try:
                await self.identify(token)
            except Refused as refused:
                return refused
            except (NotExecuted, Unknown):
                pass  # Nobody can say now; nothing new comes in either.
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_again(self, token: str, known: _Known, now: int) -> None:
        """Raise TOKEN_INVALID when the app has the key no more."""
        known.look_at = now + LOOK_SECONDS  # First, so that of many calls one looks.
        if known.key not in await self._keys(known.issuer):
            self._known.pop(token, None)
            raise _invalid("its key is retired")

    async def _verify(self, token: str) -> _Known:
        problem = "no key of its issuer signed it"
        issuer = self._issuer(token)
        for key in await self._keys(issuer):
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    audience=AUDIENCE,
                    leeway=_LEEWAY_SECONDS,
                    options={"require": ["iss", "aud", "iat", "exp", "jti"]},
                )
            except jwt.ExpiredSignatureError:
                raise refuse(reasons.REASON_TOKEN_EXPIRED, problem="its time is over") from None
            except jwt.InvalidSignatureError:
                continue  # An app may have two keys while it changes them.
            except jwt.InvalidTokenError as error:
                raise _invalid(str(error)) from None
            if int(claims["exp"]) - int(claims["iat"]) > LIFE_SECONDS_MAX:
                problem = f"it lives longer than {LIFE_SECONDS_MAX} s"
                raise refuse(reasons.REASON_TOKEN_EXPIRED, problem=problem)
            return _Known(
                identity=_identity(issuer),
                issuer=issuer,
                key=key,
                end=int(claims["exp"]),
                look_at=real_seconds() + LOOK_SECONDS,
            )
        raise _invalid(problem)

    @staticmethod
    def _issuer(token: str) -> str:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise _invalid("it is not a JWT") from None
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or not issuer:
            raise _invalid("it has no issuer")
        return issuer

    async def _keys(self, issuer: str) -> Sequence[Ed25519PublicKey]:
        identity = _identity(issuer)
        if identity.role == options_pb2.ROLE_APP:
            found = await self._apps(issuer) if self._apps else ()
        else:
            prefix = "svc" if identity.role == options_pb2.ROLE_SERVICE else "op"
            found = _public_keys(self._keys_dir / f"{prefix}-{identity.name}.pem")
        if not found:
            raise _invalid("its issuer is not known here")
        return found


def public_key(pem: str) -> Ed25519PublicKey:
    """Return the key in `pem`. Raises ValueError when it is not an Ed25519 public key."""
    try:
        key = load_pem_public_key(pem.encode())
    except Exception as error:  # The library raises many kinds for bytes that are no key.
        raise ValueError("not a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


def _identity(issuer: str) -> Identity:
    """Return who `issuer` claims to be; what cannot be a name of ours is nobody."""
    for prefix, role in (("svc:", options_pb2.ROLE_SERVICE), ("op:", options_pb2.ROLE_OPERATOR)):
        if issuer.startswith(prefix):
            name = issuer.removeprefix(prefix)
            if not _NAME.fullmatch(name):
                raise _invalid("its issuer is not known here")
            return Identity(role=role, name=name)
    if not _APP_ID.fullmatch(issuer):
        raise _invalid("its issuer is not known here")
    return Identity(role=options_pb2.ROLE_APP, name=issuer)


def _public_keys(path: Path) -> Sequence[Ed25519PublicKey]:
    return (public_key(path.read_text()),) if path.is_file() else ()


def _invalid(problem: str) -> Refused:
    return refuse(reasons.REASON_TOKEN_INVALID, problem=problem)
