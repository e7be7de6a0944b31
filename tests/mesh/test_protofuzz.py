"""Whatever bytes come, a public door answers with a reason of its contract and stays alive.

Drawn from the descriptors: bytes that are no message, whole messages with bytes changed, and
whole messages with fields at the ends of their ranges. The same draws in every run.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.supervisor import read_state
from tests.mesh.platform import open_platform
from tests.mesh.principals import Cast
from tests.mesh.test_authorization import is_inside, policy_of, service_of
from tests.samples import kind_of, methods, sample
from tests.unit.test_contract import OURS
from tongbao.common.v1 import options_pb2

EXAMPLES = 600
SECONDS = 20
METHODS = {method.full_name: method for method in methods() if not is_inside(method)}
# What no caller may ever read.
INNER = ("Traceback", 'File "', "psycopg", "SELECT ", "INSERT ", "UPDATE ", "Error(", ".py")
BAD = {"UNKNOWN", "INTERNAL"}

_whole = st.integers(-(2**63), 2**63 - 1)
_text = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "\0", "a" * 70_000, "'; DROP TABLE app; --", "\ud7ff", "‮", "%s%n"]),
)


def documented(service):
    """The reasons that a service may give, and the codes they travel with."""
    found = {}
    for file in OURS:
        if file.package in ("tongbao.common.v1", f"tongbao.{service}.v1"):
            for enum in file.enum_type:
                if enum.name == "Reason":
                    for value in enum.value:
                        code = value.options.Extensions[options_pb2.grpc_code]
                        found[value.name.removeprefix("REASON_")] = code
    return found


@st.composite
def calls(draw):
    """A public method, and bytes to send to it."""
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    message = sample(method.input_type, known={})
    kind = draw(st.sampled_from(["noise", "cut", "changed", "ends", "ends"]))
    if kind == "noise":
        return method, draw(st.binary(max_size=200))
    if kind == "ends":
        _to_the_ends(draw, message)
        return method, message.SerializeToString()
    data = bytearray(message.SerializeToString())
    if kind == "cut" or not data:
        return method, bytes(data[: draw(st.integers(0, len(data)))])
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return method, bytes(data)


def _to_the_ends(draw, message):
    """Set one or two fields, at any depth, to what nobody would send."""
    for _ in range(draw(st.integers(1, 2))):
        inner = message
        while inner.DESCRIPTOR.fields:
            field = draw(st.sampled_from(list(inner.DESCRIPTOR.fields)))
            kind = field.message_type
            if kind is None or kind.GetOptions().map_entry:
                _put(draw, inner, field)
                break
            value = getattr(inner, field.name)
            if field.is_repeated:
                inner = value[0] if value and draw(st.booleans()) else value.add()
            else:
                value.SetInParent()
                inner = value


def _put(draw, message, field):
    if field.message_type is not None:
        return
    if field.type == FieldDescriptor.TYPE_STRING:
        value = draw(_text)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        value = draw(st.binary(max_size=40))
    elif field.type == FieldDescriptor.TYPE_BOOL:
        value = draw(st.booleans())
    else:
        value = draw(st.one_of(st.sampled_from([0, -1, 1, 2**31 - 1, -(2**31)]), _whole))
    with suppress(ValueError, UnicodeEncodeError):  # What does not fit cannot be sent.
        if field.is_repeated:
            getattr(message, field.name).extend([value] * draw(st.sampled_from([1, 2, 600])))
        else:
            setattr(message, field.name, value)


class Target:
    """The public ports, spoken to in bytes, by who may."""

    def __init__(self, platform):
        self._platform, self._channels = platform, {}
        self._people = Cast(platform)

    def send(self, method, data):
        """Return the status code's name, the reason and all that was said."""
        role = policy_of(method).roles
        person = "the owner" if options_pb2.ROLE_APP in role else "the operator"
        metadata = (("authorization", f"Bearer {self._people.everybody()[person].token}"),)
        path = f"/{method.containing_service.full_name}/{method.name}"
        kept = {"metadata": metadata, "timeout": SECONDS}
        channel = self._channel(service_of(method))
        try:
            if method.client_streaming:
                answer = next(iter(channel.stream_stream(path)(iter([data]), **kept)), b"")
            elif method.server_streaming:
                stream = channel.unary_stream(path)(data, **kept)
                answer = next(iter(stream), b"")
                stream.cancel()
            else:
                answer = channel.unary_unary(path)(data, **kept)
        except grpc.RpcError as error:
            return self._failed(error)
        results = getattr(kind_of(method.output_type).FromString(answer), "results", ())
        for result in results:
            if result.HasField("status"):
                status = result.status
                return code_pb2.Code.Name(status.code), status.reason, str(status)
        return "OK", "", ""

    def _channel(self, service):
        if service not in self._channels:
            settings = self._platform.stage.settings
            credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
            target = f"{settings.public_host}:{self._platform.mesh.ports[service]}"
            self._channels[service] = grpc.secure_channel(target, credentials)
        return self._channels[service]

    @staticmethod
    def _failed(error):
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            detail.Unpack(info)
        return error.code().name, info.reason, f"{error.details()} {status}"

    def close(self):
        for channel in self._channels.values():
            channel.close()


@pytest.fixture(scope="module")
async def target():
    home = Path(tempfile.mkdtemp(prefix="tongbao-home-"))
    home.chmod(0o711)
    try:
        async with open_platform(home) as platform:
            before = read_state(home)["pids"]
            opened = Target(platform)
            yield opened
            opened.close()
            assert read_state(home)["pids"] == before, "a process ended"
    finally:
        shutil.rmtree(home)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(call=calls())
def test_whatever_comes_is_answered_by_the_contract(target, call):
    """A documented reason with its own code; nothing of our inside in any text."""
    method, data = call
    code, reason, said = target.send(method, data)
    assert code not in BAD, f"{method.full_name}: {said}"
    if code != "OK":
        assert documented(service_of(method)).get(reason) == code, f"{reason} {said}"
    assert [word for word in INNER if word in said] == []


def test_every_public_service_still_answers(target):
    """A call of each, as a stranger would make it after all that."""
    for method in METHODS.values():
        code, reason, _ = target.send(method, b"\xff\xff\xff")
        assert (code, reason) == ("INVALID_ARGUMENT", "MALFORMED_BYTES"), method.full_name
