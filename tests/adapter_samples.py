"""Orders, an account and replies for tests of adapters, signed by code that is not ours."""

import hashlib

import orjson
import pytest
from hypothesis import strategies as st

from channel.adapters import ADAPTERS
from channel.adapters.spi import (
    Account,
    HttpReply,
    Operation,
    PayRequest,
    Ref,
    RefundRequest,
    Stamp,
)

SECRET = "correct horse battery"
NOTIFY_URL = "http://127.0.0.1:9000/callbacks/sim-a"
CHARGE_NO, REFUND_NO = "20261122AT0000000000000001", "20261122RF0000000000000001"
NOW = 1795342885
STAMP = Stamp(NOW, "0123456789abcdef")
ACCOUNT = Account(
    channel_code="sim-a",
    base_url="http://127.0.0.1:9001",
    provider_account="sim-a",
    secret=SECRET,
    cost_ppm=6000,
)
OTHER = Account(
    channel_code="sim-b",
    base_url="http://127.0.0.1:9002",
    provider_account="sim-b",
    secret="another secret of theirs",
    cost_ppm=0,
)
WHO = {"user_no": "u1", "business_code": "MALL", "trace_no": "MALL-1"}
PAY = PayRequest(
    attempt_no=CHARGE_NO,
    amount_minor=1000,
    currency_code="CNY",
    subject="A cup of tea",
    notify_url=NOTIFY_URL,
    **WHO,
)
REFUND = RefundRequest(
    attempt_no=REFUND_NO,
    original_attempt_no=CHARGE_NO,
    provider_no="sim-a-000000000001",
    amount_minor=400,
    currency_code="CNY",
    notify_url=NOTIFY_URL,
    **WHO,
)
REF = Ref(attempt_no=CHARGE_NO, amount_minor=1000, currency_code="CNY", **WHO)
REFUND_REF = Ref(attempt_no=REFUND_NO, amount_minor=400, currency_code="CNY", **WHO)

SIM, BALANCE = ADAPTERS["sim"], ADAPTERS["balance"]
BEGIN = {
    Operation.PAY: lambda adapter: adapter.pay(ACCOUNT, PAY, STAMP),
    Operation.QUERY: lambda adapter: adapter.query(ACCOUNT, REF, STAMP),
    Operation.CLOSE: lambda adapter: adapter.close(ACCOUNT, REF, STAMP),
    Operation.REFUND: lambda adapter: adapter.refund(ACCOUNT, REFUND, STAMP),
    Operation.QUERY_REFUND: lambda adapter: adapter.query_refund(ACCOUNT, REFUND_REF, STAMP),
}


def foreign_hmac(secret: str, message: bytes) -> str:
    """HMAC-SHA256 as RFC 2104 spells it, for secrets up to 64 bytes."""
    block = secret.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).hexdigest()


def answer(operation, reply):
    """Hand `reply` to the adapter and return its result."""
    steps = BEGIN[operation](SIM if isinstance(reply, HttpReply) else BALANCE)
    next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send(reply)
    return done.value.value


def signed(body, *, status=200, timestamp=NOW + 1, nonce=STAMP.nonce, secret=SECRET):
    message = f"{status}\n{timestamp}\n{nonce}\n".encode() + body
    headers = {
        "sim-timestamp": str(timestamp),
        "sim-nonce": nonce,
        "sim-signature": foreign_hmac(secret, message),
    }
    return HttpReply(status=status, headers=headers, body=body)


def order(operation, **other):
    refund = "REFUND" in operation.name
    number = {"refund_no": REFUND_NO} if refund else {"charge_no": CHARGE_NO, "qr_code": "scan me"}
    said = {"provider_no": "P1", "state": "SUCCEEDED", "amount_minor": 1000, "currency": "CNY"}
    return orjson.dumps(number | said | other)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=9),
    st.lists(st.integers(0, 9), max_size=2),
)
FIELDS = ["charge_no", "refund_no", "state", "provider_no", "amount_minor", "currency", "code"]
FIELDS += ["number", "kind", "event_id"]
BODIES = st.one_of(
    st.binary(max_size=200),
    VALUES.map(orjson.dumps),
    # Mostly right: the way to the last check.
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2).map(
        lambda wrong: orjson.dumps(orjson.loads(order(Operation.PAY)) | wrong)
    ),
)
STATUSES = st.just(200) | st.integers(100, 599)
HEADERS = st.dictionaries(
    st.sampled_from(["sim-timestamp", "sim-signature", "sim-nonce", "sim-account"]),
    st.text(max_size=80),
)
