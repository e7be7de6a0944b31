"""The checker's rules about orders, the provider and timers, each seen to fail."""

from dataclasses import replace

import pytest

from checker.evidence import Entry
from checker.rules import ALL
from checker.verdict import judge
from tests.unit.forgery import altered, broken, changed, is_a, true_world

AGREE = "trade = payment = channel in every trace"
REFUNDS = "every refund is the same for trade, payment and channel, and none is too much"
ATTEMPTS = "the provider's truth = our attempts, order by order"
TWICE = "what was paid twice at the provider is under review"
SUMS = "the provider's truth = clearing, in sum at every acquirer"
EFFECTS = "ledger = what happened, account by account, in every trace"
TOLD = "what callers were told is still true"
LAST = "what an app was told last is how things stand"
ORDER = "every trace is in time order"
DUE = "nothing is PROCESSING without a due time"

TRADE, PAYMENT = is_a("trade", "trade"), is_a("payment", "payment")
PAY, REFUND = is_a("channel", "attempt", operation="PAY"), is_a("trade", "refund")


@pytest.fixture
def truth():
    return true_world()


def added(evidence, trace_no, entry):
    return replace(
        evidence, traces={**evidence.traces, trace_no: (*evidence.traces[trace_no], entry)}
    )


@pytest.mark.parametrize(
    ("trace_no", "where", "facts"),
    [
        ("MALL-qr", TRADE, {"amount_minor": 9_999}),
        ("MALL-qr", TRADE, {"gone": 1}),
        ("MALL-qr", TRADE, {"currency_code": "JPY"}),
        ("MALL-qr", PAYMENT, {"amount_minor": 9_999}),
        ("MALL-qr", PAYMENT, {"state": "FAILED"}),
        ("MALL-qr", PAYMENT, {"gone": 1}),
        ("MALL-qr", PAY, {"state": "FAILED"}),
        ("MALL-qr", PAY, {"amount_minor": 9_999}),
        ("MALL-qr", PAY, {"gone": 1}),
        ("MALL-denied", PAYMENT, {"state": "SUCCEEDED"}),
        ("MALL-qr", is_a("risk", "decision"), {"decision": "BLOCK"}),
        ("MALL-qr", is_a("risk", "decision"), {"gone": 1}),
        ("MALL-review", is_a("payment", "case"), {"gone": 1}),
        ("MALL-review", TRADE, {"state": "PAID"}),
        ("MALL-second", TRADE, {"state": "CREATED"}),
        ("MALL-unpaid", PAYMENT, {"state": "PROCESSING", "due_time": "2026-09-01"}),
        ("MALL-unpaid", PAY, {"state": "PROCESSING", "due_time": "2026-09-01"}),
        ("MALL-unpaid", PAY, {"state": "REVIEW"}),
        ("MALL-unpaid", PAYMENT, {"state": "SUCCEEDED"}),
        ("MALL-unpaid", TRADE, {"state": "REVIEW"}),
    ],
)
def test_a_service_that_disagrees_is_found(truth, trace_no, where, facts):
    """Trade, payment, risk and channel must tell one story."""
    assert AGREE in broken(changed(truth, trace_no, where, **facts))


def test_a_trace_that_is_gone_is_found(truth):
    """The caller was told OK."""
    traces = {**truth.traces, "MALL-denied": ()}
    assert AGREE in broken(replace(truth, traces=traces))


def test_a_trade_paid_twice_is_found(truth):
    """Two tries that won."""
    assert AGREE in broken(changed(truth, "MALL-second", PAYMENT, state="SUCCEEDED"))


def test_a_trade_that_get_trade_shows_otherwise_is_found(truth):
    """Both read the same row, or one of them lies."""
    trade = next(one for one in truth.trades.values() if one.trace_no == "MALL-qr")
    forged = replace(truth, trades={**truth.trades, trade.trade_no: replace(trade, state="CLOSED")})
    assert {AGREE, LAST} <= broken(forged)
    forged = {number: one for number, one in truth.trades.items() if number != trade.trade_no}
    assert broken(replace(truth, trades=forged)) == {AGREE}
    for other in ({"merchant_id": "mch_books"}, {"user_no": "u9"}):
        forged = {**truth.trades, trade.trade_no: replace(trade, **other)}
        assert broken(replace(truth, trades=forged)) == {AGREE}


@pytest.mark.parametrize(
    "facts", [{"state": "FAILED"}, {"state": "PROCESSING"}, {"amount_minor": 2_501}, {"gone": 1}]
)
def test_a_refund_on_which_two_services_disagree_is_found(truth, facts):
    """Trade's word is changed, payment's is not."""
    assert REFUNDS in broken(changed(truth, "MALL-qr", REFUND, **facts))


def test_a_refund_without_the_money_moving_is_found(truth):
    """Its attempt failed."""
    where = is_a("channel", "attempt", operation="REFUND")
    assert REFUNDS in broken(changed(truth, "MALL-wallet", where, state="FAILED"))


def test_refunds_that_are_counted_wrongly_are_found(truth):
    """The sum on the trade decides what may still be given back."""
    trade = next(one for one in truth.trades.values() if one.trace_no == "MALL-wallet")
    forged = {**truth.trades, trade.trade_no: replace(trade, refunded_minor=0)}
    assert broken(replace(truth, trades=forged)) == {REFUNDS}


def test_more_given_back_than_was_paid_is_found(truth):
    """However it came about."""
    trade = next(one for one in truth.trades.values() if one.trace_no == "MALL-qr")
    more = Entry(service="trade", kind="refund", number="X", state="SUCCEEDED", amount_minor=1)
    forged = added(truth, "MALL-qr", more)
    forged = {**forged.trades, trade.trade_no: replace(trade, refunded_minor=10_001)}
    evidence = replace(added(truth, "MALL-qr", more), trades=forged)
    assert REFUNDS in broken(evidence)


@pytest.mark.parametrize(
    ("trace_no", "moved", "asked"),
    [("MALL-qr", 0, 10_000), ("MALL-qr", 10_001, 10_000), ("MALL-qr", 10_000, 9_999),
     ("MALL-review", 0, 1_096), ("MALL-review", 1_096, 1_096)],
)  # fmt: skip
def test_an_attempt_that_the_provider_sees_otherwise_is_found(truth, trace_no, moved, asked):
    """What moved, and what was asked for, each to the minor unit."""
    numbers = {one.number for one in truth.traces[trace_no] if PAY(one)}
    forged = altered(
        truth.movements, lambda one: one.number in numbers, moved_minor=moved, amount_minor=asked
    )
    assert ATTEMPTS in broken(replace(truth, movements=forged))


def test_a_failure_that_charged_the_payer_is_found(truth):
    """The worst one: the caller was told that nothing happened."""
    numbers = {one.number for one in truth.traces["MALL-failover"] if PAY(one)}
    failed = next(one for one in truth.movements if one.number in numbers and not one.moved_minor)
    forged = altered(truth.movements, lambda one: one is failed, moved_minor=2_000)
    assert ATTEMPTS in broken(replace(truth, movements=forged))


def test_money_that_went_back_must_be_under_review(truth):
    """Neither a success, nor a failure as if it had never moved; and it has left clearing."""
    numbers = {one.number for one in truth.traces["MALL-failover"] if PAY(one)}
    forged = altered(
        truth.movements, lambda one: one.number in numbers, moved_minor=0, state="REVERSED"
    )
    evidence = replace(truth, movements=forged)
    seen = judge(ALL, evidence)
    [found] = [verdict.findings for verdict in seen if verdict.rule == ATTEMPTS]
    assert len(found) == 2, "the success, and the failure before it"
    assert SUMS in broken(evidence)
    back = {"state": "REVIEW", "failure_reason": "CHANNEL_REVERSED"}
    assert ATTEMPTS not in broken(changed(evidence, "MALL-failover", PAY, **back))
    assert ATTEMPTS in broken(changed(truth, "MALL-failover", PAY, **back))


def test_what_was_paid_twice_must_be_under_review(truth):
    """The second payment is the provider's word that an order of ours was paid again."""
    paid = next(one for one in truth.traces["MALL-qr"] if PAY(one))
    first = next(one for one in truth.movements if one.number == paid.number)
    again = replace(first, kind="second_charge", number="P-2", of=first.number)
    evidence = replace(truth, movements=(*truth.movements, again))
    assert {TWICE, SUMS} <= broken(evidence)
    reviewed = changed(evidence, "MALL-qr", PAY, state="REVIEW")
    assert TWICE not in broken(reviewed)


def test_a_success_that_the_provider_does_not_know_is_found(truth):
    """An attempt number of nobody's."""
    forged = changed(truth, "MALL-fill", PAY, number="20260901AT9999999999999999")
    assert ATTEMPTS in broken(forged)


@pytest.mark.parametrize(
    ("where", "state"),
    [(PAYMENT, "PROCESSING"), (PAYMENT, "CREATED"), (PAY, "PROCESSING"), (REFUND, "PROCESSING")],
)
def test_something_open_that_nobody_will_look_at_is_found(truth, where, state):
    """With a due time the rule is content, whatever the others say."""
    forgotten = changed(truth, "MALL-qr", where, state=state)
    assert DUE in broken(forgotten)
    watched = changed(truth, "MALL-qr", where, state=state, due_time="2026-09-01T10:00:00Z")
    assert DUE not in broken(watched)


def test_a_trade_that_nobody_will_close_is_found(truth):
    """Risk blocked it; it is PAYING, may be paid by a second try, and expires."""
    forged = changed(truth, "MALL-denied", TRADE, due_time="")
    assert broken(forged) == {DUE}


def test_money_of_a_closed_trade_that_no_case_explains_is_found(truth):
    """With its case, about its payment, it is explained."""
    charged = changed(truth, "MALL-unpaid", PAY, state="REVIEW")
    assert AGREE in broken(charged)
    [payment] = [one for one in truth.traces["MALL-unpaid"] if PAYMENT(one)]
    case = Entry(
        service="payment", kind="case", number="cas_1", state="RESOLVED",
        facts={"about": payment.number},
    )  # fmt: skip
    findings = [
        what
        for verdict in judge(ALL, added(charged, "MALL-unpaid", case))
        for what in verdict.lines()
        if "without a case" in what
    ]
    assert findings == []


def test_an_open_trace_is_left_to_the_rule_about_timers(truth):
    """Money may be half-way: the books of that trace are not compared yet."""
    forged = changed(truth, "MALL-refused", is_a("ledger", "entry"), gone=1)
    assert EFFECTS not in broken(truth)
    assert EFFECTS in broken(changed(truth, "MALL-qr", is_a("ledger", "entry"), gone=1))
    open_one = changed(
        changed(truth, "MALL-qr", is_a("ledger", "entry"), gone=1),
        "MALL-qr",
        is_a("payment", "refund"),
        state="PROCESSING",
        due_time="2026-09-01",
    )
    assert EFFECTS not in broken(open_one)
    assert broken(forged) == set() or EFFECTS in broken(forged)


def test_a_trace_that_is_not_in_time_order_is_found(truth):
    """Decimals of a second are compared as such, however many are written."""
    times = ["2026-09-01T10:00:00Z", "2026-09-01T10:00:00.010Z", "2026-09-01T10:00:00.010500Z"]
    for written, expected in ((times, set()), (times[::-1], {ORDER})):
        entries = [
            replace(entry, create_time=written[min(place, 2)])
            for place, entry in enumerate(truth.traces["MALL-fill"])
        ]
        traces = {**truth.traces, "MALL-fill": tuple(entries)}
        assert broken(replace(truth, traces=traces)) == expected
