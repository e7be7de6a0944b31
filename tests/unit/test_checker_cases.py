"""Money in doubt: histories that are true in every detail, and each detail forged once."""

from dataclasses import replace

import pytest

from checker.evidence import Movement
from tests.unit.forgery import CNY, TEA, World, broken, changed, is_a

EXPLAINED = "whatever is parked has an open case that says so"
PARKED = "suspense and duplicates are what nobody may keep yet, to the minor unit"
BOOKS = "ledger = what happened, account by account, in every trace"
SUMS = "the provider's truth = clearing, in sum at every acquirer"
CLEARED = "every success and refund is cleared once, with the fee that was agreed"
AGREE = "trade = payment = channel in every trace"
TRACE = "MALL-1"


def a_case(order, state, amount, **facts):
    due = "" if state == "RESOLVED" else "2026-09-02"
    order.add("payment", "case", "cas_1", state, amount=amount, due=due, **facts)


def give_back(order, attempt, amount, *, source, channel="sim-a"):
    """Give parked money back by its route, and book it."""
    number = order.world.number("GB")
    order.add("payment", "give_back", number, "SUCCEEDED", amount=amount, source=source,
              channel_code=channel, attempt_no=attempt, case_id="cas_1")  # fmt: skip
    order.book("RETURN_ASKED", number, (f"{source}:", "refund_transit:", amount))
    order.attempt("REFUND", number, "SUCCEEDED", channel, amount=amount, moved=amount)
    order.book("REFUND_SUCCEEDED", number, ("refund_transit:", f"clearing:{channel}", amount))


def paid_twice(*, returned):
    """One payment, paid once more under another number of the provider's."""
    world = World()
    order = world.order("1", 10_000).pay("sim-a", fee=60, cost=38)
    [attempt] = [one.number for one in world.traces[TRACE] if one.kind == "attempt"]
    world.movements.append(
        Movement(kind="second_charge", acquirer="sim-a", number="sim-a-7", of=attempt,
                 state="SUCCEEDED", amount_minor=10_000, moved_minor=10_000, currency_code=CNY)
    )  # fmt: skip
    order.book("DUPLICATE_PARKED", attempt, ("clearing:sim-a", "duplicate:", 10_000))
    state = "RESOLVED" if returned else "OPEN"
    a_case(order, state, 10_000, about=attempt, parked_on="duplicate")
    if returned:
        give_back(order, attempt, 10_000, source="duplicate")
    order.done()
    evidence = world.evidence()
    reviewed = changed(evidence, TRACE, is_a("channel", "attempt", number=attempt), state="REVIEW",
                       failure_reason="DUPLICATE_SUCCESS")  # fmt: skip
    return changed(reviewed, TRACE, is_a("payment", "payment"), attempt_no=attempt)


def late(*, returned):
    """Another amount than was asked for, in suspense or given back."""
    world = World()
    order = world.order("1", 10_000).pay("sim-a", moved=10_001)
    payment = order.payment_no
    if returned:
        give_back(order, "AT1", 10_001, source="suspense")
        order.state = "CLOSED"
    order.done()
    evidence = world.evidence()
    if not returned:
        return evidence
    for kind, state in (("payment", "CLOSED"), ("case", "RESOLVED")):
        facts = {"review_kind": "AMOUNT_MISMATCH"} if kind == "payment" else {}
        evidence = changed(evidence, TRACE, is_a("payment", kind), state=state, **facts)
    assert payment
    return evidence


def taken_back(*, owed=False, state="REVIEW"):
    """A success that its provider took back: out of the merchant's account, or owed by it."""
    world = World()
    order = world.order("1", 10_000).pay("sim-a", fee=60, cost=38)
    owner = f"receivable:{TEA}" if owed else f"merchant_pending:{TEA}"
    order.book("COLLECT_REVERSED", order.payment_no, (owner, "clearing:sim-a", 9_940),
               ("fee_income:", "clearing:sim-a", 60),
               ("clearing:sim-a", "channel_cost:", 38))  # fmt: skip
    decided = "RESOLVED" if state == "CLOSED" else "OPEN"
    a_case(order, decided, 0, about=order.payment_no)
    order.state = state
    order.done()
    evidence = world.evidence()
    [moved] = evidence.movements
    evidence = replace(evidence, movements=(replace(moved, state="REVERSED", moved_minor=0),))
    evidence = changed(evidence, TRACE, is_a("channel", "attempt"), state="REVIEW",
                       failure_reason="CHANNEL_REVERSED")  # fmt: skip
    item = "CANCELLED" if state == "CLOSED" else "HELD"
    evidence = changed(evidence, TRACE, is_a("settlement", "clearing_item"), state=item)
    return changed(evidence, TRACE, is_a("payment", "payment"), state=state,
                   review_kind="CHANNEL_REVERSED")  # fmt: skip


TRUE = [
    ("paid twice", lambda: paid_twice(returned=False)),
    ("paid twice, given back", lambda: paid_twice(returned=True)),
    ("another amount", lambda: late(returned=False)),
    ("another amount, given back", lambda: late(returned=True)),
    ("taken back", taken_back),
    ("taken back and owed", lambda: taken_back(owed=True)),
    ("taken back for good", lambda: taken_back(state="CLOSED")),
]


def about_us(rules):
    """Leave out the rules that want to see more than one order."""
    return {rule for rule in rules if rule in (EXPLAINED, PARKED, BOOKS, SUMS, CLEARED, AGREE)}


@pytest.mark.parametrize("build", [build for _, build in TRUE], ids=[name for name, _ in TRUE])
def test_what_is_true_is_not_found(build):
    """The rules know where money in doubt stands, and where it went."""
    assert about_us(broken(build())) == set()


FORGED = [
    # A history            is changed so                                            and found by
    (lambda: paid_twice(returned=False), is_a("payment", "case"), {"gone": True}, EXPLAINED),
    (lambda: paid_twice(returned=False), is_a("payment", "case"), {"amount_minor": 1}, EXPLAINED),
    (lambda: paid_twice(returned=False), is_a("payment", "case"), {"state": "RESOLVED"}, EXPLAINED),
    (lambda: paid_twice(returned=False), is_a("ledger", "entry", credit="duplicate::CNY"),
     {"credit": "suspense::CNY"}, BOOKS),
    (lambda: paid_twice(returned=True), is_a("payment", "give_back"), {"gone": True}, BOOKS),
    (lambda: paid_twice(returned=True), is_a("payment", "give_back"), {"state": "FAILED"}, BOOKS),
    (lambda: late(returned=False), is_a("payment", "case"), {"parked_on": "duplicate"}, EXPLAINED),
    (lambda: late(returned=True), is_a("payment", "give_back"), {"amount_minor": 10_000}, BOOKS),
    (lambda: late(returned=True), is_a("payment", "payment"), {"review_kind": ""}, AGREE),
    (taken_back, is_a("ledger", "entry", debit="fee_income::CNY"), {"gone": True}, BOOKS),
    (taken_back, is_a("settlement", "clearing_item"), {"state": "PENDING"}, CLEARED),
]  # fmt: skip


@pytest.mark.parametrize(("build", "where", "facts", "rule"), FORGED)
def test_what_is_forged_is_found(build, where, facts, rule):
    """Each by the rule that is there for it."""
    assert rule in broken(changed(build(), TRACE, where, **facts))


@pytest.mark.parametrize("build", [lambda: paid_twice(returned=False), taken_back])
def test_a_provider_who_says_otherwise_is_found(build):
    """Money that moved at the provider and not here, or the other way round."""
    truth = build()
    moved = tuple(replace(one, moved_minor=one.moved_minor + 1) for one in truth.movements)
    assert SUMS in broken(replace(truth, movements=moved))


def test_suspense_that_nothing_explains_is_found():
    """The trial balance shows more than the traces do."""
    truth = late(returned=False)
    more = tuple(
        replace(line, credit_minor=line.credit_minor + 1) if line.kind == "SUSPENSE" else line
        for line in truth.trial
    )
    assert PARKED in broken(replace(truth, trial=more))
