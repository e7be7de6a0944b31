"""What every call passes before its flow: bytes, token, right, fields, deadline, and after."""

import asyncio
import json
import uuid

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mesh.clock import real_seconds
from mesh.context import acting, note, remaining
from mesh.tokens import public_key
from tests.mesh.toy import SUBMITS, Script, account_request, playing, trace_request
from tests.services import fields_of, info_of
from tests.waiting import eventually
from tongbao.channel.v1 import channel_ops_service_pb2 as ops
from tongbao.channel.v1 import channel_service_pb2 as pb
from tongbao.channel.v1.channel_ops_service_pb2_grpc import ChannelOpsServiceStub
from tongbao.channel.v1.channel_service_pb2_grpc import ChannelServiceStub
from tongbao.common.v1 import options_pb2
from tongbao.trade.v1 import trade_service_pb2 as trade
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

LIST = "/tongbao.channel.v1.ChannelService/ListTraceEntries"


@pytest.fixture
async def script():
    return Script()


@pytest.fixture
async def toy(ground, database, script):
    """A service that does what `script` says, in this process."""
    async with playing(ground, database, script, trace_ppm=0) as handle:
        yield handle


async def refusal(call):
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def plain_call(channel, method, *, kind="unary_unary"):
    """A method that sends and returns bytes."""
    return getattr(channel, kind)(method, request_serializer=None, response_deserializer=None)


async def test_bytes_that_are_no_message_are_malformed(toy):
    """INVALID_ARGUMENT with a reason, and no name of a class of ours."""
    call = plain_call(toy.channel(), LIST)
    error = await refusal(call(b"\xff\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).reason == "MALFORMED_BYTES"
    assert error.details() == "malformed bytes"


async def test_bytes_that_are_no_pack_end_the_stream(toy):
    """The same for streams."""
    call = plain_call(toy.channel("payment"), SUBMITS, kind="stream_stream")()
    await call.write(b"\xff\xff\xff")
    error = await refusal(call.read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).reason == "MALFORMED_BYTES"


def claims(**changes):
    now = real_seconds()
    usual = {"iss": "svc:trade", "aud": "tongbao", "iat": now, "exp": now + 60}
    told = usual | {"jti": uuid.uuid4().hex} | changes
    return {name: value for name, value in told.items() if value is not None}


def signed(ground, *, key=None, **changes):
    """The header with a token of the service trade, changed in some way."""
    file = ground.home / "keys" / "trade.key"
    key = key or load_pem_private_key(file.read_bytes(), None)
    token = jwt.encode(claims(**changes), key, algorithm="EdDSA")
    return f"Bearer {token}"


FORGED = {
    "no header": lambda _: None,
    "no bearer": lambda ground: signed(ground).replace("Bearer", "Basic"),
    "no token": lambda _: "Bearer ",
    "no JWT": lambda _: "Bearer abc.def.ghi",
    "no signature": lambda _: f"Bearer {jwt.encode(claims(), '', algorithm='none')}",
    "a shared secret": lambda _: f"Bearer {jwt.encode(claims(), 'x' * 32, algorithm='HS256')}",
    "a key of its own": lambda ground: signed(ground, key=Ed25519PrivateKey.generate()),
    "another's name": lambda ground: signed(ground, iss="svc:payment"),
    "an unknown name": lambda ground: signed(ground, iss="svc:nobody"),
    "a path for a name": lambda ground: signed(ground, iss="svc:../../etc"),
    "an app's name": lambda ground: signed(ground, iss="mall"),
    "another audience": lambda ground: signed(ground, aud="elsewhere"),
    "no end": lambda ground: signed(ground, exp=None),
    "no id": lambda ground: signed(ground, jti=None),
    "no issuer": lambda ground: signed(ground, iss=None),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_token_that_is_not_ours_is_invalid(ground, toy, forge):
    """UNAUTHENTICATED, and the flow never runs."""
    header = forge(ground)
    metadata = [("authorization", header)] if header is not None else []
    stub = ChannelServiceStub(toy.raw())
    error = await refusal(stub.ListTraceEntries(trace_request(), timeout=5, metadata=metadata))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info_of(error).reason == "TOKEN_INVALID"


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ({"iat": -120, "exp": -60}, "its time is over"),
        ({"iat": 0, "exp": 601}, "it lives longer than 600 s"),
    ],
)
async def test_a_token_that_lives_too_long_or_no_more_is_expired(ground, toy, times, problem):
    """Ten minutes at most; the unary door and the stream's."""
    now = real_seconds()
    header = signed(ground, **{name: now + second for name, second in times.items()})
    metadata = [("authorization", header)]
    stub = ChannelServiceStub(toy.raw())
    calls = [
        stub.ListTraceEntries(trace_request(), timeout=5, metadata=metadata),
        stub.StreamSubmits(metadata=metadata).read(),
    ]
    for call in calls:
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        info = info_of(error)
        assert (info.reason, dict(info.metadata)) == ("TOKEN_EXPIRED", {"problem": problem})


async def test_a_caller_of_another_kind_is_denied(toy):
    """A service at an operator's method, an operator at a service's and at an app's."""
    denied = {
        "channel_account.put": ChannelOpsServiceStub(toy.channel()).PutChannelAccount(
            account_request()
        ),
        "trade.read": TradeServiceStub(toy.operator()).GetTrade(
            trade.GetTradeRequest(order_no="1")
        ),
    }
    for permission, call in denied.items():
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        info = info_of(error)
        assert info.reason == "PERMISSION_DENIED"
        assert dict(info.metadata) == {"permission": permission}


async def test_an_app_acts_under_its_own_name_with_either_of_its_keys(ground, toy, script):
    """Rotation means two keys; a third one is forged."""
    old, new, other = (ground.app("mall") for _ in range(3))
    script.keys["mall"] = [public_key(old.pem), public_key(new.pem)]
    seen = []

    async def get(_):
        seen.append(acting())
        return trade.GetTradeResponse()

    script.get = get
    request = trade.GetTradeRequest(order_no="1")
    for one in (old, new):
        await TradeServiceStub(toy.app(one)).GetTrade(request)
    assert [(who.app_id, who.role) for who in seen] == [("mall", options_pb2.ROLE_APP)] * 2
    error = await refusal(TradeServiceStub(toy.app(other)).GetTrade(request))
    assert info_of(error).reason == "TOKEN_INVALID"


async def test_all_fields_that_break_their_rules_are_listed(toy):
    """One answer names every field, nested and repeated ones by their paths."""
    request = ops.PutChannelAccountRequest(
        channel_code="balance", adapter="sim", tools=[0], cost_ppm=-1
    )
    error = await refusal(ChannelOpsServiceStub(toy.operator()).PutChannelAccount(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).reason == "INVALID_FIELDS"
    assert fields_of(error) == [
        "channel_code",
        "base_url",
        "provider_account",
        "secret",
        "tools[0]",
        "currency_codes",
        "cost_ppm",
    ]


async def test_who_calls_is_asked_before_what(toy):
    """Somebody without a right learns nothing about fields."""
    error = await refusal(ChannelOpsServiceStub(toy.public()).PutChannelAccount(trace_of_nothing()))
    assert info_of(error).reason == "TOKEN_INVALID"
    error = await refusal(
        ChannelOpsServiceStub(toy.channel()).PutChannelAccount(trace_of_nothing())
    )
    assert info_of(error).reason == "PERMISSION_DENIED"


def trace_of_nothing():
    return ops.PutChannelAccountRequest()


async def test_an_internal_call_must_carry_a_deadline(ground, toy, script):
    """Without one it is refused; with one the flow knows how long somebody waits."""
    left = []

    async def list_entries(_):
        left.append(remaining())
        return pb.ListTraceEntriesResponse()

    script.entries = list_entries
    stub, metadata = ChannelServiceStub(toy.raw()), [("authorization", signed(ground))]
    error = await refusal(stub.ListTraceEntries(trace_request(), metadata=metadata))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(error).reason == "DEADLINE_REQUIRED"
    await stub.ListTraceEntries(trace_request(), metadata=metadata, timeout=7)
    [seconds] = left
    assert 6 < seconds < 7.5


async def test_a_public_call_without_a_deadline_gets_five_seconds(ground, toy, script):
    """Callers from outside need not know of it."""
    left = []

    async def put(_):
        left.append(remaining())
        return ops.PutChannelAccountResponse(version=1)

    script.put = put
    channel = toy.public(ground.signer("operator").token())
    await ChannelOpsServiceStub(channel).PutChannelAccount(account_request())
    [seconds] = left
    assert 4 < seconds < 5.5


async def test_a_bug_is_internal_and_gives_nothing_away(toy, script):
    """The caller gets an id, the log has the rest under it."""

    async def list_entries(_):
        raise ValueError("the password is swordfish")

    script.entries = list_entries
    with capture_logs() as lines:
        error = await refusal(ChannelServiceStub(toy.channel()).ListTraceEntries(trace_request()))
    assert error.code() is grpc.StatusCode.INTERNAL
    info = info_of(error)
    assert info.reason == "INTERNAL"
    told = f"{error.details()} {error.trailing_metadata()} {info}"
    assert "swordfish" not in told
    assert "ValueError" not in told
    [line] = [line for line in lines if line["event"] == "call_broke"]
    assert info.metadata["error_id"] in line["status"]
    assert line["exc_info"]


async def test_a_flow_that_cancels_itself_is_unknown(toy, script):
    """gRPC would answer nobody: the caller would wait until its deadline."""

    async def list_entries(_):
        asyncio.current_task().cancel()
        await asyncio.Event().wait()

    script.entries = list_entries
    error = await refusal(ChannelServiceStub(toy.channel()).ListTraceEntries(trace_request()))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert info_of(error).reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize("leave", ["deadline", "cancel"])
async def test_the_flow_goes_on_when_nobody_waits_any_more(toy, script, leave):
    """A charge that was sent must be recorded."""
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def list_entries(_):
        begun.set()
        await go_on.wait()
        ended.set()
        return pb.ListTraceEntriesResponse()

    script.entries = list_entries
    timeout = 0.3 if leave == "deadline" else 20
    call = ChannelServiceStub(toy.channel()).ListTraceEntries(trace_request(), timeout=timeout)
    if leave == "deadline":
        error = await refusal(call)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        waiting = asyncio.ensure_future(call.code())
        await begun.wait()
        call.cancel()
        assert await waiting is grpc.StatusCode.CANCELLED
    assert not ended.is_set()
    go_on.set()
    async with asyncio.timeout(5):
        await ended.wait()


def counted(code):
    """How many calls have ended so, as the metrics of this process say."""
    name = "rpc_server_call_duration_seconds_count"
    labels = {"rpc_method": LIST.lstrip("/"), "rpc_response_status_code": code}
    return REGISTRY.get_sample_value(name, labels) or 0


async def test_a_bug_after_the_caller_has_gone_is_logged(toy, script):
    """Nobody else would ever see it."""
    go_on = asyncio.Event()

    async def list_entries(_):
        await go_on.wait()
        raise ValueError("late")

    script.entries = list_entries
    before = counted("CANCELLED")
    with capture_logs() as lines:
        stub = ChannelServiceStub(toy.channel())
        await refusal(stub.ListTraceEntries(trace_request(), timeout=0.3))
        await eventually(lambda: counted("CANCELLED") > before)  # Our side has noticed as well.
        go_on.set()
        await eventually(lambda: [line for line in lines if line["event"] == "orphan_broke"])


async def test_a_span_hangs_below_the_callers_and_carries_the_trace_number(
    ground, database, script
):
    """A caller that traces finds its call in our file, by its own trace id."""

    async def list_entries(request):
        note(trace_no=request.context.trace_no)
        return pb.ListTraceEntriesResponse()

    script.entries = list_entries
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = [("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")]
    async with playing(ground, database, script, trace_ppm=0) as toy:
        stub = ChannelServiceStub(toy.channel())
        await stub.ListTraceEntries(trace_request(), metadata=metadata)
        await stub.ListTraceEntries(trace_request())  # Not traced: nothing of it is kept.
    lines = (ground.home / "traces" / "channel.jsonl").read_text().splitlines()
    [span] = [json.loads(line) for line in lines]
    assert span["name"] == LIST.lstrip("/")
    assert span["context"]["trace_id"] == f"0x{trace_id}"
    assert span["parent_id"] == "0xb7ad6b7169203331"
    assert span["attributes"]["tongbao.trace_no"] == "MALL-1"
