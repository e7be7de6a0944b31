"""Nothing of what the contracts call sensitive gets where it may not be read.

Every sensitive field of every rpc is filled with a canary, in calls that succeed, that break
rules and that are turned away; headers too. Then everything the installation wrote is searched,
file by file: what is not in PERMITTED may hold none.
"""

import shutil
import tempfile
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from tests.mesh.platform import open_platform
from tests.mesh.principals import Cast, outcome
from tests.mesh.test_authorization import is_inside, policy_of, service_of
from tests.mesh.test_hung_provider import yuan
from tests.samples import methods, sample
from tests.waiting import eventually
from tongbao.common.v1 import kinds_pb2, options_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

SECRET = options_pb2.SENSITIVITY_SECRET
# Where it may be, and why. Folders of the home.
PERMITTED = {
    "postgres": "it is where it is kept; channel secrets and webhook secrets are sealed there",
    "nats": "events tell the services that book whose wallet it is; NATS is in the home, 0700",
    "sim": "the provider: it is told the subject, as every provider is",
    "demo": "the caller's own files",
}
NEVER_CLEAR = {"secret", "webhook_secret"}  # Not even in a permitted store.
URLS = {"webhook_url", "url"}


def sensitive_fields(descriptor, seen):
    """The sensitive text fields of a message and of what is in it, by name."""
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from sensitive_fields(field.message_type, seen)
        elif field.GetOptions().Extensions[options_pb2.sensitivity]:
            yield field.name


def canary():
    return f"canary{uuid.uuid4().hex}"


class Aviary:
    """Makes canaries and remembers them by the field they were put into."""

    def __init__(self):
        self.of = {}

    def known(self, method, *, spoil=""):
        """What to put into a request; `spoil` breaks a rule of each field."""
        names = set(sensitive_fields(method.input_type, set()))
        known = {}
        for name in names:
            bird = canary()
            self.of[bird] = name
            known[name] = (f"https://example.com/{bird}" if name in URLS else bird) + spoil
        return known


@pytest.fixture(scope="module")
async def flown():
    """The home after all canaries were let go, the canaries, and what callers were told."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-home-"))
    home.chmod(0o711)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TONGBAO_TRACE_PPM", "1000000")
        environment.setenv("TONGBAO_LOG_LEVEL", "debug")
        try:
            aviary, told = Aviary(), []
            async with open_platform(home) as platform, AsyncExitStack() as stack:
                await let_fly(platform, stack, aviary, told)
            yield home, aviary, told
        finally:
            shutil.rmtree(home)


async def let_fly(platform, stack, aviary, told):
    """Every rpc thrice: whole, with broken rules, by nobody; and a payment all the way."""
    doors = {}
    people = Cast(platform).everybody()
    for method in methods():
        key = service_of(method), is_inside(method)
        if key not in doors:
            doors[key] = door(platform, stack, *key)
        token = people[caller_of(method)].token
        if method.input_type.name == "RotateWebhookSecretRequest":
            continue  # Nothing sensitive goes in, and the receiver would lose its secret.
        whole = sample(method.input_type, known=aviary.known(method))
        broken = sample(method.input_type, known={})
        spoil(broken, aviary.known(method, spoil="\x01"))
        for request, by in ((whole, token), (broken, token), (whole, f"{canary_token(aviary)}")):
            told.append(await outcome(doors[key], method, request, by))
    await pay(platform, aviary, told)
    stub = TradeServiceStub(doors["trade", False])
    for header in ("x-note", "accept-language", "traceparent", "user-agent"):
        bird = canary()
        aviary.of[bird] = header
        metadata = (("authorization", f"Bearer {people['the owner'].token}"), (header, bird))
        await stub.GetTrade(pb.GetTradeRequest(order_no="canary"), metadata=metadata)


def canary_token(aviary):
    bird = canary()
    aviary.of[bird] = "authorization"
    return bird


def spoil(message, known):
    """Put what breaks the rules into a message that was whole."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            value = getattr(message, field.name)
            present = message.HasField(field.name) if not field.is_repeated else False
            for one in value if field.is_repeated else [value] * present:
                if hasattr(one, "DESCRIPTOR"):
                    spoil(one, known)
        elif field.name in known and not field.is_repeated:
            setattr(message, field.name, known[field.name])


def caller_of(method):
    policy = policy_of(method)
    if options_pb2.ROLE_SERVICE in policy.roles:
        return policy.services[0]
    return "the owner" if options_pb2.ROLE_APP in policy.roles else "the operator"


def door(platform, stack, service, inside):
    settings = platform.stage.settings
    if inside:
        channel = grpc.aio.insecure_channel(f"unix:{settings.socket_dir / service}.sock")
    else:
        credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
        target = f"{settings.public_host}:{platform.mesh.ports[service]}"
        channel = grpc.aio.secure_channel(target, credentials)
    stack.push_async_callback(channel.close)
    return channel


async def pay(platform, aviary, told):
    """A user with a wallet is charged by QR, fails by balance, and is refunded."""
    caller, trade = platform.world.caller("MALL"), platform.stage.doors.trade
    app = platform.world.apps["MALL"]
    user, subject, cause = canary(), canary(), canary()
    aviary.of |= {user: "user_no", subject: "subject", cause: "cause"}
    await caller.ask(trade.OpenWallet, pb.OpenWalletRequest(user_no=user, currency_code="CNY"))
    new = pb.NewTrade(
        order_no="canary",
        product_code=app.collect,
        merchant_id=app.merchants["tea"],
        user_no=user,
        subject=subject,
        amount=yuan(100),
    )
    for tool in (kinds_pb2.TOOL_BALANCE, kinds_pb2.TOOL_QR_PAYER):
        request = pb.PayTradeRequest(request_id=f"canary{tool}", tool=tool, new_trade=new)
        answer = (await caller.ask(trade.PayTrade, request)).message
    told.append(answer.payment.failure_reason)
    seek = pb.GetTradeRequest(order_no="canary")

    async def paid():
        got = await caller.ask(trade.GetTrade, seek)
        return got.message.trade.state == got.message.trade.STATE_PAID

    await eventually(paid)
    refund = pb.CreateRefundRequest(
        refund_order_no="canary", trade_no=answer.trade.trade_no, amount=yuan(1), cause=cause
    )
    await caller.ask(trade.CreateRefund, refund)


def test_every_sensitive_text_of_a_request_was_filled(flown):
    """Or the search would prove nothing."""
    _, aviary, _ = flown
    wanted = {name for method in methods() for name in sensitive_fields(method.input_type, set())}
    assert wanted <= set(aviary.of.values())
    assert len(aviary.of) > 60


def test_no_error_tells_what_is_sensitive(flown):
    """Neither its text nor its facts, whatever was wrong with the call."""
    _, aviary, told = flown
    said = "\n".join(f"{one.text} {one.facts}" if hasattr(one, "text") else one for one in told)
    assert [name for bird, name in aviary.of.items() if bird in said] == []


def test_no_file_holds_what_is_sensitive(flown):
    """Logs of services and of PostgreSQL, spans, settings: every file that is not permitted."""
    home, aviary, _ = flown
    looked, found = 0, []
    for file in home.rglob("*"):
        if file.is_file() and not file.is_symlink():
            folder = file.relative_to(home).parts[0]
            birds = [b for b, name in aviary.of.items()
                     if folder not in PERMITTED or name in NEVER_CLEAR]  # fmt: skip
            looked += 1
            data = file.read_bytes()
            found += [f"{file.relative_to(home)}: {aviary.of[bird]}" for bird in birds
                      if bird.encode() in data]  # fmt: skip
    assert looked > 20
    assert sorted(set(found)) == []


def test_what_was_searched_is_what_is_written(flown):
    """Logs and spans are there and say something, so a silent platform is not taken for a
    discreet one."""
    home, _, _ = flown
    assert "OpenWallet" in (home / "traces" / "trade.jsonl").read_text()
    for service in ("trade", "payment", "channel", "ledger", "settlement", "risk"):
        assert "serving" in (home / "logs" / f"{service}.log").read_text()
