"""`tongbao call`: any public method, from JSON to JSON, signed and over TLS."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
from cyclopts import Parameter
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mesh.cli.callers import OPERATOR_NAME, app_names, running_state, signer_of
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError, Settings, load
from mesh.embedded.places import StartError
from tongbao.common.v1 import options_pb2

_STUBS = "tongbao"
_SECONDS = 30.0
_NEXT = {
    "UNAUTHENTICATED": "Speak as somebody known here: --as operator, or the name of an app",
    "PERMISSION_DENIED": "Speak as a caller of another kind by --as",
    "INVALID_ARGUMENT": "Correct the fields named and call again",
    "NOT_FOUND": "Check the number, and that --as is the app that owns it",
    "ALREADY_EXISTS": "Use a new number for new content, or the old content for the old number",
    "FAILED_PRECONDITION": "Read the thing as it is now; the facts above say what is in the way",
    "UNAVAILABLE": "Call again with the same number; `tongbao status` shows what answers",
    "DEADLINE_EXCEEDED": "Repeat with the same number, or read by it: it may have been done",
    "UNKNOWN": "Repeat with the same number, or read by it: it may have been done",
    "INTERNAL": "Look for the error_id in the service's log, in <home>/logs",
    "UNIMPLEMENTED": "The method is for services only, or the running version lacks it",
}


def call(
    method: str,
    *,
    data: Annotated[str, Parameter(name=["--data", "-d"], allow_leading_hyphen=True)] = "{}",
    as_name: Annotated[str | None, Parameter(name="--as")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Call a public method of a running installation and print its answer as JSON.

    Example: `tongbao call trade.v1.TradeService/GetTrace -d '{"traceNo": "MALL-1"}'`.
    What is answered by a stream, such as WatchTrade, is printed answer by answer as it comes,
    until the stream ends; a method that takes a stream is sent one request and ended.
    Exit codes: 0 answered; 1 refused, and stderr says why; 2 no such method, or `data` is
    not a request of it.

    Parameters
    ----------
    method
        `package.Service/Method`. What is not ambiguous may be left out from the front.
    data
        The request as protobuf JSON; `-` reads it from stdin.
    as_name
        Who calls: `operator`, an app's name, or the private key file `op-<name>.key` of
        another operator. Default: the operator where operators may call, else the first app
        known here.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one line of JSON, errors too.
    """
    settings = load(home=home)
    found = find_method(method)
    request = _request(found, sys.stdin.read() if data == "-" else data)
    name = as_name or _default_caller(found, settings)
    try:
        for answer in exchange(settings, found, request, name):
            told = json_format.MessageToDict(answer)
            show(json.dumps(told, indent=2, ensure_ascii=False), told, as_json=as_json)
    except grpc.RpcError as error:
        _complain(error, as_json=as_json)
        return 1
    return 0


def find_method(name: str) -> MethodDescriptor:
    """Return the method called `name`, shortened from the front or not. Raises ConfigError."""
    wanted = name.strip("/").replace("/", ".")
    known = all_methods()
    hits = [full for full in known if full == wanted or full.endswith(f".{wanted}")]
    if len(hits) == 1:
        return known[hits[0]]
    if hits:
        raise ConfigError(f"method: {name} is ambiguous: {', '.join(map(_slashed, hits))}")
    depth = wanted.count(".") + 1
    ends = {".".join(full.split(".")[-depth:]): full for full in known}
    near = [ends[end] for end in difflib.get_close_matches(wanted, ends, n=3)]
    hint = f"; did you mean {', '.join(map(_slashed, near))}?" if near else ""
    raise ConfigError(f"method: there is no {name}{hint}")


def all_methods() -> dict[str, MethodDescriptor]:
    """Return every method of the contracts by its full name."""
    spec = importlib.util.find_spec(_STUBS)
    assert spec is not None, "the stubs are installed with us"
    assert spec.submodule_search_locations is not None
    methods = {}
    for root in map(Path, spec.submodule_search_locations):
        for file in sorted(root.glob("*/*/*_service_pb2.py")):
            name = ".".join((_STUBS, *file.relative_to(root).with_suffix("").parts))
            for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values():
                methods.update({method.full_name: method for method in service.methods})
    return methods


def _slashed(full_name: str) -> str:
    service, _, method = full_name.rpartition(".")
    return f"{service}/{method}"


def _request(method: MethodDescriptor, data: str) -> Message:
    request: Message = message_factory.GetMessageClass(method.input_type)()
    try:
        return json_format.Parse(data, request)
    except json_format.ParseError as error:
        raise ConfigError(f"data: not a {method.input_type.name}: {error}") from None


def _default_caller(method: MethodDescriptor, settings: Settings) -> str:
    roles = method.GetOptions().Extensions[options_pb2.policy].roles
    if options_pb2.ROLE_OPERATOR in roles:
        return OPERATOR_NAME
    names = app_names(settings.home)
    if options_pb2.ROLE_APP not in roles:
        raise ConfigError(f"method: {method.name} is called by services only")
    if not names:
        raise StartError(
            f"nobody here may call {method.name}",
            why="only an app may, and this home has the key of none",
            next_step="Run `tongbao demo`, which makes two apps",
        )
    return names[0]


def send(settings: Settings, method: MethodDescriptor, request: Message, name: str) -> Any:
    """Return what the running installation answers to `name`. Raises grpc.RpcError, StartError."""
    [answer] = exchange(settings, method, request, name)
    return answer


def exchange(
    settings: Settings, method: MethodDescriptor, request: Message, name: str
) -> Iterator[Any]:
    """Yield what the running installation answers to `name`, one by one when it is a stream.

    Raises grpc.RpcError, StartError.
    """
    service = method.full_name.removeprefix(f"{_STUBS}.").partition(".")[0]
    port = running_state(settings.home)["ports"].get(service)
    token = signer_of(settings.home, name).token()
    if port is None:
        raise StartError(
            f"{service} has no public port",
            why=f"{method.full_name} is called by services only",
            next_step="`tongbao status` shows the public ports",
        )
    credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
    with grpc.secure_channel(f"{settings.public_host}:{port}", credentials) as channel:
        takes = "stream" if method.client_streaming else "unary"
        gives = "stream" if method.server_streaming else "unary"
        ask: Any = getattr(channel, f"{takes}_{gives}")(
            f"/{_slashed(method.full_name)}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        answer = ask(
            iter([request]) if method.client_streaming else request,
            timeout=None if method.server_streaming else _SECONDS,
            metadata=(("authorization", f"Bearer {token}"),),
        )
        yield from answer if method.server_streaming else [answer]


def _complain(error: grpc.RpcError, *, as_json: bool) -> None:
    """Write to stderr what the answer says went wrong, fact by fact, and what to do next."""
    told = describe(error)
    if as_json:
        text = json.dumps(told, ensure_ascii=False)
    else:
        lines = [f"{key}: {told[key]}" for key in ("error", "code", "reason", "domain")
                 if told.get(key)]  # fmt: skip
        lines += [f"  {key} = {value}" for key, value in told["metadata"].items()]
        lines += [f"  {one['field']}: {one['description']}" for one in told["violations"]]
        text = "\n".join([*lines, f"next: {told['next']}"])
    sys.stderr.write(text + "\n")


def describe(error: grpc.RpcError) -> dict[str, Any]:
    """Return what an error says, its details unpacked."""
    assert isinstance(error, grpc.Call)
    code = error.code().name
    told: dict[str, Any] = {
        "error": error.details(),
        "code": code,
        "reason": "",
        "domain": "",
        "metadata": {},
        "violations": [],
        "next": _NEXT.get(code, "Read the service's log, in <home>/logs"),
    }
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            told |= {
                "reason": info.reason,
                "domain": info.domain,
                "metadata": dict(info.metadata),
            }
        elif detail.Unpack(bad):
            told["violations"] = [
                {"field": one.field, "description": one.description} for one in bad.field_violations
            ]
    return told
