"""What the simulator's adapter believes of a callback, and what not. No socket."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel.adapters.spi import (
    BODY_BYTES_MAX,
    Operation,
    Outcome,
    RawNotification,
    Unreadable,
    Untrusted,
)
from tests.adapter_samples import (
    ACCOUNT,
    BODIES,
    CHARGE_NO,
    HEADERS,
    NOW,
    OTHER,
    REFUND_NO,
    SECRET,
    SIM,
    foreign_hmac,
)

GOLDEN_CALLBACK = RawNotification(
    path="/callbacks/sim-a",
    headers={
        "sim-account": "sim-a",
        "sim-timestamp": "1795342887",
        "sim-nonce": "fedcba9876543210",
        "sim-signature": "1addc8af6f58faddb77daa096d8a50adfa1a126082db0e8d2b38a861f33ab733",
    },
    body=b'{"event_id":"E1","kind":"charge","number":"20261122AT0000000000000001",'
    b'"state":"SUCCEEDED","amount_minor":1000,"currency":"CNY",'
    b'"provider_no":"sim-a-000000000001","time":"2026-11-22T10:00:00.000Z"}',
    received_at=NOW,
)


def replaced(notification, *, body=None, received_at=None, path=None, **headers):
    renamed = {f"sim-{name}": value for name, value in headers.items()}
    return RawNotification(
        path=path or notification.path,
        headers={**notification.headers, **renamed},
        body=notification.body if body is None else body,
        received_at=received_at or notification.received_at,
    )


def callback(**other):
    """A callback that says what it is told to, signed as it should be."""
    return sealed(orjson.dumps(orjson.loads(GOLDEN_CALLBACK.body) | other))


def sealed(body):
    message = f"POST\n{GOLDEN_CALLBACK.path}\n{NOW}\nn1\n".encode() + body
    signature = foreign_hmac(SECRET, message)
    return replaced(GOLDEN_CALLBACK, body=body, timestamp=str(NOW), nonce="n1", signature=signature)


def test_the_golden_callback_is_read():
    """Signed by openssl; the number can be had without the secret."""
    peek = SIM.peek(GOLDEN_CALLBACK)
    assert (peek.provider_account, peek.number) == ("sim-a", CHARGE_NO)

    said = SIM.read_notification(ACCOUNT, GOLDEN_CALLBACK)
    assert (said.number, said.operation) == (CHARGE_NO, Operation.PAY)
    assert (said.result.outcome, said.result.amount_minor) == (Outcome.SUCCEEDED, 1000)


def test_copies_are_known_by_their_content_and_not_by_their_id_alone():
    """Freshly signed it is the same word; another amount under the same id is another."""
    keys = [
        SIM.read_notification(ACCOUNT, each).dedup_key
        for each in (GOLDEN_CALLBACK, sealed(GOLDEN_CALLBACK.body), callback(amount_minor=1001))
    ]
    assert keys[0] == keys[1]
    assert keys[0].startswith("E1:")
    assert keys[2] not in keys[:2]


def test_a_callback_about_a_refund_says_so():
    """Numbers of charges and refunds are not one space."""
    said = SIM.read_notification(ACCOUNT, callback(kind="refund", number=REFUND_NO))
    assert (said.number, said.operation) == (REFUND_NO, Operation.REFUND)


@pytest.mark.parametrize(
    "change",
    [
        {"body": GOLDEN_CALLBACK.body.replace(b"1000", b"1001")},
        {"path": "/callbacks/sim-b"},
        {"timestamp": "1795342888"},
        {"nonce": "0"},
        {"signature": ""},
        {"signature": "é"},
        {"received_at": NOW + 303},
        {"received_at": NOW - 299},
        {"account": "sim-b"},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_callback_that_was_tampered_with_or_is_stale_is_untrusted(change):
    """Anything that is signed, and when it came."""
    with pytest.raises(Untrusted):
        SIM.read_notification(ACCOUNT, replaced(GOLDEN_CALLBACK, **change))


def test_a_callback_for_another_account_is_untrusted():
    """Also when it claims to be theirs."""
    for claimed in ("sim-a", "sim-b"):
        with pytest.raises(Untrusted):
            SIM.read_notification(OTHER, replaced(GOLDEN_CALLBACK, account=claimed))


@pytest.mark.parametrize("wrong", [{"kind": "payout"}, {"amount_minor": 1.5}, {"event_id": ""}])
def test_a_signed_callback_that_makes_no_sense_is_unreadable(wrong):
    """Nothing of it is guessed."""
    with pytest.raises(Unreadable):
        SIM.read_notification(ACCOUNT, callback(**wrong))


@given(body=BODIES, headers=HEADERS, path=st.text(max_size=40))
def test_a_garbage_callback_raises_nothing_else(body, headers, path):
    """Neither for who looks without a secret nor for who verifies."""
    raw = RawNotification(path=path, headers=headers, body=body, received_at=NOW)
    with pytest.raises((Untrusted, Unreadable)):
        SIM.read_notification(ACCOUNT, raw)
    try:
        SIM.peek(raw)
    except Unreadable:
        pass
    else:
        assert headers["sim-account"]


@given(body=BODIES)
def test_a_signed_garbage_callback_decides_nothing(body):
    """A success says the amount that stands in the body, and that is a whole number."""
    try:
        said = SIM.read_notification(ACCOUNT, sealed(body))
    except Unreadable:
        return
    if said.result.outcome is Outcome.SUCCEEDED:
        content = orjson.loads(body)
        assert content["state"] == "SUCCEEDED"
        assert type(content["amount_minor"]) is int
        assert content["amount_minor"] == said.result.amount_minor > 0


def test_peek_does_not_read_a_huge_body():
    """A megabyte is enough for anybody."""
    with pytest.raises(Unreadable):
        SIM.peek(replaced(GOLDEN_CALLBACK, body=GOLDEN_CALLBACK.body + b" " * BODY_BYTES_MAX))


def test_only_ok_ends_the_callbacks():
    """The simulator wants exactly that."""
    assert SIM.ack(accepted=True) == b"OK"
    assert SIM.ack(accepted=False) != b"OK"
