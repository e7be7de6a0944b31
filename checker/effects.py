"""What the books must say of one trace, worked out from what happened and not from the books.

Accounts by name as the ledger spells them; amounts as debits, credits negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from checker.evidence import Call, Entry, Evidence, Movement
from checker.money import fee, fee_returned, rate
from checker.trace import Order, Trace

BALANCE = "balance"
SECOND_CHARGE = "second_charge"

Movements = Mapping[tuple[str, str], Movement]


def movements(evidence: Evidence) -> Movements:
    """Return what the provider knows by acquirer and number."""
    return {(one.acquirer, one.number): one for one in evidence.movements}


def expected(order: Order, trace: Trace, evidence: Evidence, known: Movements) -> Counter[str]:
    """Return what every account must have moved by; accounts that did not move are left out."""
    books: Counter[str] = Counter()
    call = order.first
    for payment in trace.payments:
        for attempt in trace.attempts("PAY", payment.number):
            if trace.is_winner(attempt, payment):
                _paid(books, call, attempt, evidence)
            elif movement := known.get((attempt.facts.get("channel_code", ""), attempt.number)):
                _parked(books, movement, where=_place(payment))
            for again in evidence.movements:
                if (again.kind, again.of) == (SECOND_CHARGE, attempt.number):
                    _parked(books, again, where="duplicate")
    for back in trace.of("payment", "give_back"):
        _given_back(books, back)
    given = 0
    for refund in trace.of("payment", "refund"):
        share = _share(call, refund.amount_minor, given, evidence)
        for attempt in trace.attempts("REFUND", refund.number)[-1:]:
            if refund.state == "SUCCEEDED":
                given += refund.amount_minor
                _refunded(books, call, attempt, share)
            elif refund.state == "REVIEW":
                _doubted(books, call, refund, attempt, share, moved_by(attempt, known))
    return Counter({account: amount for account, amount in books.items() if amount})


def actual(trace: Trace) -> Counter[str]:
    """Return what every account has moved by, from the entries of the trace.

    What somebody owes us stands against what we owe them: which of the two it is depends on
    what else they had when a success was taken back.
    """
    books: Counter[str] = Counter()
    for entry in trace.of("ledger", "entry"):
        books[_standing(entry.facts["debit"])] += entry.amount_minor
        books[_standing(entry.facts["credit"])] -= entry.amount_minor
    return Counter({account: amount for account, amount in books.items() if amount})


def differences(
    wanted: Mapping[str, int], found: Mapping[str, int], *, rounding: int = 0
) -> Iterator[str]:
    """Yield where the books differ. `rounding` minor units may lie between fee and merchant."""
    gaps = {
        account: found.get(account, 0) - wanted.get(account, 0)
        for account in sorted({*wanted, *found})
    }
    gaps = {account: gap for account, gap in gaps.items() if gap}
    soft = all(account.startswith(("fee_income:", "merchant_pending:")) for account in gaps)
    if soft and not sum(gaps.values()) and all(abs(gap) <= rounding for gap in gaps.values()):
        return
    for account in gaps:
        yield f"{account} moved by {found.get(account, 0)}, not by {wanted.get(account, 0)}"


def moved_by(attempt: Entry, known: Movements) -> int:
    """Return what the provider moved for an attempt; 0 when it knows nothing of it."""
    movement = known.get((attempt.facts.get("channel_code", ""), attempt.number))
    return movement.moved_minor if movement else 0


def _paid(books: Counter[str], call: Call, attempt: Entry, evidence: Evidence) -> None:
    channel, amount = attempt.facts.get("channel_code", ""), attempt.amount_minor
    name = _namer(call)
    cost = rate(amount, evidence.cost_ppm.get(channel, 0))
    if channel == BALANCE:
        books[name("wallet", f"{call.app}/{call.user_no}")] += amount
        books[name("clearing", BALANCE)] -= amount
    books[name("clearing", channel)] += amount - cost
    books[name("channel_cost")] += cost
    if call.trade_type == "RECHARGE":
        books[name("wallet", f"{call.app}/{call.user_no}")] -= amount
        return
    income = fee(amount, evidence.terms[call.merchant_id])
    books[name("merchant_pending", call.merchant_id)] -= amount - income
    books[name("fee_income")] -= income


def _standing(account: str) -> str:
    """Return the account of whoever owes us, as it is called when we owe them."""
    kind, _, rest = account.partition(":")
    if kind != "receivable":
        return account
    return f"{'wallet' if '/' in rest else 'merchant_pending'}:{rest}"


def _place(payment: Entry) -> str:
    """Return where money of a payment stands that is not the payment's own."""
    second = payment.facts.get("review_kind") == "DUPLICATE_SUCCESS"
    return "duplicate" if second or payment.state == "SUCCEEDED" else "suspense"


def _parked(books: Counter[str], movement: Movement, *, where: str) -> None:
    """Money that moved and cannot be the merchant's is parked, without a cost."""
    books[f"clearing:{movement.acquirer}:{movement.currency_code}"] += movement.moved_minor
    books[f"{where}::{movement.currency_code}"] -= movement.moved_minor


def _given_back(books: Counter[str], back: Entry) -> None:
    """Parked money that reached its payer, and what came back of that."""
    place = f"{back.facts['source']}::{back.currency_code}"
    clearing = f"clearing:{back.facts['channel_code']}:{back.currency_code}"
    kind = back.facts.get("failure_reason", "")
    if back.state == "SUCCEEDED" or (back.state, kind) == ("REVIEW", "LATE_SUCCESS"):
        books[place] += back.amount_minor
        books[clearing] -= back.amount_minor
    elif (back.state, kind) == ("REVIEW", "CHANNEL_REVERSED"):
        books[place] += back.amount_minor
        books[f"suspense::{back.currency_code}"] -= back.amount_minor


def _doubted(
    books: Counter[str], call: Call, refund: Entry, attempt: Entry, share: int, moved: int
) -> None:
    """A refund under review: what the merchant gave for it, and what the channel did with that."""
    channel, name = attempt.facts.get("channel_code", ""), _namer(call)
    kind = refund.facts.get("review_kind", "")
    if kind != "LATE_SUCCESS":
        books[name("merchant_pending", call.merchant_id)] += refund.amount_minor - share
        books[name("fee_income")] += share
    if kind == "CHANNEL_REVERSED":
        books[name("suspense")] -= refund.amount_minor
        return
    if kind == "AMOUNT_MISMATCH":
        books[name("refund_transit")] -= refund.amount_minor
    books[name("suspense")] += moved
    books[name("clearing", channel)] -= moved


def _refunded(books: Counter[str], call: Call, attempt: Entry, share: int) -> None:
    channel, amount = attempt.facts.get("channel_code", ""), attempt.amount_minor
    name = _namer(call)
    books[name("merchant_pending", call.merchant_id)] += amount - share
    books[name("fee_income")] += share
    books[name("clearing", channel)] -= amount
    if channel == BALANCE:
        books[name("clearing", BALANCE)] += amount
        books[name("wallet", f"{call.app}/{call.user_no}")] -= amount


def _share(call: Call, amount: int, given: int, evidence: Evidence) -> int:
    """Return what of the fee goes back with `amount`, after `given` went back before."""
    terms, whole = evidence.terms[call.merchant_id], call.amount_minor
    return fee_returned(whole, given + amount, terms) - fee_returned(whole, given, terms)


def _namer(call: Call) -> Callable[..., str]:
    """Return what names accounts in the currency of `call`."""

    def name(kind: str, owner: str = "") -> str:
        return f"{kind}:{owner}:{call.currency_code}"

    return name
