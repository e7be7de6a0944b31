"""Who may stand before a door: everybody the matrix of rights is asked with.

`Cast.tokens()` names each principal and the token it brings; `outcome` makes one call of any
kind of rpc and says how it ended, for streams and batches by their only item.
"""

import base64
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mesh.clock import real_seconds
from tests.samples import kind_of
from tests.unit.test_contract import SERVICES
from tongbao.common.v1 import options_pb2

SECONDS = 20
# What grpcio says of its own accord when a refusal overtakes the sending of a stream's metadata.
RACE, TRIES = "Internal error from Core", 20
OWNER, OTHER = "MALL", "RIDE"


@dataclass(frozen=True)
class Outcome:
    """How a call ended. `reason` is empty for what went well."""

    code: str
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    text: str = ""
    answer: Message | None = None

    def told(self, **instead: str) -> tuple[str, str, str, str]:
        """What a caller can tell it from, with the numbers it gave replaced."""
        said = json.dumps([self.text, self.facts], sort_keys=True)
        for name, value in instead.items():
            said = said.replace(value, name)
        return self.code, self.reason, said


@dataclass(frozen=True)
class Principal:
    """Somebody with a token. `role` is None for who is nobody."""

    token: str | None
    role: Any = None
    name: str = ""
    is_late: bool = False


class Cast:
    """Everybody, for the apps of one world."""

    def __init__(self, platform: Any) -> None:
        self._keys = platform.stage.settings.home / "keys"
        self._world = platform.world
        self.retired = ""  # A token of OWNER by a key that was taken from it.

    def everybody(self) -> dict[str, Principal]:
        """Return all principals, with tokens that are good for a minute."""
        owner = self._world.apps[OWNER]
        key = self._key(self._world.folder / owner.key)
        good = {"iss": owner.app_id}
        public = key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        nobody = {
            "nobody": None,
            "an ended token": _token(key, good, iat=-900, exp=-300),
            "a token that lives too long": _token(key, good, exp=3600),
            "a token for another audience": _token(key, good, aud="elsewhere"),
            "a stranger in the owner's name": _token(Ed25519PrivateKey.generate(), good),
            "an issuer that nobody knows": _token(key, {"iss": "app_" + "z" * 26}),
            "a key that was taken away": self.retired,
            "no signature": jwt.encode(_claims(good), "", algorithm="none"),
            "the public key as a shared secret": _by_shared_secret(good, public),
        }
        known = {
            "the owner": Principal(_token(key, good), options_pb2.ROLE_APP, OWNER),
            "another app": self._app(OTHER),
            "the operator": self._inside("op:admin", "operator", options_pb2.ROLE_OPERATOR),
        }
        for service in SERVICES:
            role = options_pb2.ROLE_SERVICE
            known[service] = self._inside(f"svc:{service}", service, role)
        late = ("an ended token", "a token that lives too long")
        return known | {
            name: Principal(token, is_late=name in late) for name, token in nobody.items()
        }

    def _app(self, name: str) -> Principal:
        app = self._world.apps[name]
        key = self._key(self._world.folder / app.key)
        return Principal(_token(key, {"iss": app.app_id}), options_pb2.ROLE_APP, name)

    def _inside(self, issuer: str, file: str, role: Any) -> Principal:
        return Principal(_token(self._key(self._keys / f"{file}.key"), {"iss": issuer}), role, file)

    @staticmethod
    def _key(path: Any) -> Ed25519PrivateKey:
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return key


def sign(key: Ed25519PrivateKey, issuer: str) -> str:
    """A good token."""
    return _token(key, {"iss": issuer})


def _claims(known: dict[str, Any], *, iat: int = 0, exp: int = 60, aud: str = "tongbao") -> Any:
    now = real_seconds()
    own = {"iat": now + iat, "exp": now + exp, "aud": aud, "jti": uuid.uuid4().hex}
    return known | own


def _token(key: Ed25519PrivateKey, known: dict[str, Any], **times: Any) -> str:
    return jwt.encode(_claims(known, **times), key, algorithm="EdDSA")


def _by_shared_secret(known: dict[str, Any], public: bytes) -> str:
    """HS256 with the public key, which everybody knows, as the secret."""
    return jwt.encode(_claims(known), base64.b64encode(public), algorithm="HS256")


async def outcome(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, token: str | None
) -> Outcome:
    """Make one call."""
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    for _ in range(TRIES):
        try:
            answer = await _answer(channel, method, request, metadata)
            break
        except grpc.aio.AioRpcError as error:
            failed = _failed(error)
            if failed.text != RACE:
                return failed
    else:
        return failed
    if answer is grpc.aio.EOF:
        return Outcome("OK")
    results = getattr(answer, "results", None)
    if results and "status" in results[0].DESCRIPTOR.fields_by_name:
        status = results[0].status
        [code] = [one.name for one in grpc.StatusCode if one.value[0] == status.code]
        return Outcome(code, status.reason, dict(status.metadata), status.message, answer)
    return Outcome("OK", answer=answer)


async def _answer(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, metadata: Any
) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds: dict[str, Any] = {
        "request_serializer": type(request).SerializeToString,
        "response_deserializer": kind_of(method.output_type).FromString,
    }
    kept = {"metadata": metadata, "timeout": SECONDS}
    if method.client_streaming:
        # By an iterator: a write of one's own races with a refusal.
        call = channel.stream_stream(path, **kinds)(iter([request]), **kept)
        return await anext(aiter(call), grpc.aio.EOF)
    if method.server_streaming:
        stream = channel.unary_stream(path, **kinds)(request, **kept)
        answer = await stream.read()
        stream.cancel()
        return answer
    return await channel.unary_unary(path, **kinds)(request, **kept)


def _failed(error: grpc.aio.AioRpcError) -> Outcome:
    status: Any = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
    facts = dict(info.metadata)
    return Outcome(error.code().name, info.reason, facts, error.details() or "")
