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
            if payment.state == "SUCCEEDED" and attempt.state == "SUCCEEDED":
                _paid(books, call, attempt, evidence)
            elif moved := moved_by(attempt, known):
                _suspended(books, attempt, moved)
    given = 0
    for refund in trace.of("payment", "refund"):
        if refund.state == "SUCCEEDED":
            for attempt in trace.attempts("REFUND", refund.number):
                if attempt.state == "SUCCEEDED":
                    share = _share(call, refund.amount_minor, given, evidence)
                    given += refund.amount_minor
                    _refunded(books, call, attempt, share)
    return Counter({account: amount for account, amount in books.items() if amount})


def actual(trace: Trace) -> Counter[str]:
    """Return what every account has moved by, from the entries of the trace."""
    books: Counter[str] = Counter()
    for entry in trace.of("ledger", "entry"):
        books[entry.facts["debit"]] += entry.amount_minor
        books[entry.facts["credit"]] -= entry.amount_minor
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


def _suspended(books: Counter[str], attempt: Entry, moved: int) -> None:
    """Money that moved and cannot be the merchant's stands in suspense, without a cost."""
    channel, currency = attempt.facts.get("channel_code", ""), attempt.currency_code
    books[f"clearing:{channel}:{currency}"] += moved
    books[f"suspense::{currency}"] -= moved


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
