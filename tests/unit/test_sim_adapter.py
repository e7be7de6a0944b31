"""What the simulator's adapter sends, and what it makes of replies. No socket."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel.adapters.sim import _OUTCOMES
from channel.adapters.spi import (
    BODY_BYTES_MAX,
    Account,
    HttpReply,
    Operation,
    Outcome,
    PayRequest,
    Result,
    Retry,
    Unreadable,
    Untrusted,
)
from tests.adapter_samples import (
    ACCOUNT,
    BEGIN,
    BODIES,
    CHARGE_NO,
    HEADERS,
    NOTIFY_URL,
    NOW,
    OTHER,
    PAY,
    REF,
    REFUND_NO,
    SECRET,
    SIM,
    STAMP,
    STATUSES,
    WHO,
    answer,
    foreign_hmac,
    order,
    signed,
)

each_operation = pytest.mark.parametrize("operation", list(Operation))

# By `printf … | openssl dgst -sha256 -hmac 'correct horse battery'`.
GOLDEN = {
    Operation.PAY: (
        "POST /v1/charges",
        "909469c63b700cbcb24c5b9e403eb6966524282ab5987205c870466a7346a560",
    ),
    Operation.QUERY: (
        f"GET /v1/charges/{CHARGE_NO}",
        "7ba83a96378db9197002189f3ef594c2f11dba2485108fbbf18cbce102de9433",
    ),
    Operation.CLOSE: (
        f"POST /v1/charges/{CHARGE_NO}/close",
        "818077e43f841aef68bd0559d96f46914b2a08b29e405a642af80bac192a2304",
    ),
    Operation.REFUND: (
        "POST /v1/refunds",
        "0abb67df9987c2bfd9cf29d97ccefc48461c7955a02a05f132f388b9f83c53c8",
    ),
    Operation.QUERY_REFUND: (
        f"GET /v1/refunds/{REFUND_NO}",
        "90ebf41b2e5bea99b31eb895c2e9d14022ced8e44355f58fe377f7554f516b23",
    ),
}
GOLDEN_REPLY = (
    b'{"charge_no":"20261122AT0000000000000001","provider_no":"sim-a-000000000001",'
    b'"state":"SUCCEEDED","amount_minor":1000,"currency":"CNY"}'
)
GOLDEN_REPLY_SIGNATURE = "eb2fb023c82b2b7cf560f6e8aef549f067933cb595ff67e780d85cc9990ce54f"


@each_operation
def test_requests_are_the_golden_ones_to_the_byte(operation):
    """Method, target and signature; the signature covers the body."""
    [call, again] = [next(BEGIN[operation](SIM)) for _ in range(2)]

    line, signature = GOLDEN[operation]
    assert f"{call.method} {call.url.removeprefix(ACCOUNT.base_url)}" == line
    assert call.headers["Sim-Signature"] == signature
    assert (call.headers["Sim-Account"], call.headers["Sim-Nonce"]) == ("sim-a", STAMP.nonce)
    assert call == again


def test_a_base_url_with_a_path_is_signed_as_it_is_sent():
    """Behind a proxy the provider sees, and signs, the whole target."""
    account = Account(
        channel_code="sim-a",
        base_url="https://pay.example/gate/",
        provider_account="sim-a",
        secret=SECRET,
        cost_ppm=0,
    )
    call = next(SIM.query(account, REF, STAMP))

    assert call.url == f"https://pay.example/gate/v1/charges/{CHARGE_NO}"
    message = f"GET\n/gate/v1/charges/{CHARGE_NO}\n{NOW}\n{STAMP.nonce}\n".encode()
    assert call.headers["Sim-Signature"] == foreign_hmac(SECRET, message)


@given(amount=st.integers(1, 10**15), subject=st.text(max_size=128))
def test_any_amount_and_subject_arrive_as_they_are(amount, subject):
    """No float on the way, nothing cut, and a subject is never empty."""
    request = PayRequest(
        attempt_no=CHARGE_NO,
        amount_minor=amount,
        currency_code="CNY",
        subject=subject,
        notify_url=NOTIFY_URL,
        **WHO,
    )
    said = orjson.loads(next(SIM.pay(ACCOUNT, request, STAMP)).body)
    assert (type(said["amount_minor"]), said["amount_minor"]) == (int, amount)
    assert said["subject"] == (subject or CHARGE_NO)


def test_a_secret_shows_in_no_repr():
    """Accounts end up in logs."""
    assert SECRET not in repr(ACCOUNT)
    assert SECRET not in repr(next(SIM.pay(ACCOUNT, PAY, STAMP)))


def test_the_golden_reply_is_a_success_with_what_moved():
    """Signed by openssl, not by us."""
    reply = HttpReply(
        status=200,
        headers={
            "sim-timestamp": "1795342886",
            "sim-nonce": STAMP.nonce,
            "sim-signature": GOLDEN_REPLY_SIGNATURE,
        },
        body=GOLDEN_REPLY,
    )
    result = answer(Operation.QUERY, reply)
    assert result == Result(
        outcome=Outcome.SUCCEEDED,
        provider_no="sim-a-000000000001",
        amount_minor=1000,
        currency_code="CNY",
    )


@pytest.mark.parametrize(
    ("operation", "state", "outcome"),
    [
        (Operation.PAY, "PENDING", Outcome.ACTION),
        (Operation.QUERY, "PENDING", Outcome.ACTION),
        (Operation.QUERY, "FAILED", Outcome.FAILED),
        (Operation.QUERY, "CLOSED", Outcome.CLOSED),
        (Operation.QUERY, "REVERSED", Outcome.REVERSED),
        (Operation.QUERY_REFUND, "REVERSED", Outcome.REVERSED),
        (Operation.QUERY, "THAWED", Outcome.UNKNOWN),
        (Operation.CLOSE, "CLOSED", Outcome.CLOSED),
        (Operation.REFUND, "PENDING", Outcome.PENDING),
        (Operation.QUERY_REFUND, "SUCCEEDED", Outcome.SUCCEEDED),
        (Operation.QUERY_REFUND, "FAILED", Outcome.FAILED),
        (Operation.QUERY_REFUND, "CLOSED", Outcome.UNKNOWN),
    ],
)
def test_each_state_has_its_outcome(operation, state, outcome):
    """A state that is news, or that a refund cannot have, is unknown."""
    result = answer(operation, signed(order(operation, state=state)))
    assert result.outcome is outcome
    assert result.qr_code == ("scan me" if outcome is Outcome.ACTION else "")
    assert (result.amount_minor == 1000) is (outcome is Outcome.SUCCEEDED)


@each_operation
@given(code=st.from_regex(r"[A-Z][A-Z_]{2,30}", fullmatch=True), status=st.integers(201, 599))
def test_an_unlisted_code_is_unknown(operation, code, status):
    """Whatever status it comes with."""
    if (operation, code) not in _OUTCOMES.verdicts:
        result = answer(operation, signed(orjson.dumps({"code": code}), status=status))
        assert (result.outcome, result.code) == (Outcome.UNKNOWN, code)
        assert (result.retry is Retry.QUERY) is (operation.moves_money or operation.name == "CLOSE")


@pytest.mark.parametrize(
    ("operation", "code", "outcome", "retry"),
    [
        (Operation.PAY, "INVALID_PARAMETER", Outcome.FAILED, Retry.ELSEWHERE),
        (Operation.REFUND, "REFUND_EXCEEDS", Outcome.FAILED, Retry.NONE),
        (Operation.QUERY, "NOT_FOUND", Outcome.NOT_FOUND, Retry.NONE),
        (Operation.CLOSE, "ALREADY_PAID", Outcome.UNKNOWN, Retry.QUERY),
        (Operation.CLOSE, "PAYER_IS_PAYING", Outcome.PENDING, Retry.NONE),
        (Operation.CLOSE, "NOT_FOUND", Outcome.NOT_FOUND, Retry.NONE),
        # The same word elsewhere is another matter.
        (Operation.PAY, "NOT_FOUND", Outcome.UNKNOWN, Retry.QUERY),
        (Operation.QUERY, "PAYER_IS_PAYING", Outcome.UNKNOWN, Retry.SAME),
        (Operation.PAY, "CHARGE_EXISTS", Outcome.UNKNOWN, Retry.QUERY),
        (Operation.QUERY, "INVALID_PARAMETER", Outcome.UNKNOWN, Retry.SAME),
    ],
)
def test_a_listed_code_means_what_the_table_says(operation, code, outcome, retry):
    """For this operation only."""
    result = answer(operation, signed(orjson.dumps({"code": code}), status=409))
    assert (result.outcome, result.retry) == (outcome, retry)


GOOD = order(Operation.QUERY)


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply(status=200, headers={}, body=GOOD),
        HttpReply(status=200, headers={"content-type": "text/html"}, body=b"<html>"),
        HttpReply(status=200, headers=signed(GOOD).headers, body=GOOD + b" "),
        HttpReply(status=201, headers=signed(GOOD).headers, body=GOOD),
        signed(GOOD, secret=OTHER.secret),
        signed(GOOD, nonce="fedcba9876543210"),
        signed(GOOD, timestamp=NOW - 301),
        signed(GOOD, timestamp=NOW + 301),
    ],
    ids=["unsigned", "html", "body", "status", "secret", "nonce", "old", "early"],
)
def test_a_reply_that_is_not_provably_the_answer_is_untrusted(reply):
    """Another body, status or key; the reply to another request; an old one."""
    assert answer(Operation.QUERY, signed(GOOD)).outcome is Outcome.SUCCEEDED
    steps = BEGIN[Operation.QUERY](SIM)
    next(steps)
    with pytest.raises(Untrusted):
        steps.send(reply)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        GOOD[:-1],
        order(Operation.QUERY, charge_no=REFUND_NO),
        order(Operation.QUERY, amount_minor=10.0),
        order(Operation.QUERY, amount_minor=True),
        order(Operation.QUERY, amount_minor=0),
        order(Operation.QUERY, amount_minor=-1),
        order(Operation.QUERY, amount_minor="1000"),
        GOOD.replace(b"1000", b"9223372036854775808"),
        order(Operation.QUERY, currency="yuan"),
        order(Operation.QUERY, state=None),
        order(Operation.QUERY, state="PENDING", qr_code=""),
        GOOD + b" " * BODY_BYTES_MAX,
    ],
)
def test_a_signed_reply_that_makes_no_sense_is_unreadable(body):
    """A success needs a number that is ours and a whole, positive amount."""
    steps = BEGIN[Operation.QUERY](SIM)
    next(steps)
    with pytest.raises(Unreadable):
        steps.send(signed(body))


@each_operation
@given(body=BODIES, headers=HEADERS, status=STATUSES, is_signed=st.booleans())
def test_garbage_never_raises_anything_else_and_never_decides(
    operation, body, headers, status, is_signed
):
    """A success says an amount that stands in the body; a failure is a code of the table."""
    reply = HttpReply(status=status, headers=headers, body=body)
    if is_signed:
        reply = signed(body, status=status)
    steps = BEGIN[operation](SIM)
    next(steps)
    try:
        steps.send(reply)
    except (Untrusted, Unreadable):
        return
    except StopIteration as done:
        result = done.value
    assert is_signed
    said = orjson.loads(body)
    if result.outcome is Outcome.SUCCEEDED:
        assert (status, said["state"]) == (200, "SUCCEEDED")
        assert (type(said["amount_minor"]), said["amount_minor"]) == (int, result.amount_minor)
    if result.outcome is Outcome.FAILED and status != 200:
        assert (operation, said["code"]) in _OUTCOMES.verdicts
