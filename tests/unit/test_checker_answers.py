"""The checker's rules about answers and webhooks, and its history, each seen to fail."""

import json
from dataclasses import replace

import pytest

from checker import history, webhooks
from checker.evidence import Delivery, Told
from tests.unit.forgery import altered, broken, changed, is_a, true_world, without

TOLD = "what callers were told is still true"
ONCE = "what was repeated was done once, and what must be refused was refused"
ARRIVED = "every webhook arrived"
EQUAL = "every delivery is signed, repeats are equal, a version has one webhook"
LAST = "what an app was told last is how things stand"
PAID = "no app was told PAID of a trade that nobody paid"


@pytest.fixture
def truth():
    return true_world()


def answered(evidence, index, **facts):
    """The evidence with the answer of one call changed."""
    calls = list(evidence.calls)
    calls[index] = replace(calls[index], answer=replace(calls[index].answer, **facts))
    return replace(evidence, calls=tuple(calls))


def test_an_answer_that_is_no_longer_true_is_found(truth):
    """A final answer may only come under review."""
    forged = answered(truth, 0, payment_state="FAILED")
    assert TOLD in broken(forged)
    refund = next(i for i, one in enumerate(truth.calls) if one.verb == "CreateRefund")
    assert TOLD in broken(answered(truth, refund, refund_state="FAILED"))
    assert TOLD in broken(answered(truth, 0, trade_state="CLOSED"))


def test_an_answer_about_something_that_is_not_there_is_found(truth):
    """A number that was told and is in no trace."""
    assert TOLD in broken(answered(truth, 0, payment_no="20260901PY9999999999999999"))


def test_a_refund_of_another_amount_than_asked_is_found(truth):
    """Even if all services agree on it."""
    refund = next(i for i, one in enumerate(truth.calls) if one.verb == "CreateRefund")
    calls = list(truth.calls)
    calls[refund] = replace(calls[refund], amount_minor=2_499)
    assert TOLD in broken(replace(truth, calls=tuple(calls)))


def test_a_call_that_was_carried_out_twice_is_found(truth):
    """Two answers under one number, none of which says that it is a repetition."""
    assert broken(answered(truth, -1, replayed=False)) == {ONCE}


def test_a_repetition_answered_with_another_payment_is_found(truth):
    """One number, one result."""
    other = next(one.answer.payment_no for one in truth.calls if one.trace_no == "MALL-second")
    assert ONCE in broken(answered(truth, -1, payment_no=other))


def test_one_order_with_two_trades_is_found(truth):
    """Two calls of one order were answered with different trades."""
    second = next(i for i, one in enumerate(truth.calls) if one.trace_no == "MALL-second")
    assert ONCE in broken(answered(truth, second, trade_no="20260901TR9999999999999999"))


@pytest.mark.parametrize(
    ("verb", "story", "amount", "reason"),
    [("PayTrade", "reused", 9_000, "REQUEST_REUSED"),
     ("CreateRefund", "refund_too_much", 10_001, "REFUND_EXCEEDS_TRADE")],
)  # fmt: skip
def test_what_had_to_be_refused_and_was_not_is_found(truth, verb, story, amount, reason):
    """The answer must bear this reason and no other."""
    first = truth.calls[0]
    for given, expected in ((reason, set()), ("INTERNAL", {ONCE})):
        call = replace(
            first, seq=99, verb=verb, story=story, number="wrong", amount_minor=amount,
            answer=Told(code="FAILED_PRECONDITION", reason=given),
        )  # fmt: skip
        assert broken(replace(truth, calls=(*truth.calls, call))) == expected


def test_a_payment_nobody_asked_for_is_found(truth):
    """More payments in the trace than numbers that were sent."""
    calls = without(truth.calls, lambda one: one.number == "second-P1")
    assert ONCE in broken(replace(truth, calls=calls))


def test_a_call_without_an_answer_may_have_been_carried_out(truth):
    """The caller crashed, or the answer was lost: both outcomes are right."""
    calls = altered(truth.calls, lambda one: one.number == "second-P1", answer=None)
    assert broken(replace(truth, calls=calls)) == set()


def test_a_webhook_that_never_arrived_is_found(truth):
    """The service says it was delivered; the receiver's own log does not have it."""
    first = truth.deliveries[0].webhook_id
    forged = without(truth.deliveries, lambda one: one.webhook_id == first)
    assert ARRIVED in broken(replace(truth, deliveries=forged))
    refused = altered(truth.deliveries, lambda one: one.webhook_id == first, answered=500)
    assert ARRIVED in broken(replace(truth, deliveries=refused))


def test_a_webhook_that_is_not_delivered_is_found(truth):
    """Pending when all is quiet, or given up."""
    for state in ("PENDING", "EXHAUSTED"):
        forged = changed(truth, "MALL-qr", is_a("trade", "webhook"), state=state)
        assert broken(forged) == {ARRIVED}


@pytest.mark.parametrize("facts", [{"signed": False}, {"body": "{}"}])
def test_a_delivery_that_is_forged_or_differs_is_found(truth, facts):
    """The first of a pair is changed."""
    first = truth.deliveries[0]
    forged = altered(truth.deliveries, lambda one: one is first, **facts)
    assert EQUAL in broken(replace(truth, deliveries=forged))


def test_what_a_stranger_sends_to_a_receiver_is_not_held_against_us(truth):
    """It is not signed, and names nothing of ours."""
    noise = replace(truth.deliveries[0], signed=False, number="", webhook_id="", answered=401)
    assert broken(replace(truth, deliveries=(*truth.deliveries, noise))) == set()


def test_one_version_under_two_ids_is_found(truth):
    """A receiver would act on it twice."""
    twin = replace(truth.deliveries[1], webhook_id="whk_other")
    assert broken(replace(truth, deliveries=(*truth.deliveries, twin))) == {EQUAL}


def test_a_stale_webhook_as_the_last_word_is_found(truth):
    """The app believes something that is no longer so."""
    last = max(one.version for one in truth.deliveries if one.trace_no == "MALL-failover")
    stale = replace(
        next(one for one in truth.deliveries if one.trace_no == "MALL-failover"),
        webhook_id="whk_late", version=last + 1, state="CLOSED", answered=200,
    )  # fmt: skip
    assert LAST in broken(replace(truth, deliveries=(*truth.deliveries, stale)))


def test_a_webhook_of_a_version_that_does_not_exist_is_found(truth):
    """Told before it was committed, or of something that was rolled back."""
    forged = altered(truth.deliveries, lambda one: one.trace_no == "MALL-failover", version=9)
    assert broken(replace(truth, deliveries=forged)) == {ARRIVED, LAST}


def test_an_app_that_was_told_nothing_is_found(truth):
    """Neither the entry in the trace nor the delivery is there."""
    where = lambda one: one.trace_no == "MALL-fill"  # noqa: E731
    forged = replace(truth, deliveries=without(truth.deliveries, where))
    forged = changed(forged, "MALL-fill", is_a("trade", "webhook"), gone=1)
    assert broken(forged) == {LAST}


def test_paid_that_nobody_paid_is_found(truth):
    """Risk blocked it, and its app ships the goods."""
    trade = next(one for one in truth.trades.values() if one.trace_no == "MALL-denied")
    lie = replace(truth.deliveries[-1], webhook_id="whk_lie", number=trade.trade_no, state="PAID",
                  trace_no="MALL-denied", version=1)  # fmt: skip
    assert PAID in broken(replace(truth, deliveries=(*truth.deliveries, lie)))


def test_a_history_is_read_as_it_was_written(truth):
    """Calls with and without answers, in order."""
    lines = []
    for call in truth.calls:
        lines.append(history.sent_line(call) + "\n")
        lines.append(history.answer_line(call.seq, call.answer) + "\n")
    assert history.read(lines) == list(truth.calls)
    assert history.read(lines[:-1])[-1].answer is None


def test_a_torn_last_line_is_left_out_and_damage_is_not(truth):
    """A crash tears the last line only."""
    first, second = (history.sent_line(call) + "\n" for call in truth.calls[:2])
    assert history.read([first, second[:-9]]) == [replace(truth.calls[0], answer=None)]
    with pytest.raises(history.Damaged, match="line 1"):
        history.read([first[:-9] + "\n", second])
    with pytest.raises(history.Damaged, match="line 2"):
        history.read([first, history.answer_line(99, Told(code="OK")) + "\n"])
    with pytest.raises(history.Damaged, match="twice"):
        history.read([first, first])


def test_the_receivers_log_is_read_as_it_was_written():
    """What the body says is in the record, beside what the receiver did."""
    data = {"traceNo": "MALL-1", "state": "STATE_PAID"}
    body = json.dumps({"id": "20260901TR01:3", "type": "trade.paid", "data": data})
    line = webhooks.line(app="MALL", webhook_id="whk_1", signed=True, answered=200, body=body)
    assert webhooks.read(line) == Delivery(
        app="MALL", webhook_id="whk_1", event_type="trade.paid", number="20260901TR01",
        trace_no="MALL-1", version=3, state="PAID", body=body, signed=True, answered=200,
    )  # fmt: skip


@pytest.mark.parametrize("body", ["", "[]", "{", '{"id": "x:y", "type": "t", "data": {}}', "7"])
def test_a_delivery_that_is_no_webhook_is_kept_and_says_nothing(body):
    """Anybody may send anything to a receiver."""
    line = webhooks.line(app="MALL", webhook_id="", signed=False, answered=401, body=body)
    found = webhooks.read(line)
    assert (found.number, found.state, found.version, found.body) == ("", "", 0, body)


def test_evidence_that_cannot_be_read_is_a_finding(truth):
    """A fact that is missing must not end the check of all other rules."""
    voucher = next(one for one in truth.traces["MALL-qr"] if one.kind == "voucher")
    bare = replace(voucher, facts={})
    traces = {**truth.traces, "MALL-qr": (*truth.traces["MALL-qr"], bare)}
    assert broken(replace(truth, traces=traces)) == {"every business event is booked once"}
