"""The books: balanced, proved by themselves, and the same as what happened in every trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from checker.effects import BALANCE, actual, differences, expected, moved_by, movements
from checker.evidence import Balance, Evidence
from checker.trace import traces
from checker.verdict import Finding, Rule


def _zero(evidence: Evidence) -> Iterator[Finding]:
    sums: Counter[str] = Counter()
    for line in evidence.trial:
        sums[line.currency_code] += line.debit_minor - line.credit_minor
    for currency, gap in sums.items():
        if gap:
            yield Finding(currency, f"debits exceed credits by {gap}")


def _wallets_cleared(evidence: Evidence) -> Iterator[Finding]:
    for line in _lines(evidence, "CLEARING"):
        if line.owner == BALANCE and line.debit_minor != line.credit_minor:
            gap = line.debit_minor - line.credit_minor
            yield Finding(f"clearing:{BALANCE}:{line.currency_code}", f"stands at {gap}")


def _transit(evidence: Evidence) -> Iterator[Finding]:
    """What is on its way back is exactly the refunds that have not ended."""
    if any(trace.is_open for _, trace in traces(evidence)):
        return  # Its refund is on its way, and rightly so.
    for line in _lines(evidence, "REFUND_TRANSIT"):
        if line.debit_minor != line.credit_minor:
            gap = line.credit_minor - line.debit_minor
            yield Finding(f"refund_transit::{line.currency_code}", f"stands at {gap}")


def _proved(evidence: Evidence) -> Iterator[Finding]:
    for found in evidence.proof:
        yield Finding("book", found)


def _effects(evidence: Evidence) -> Iterator[Finding]:
    known = movements(evidence)
    for order, trace in traces(evidence):
        if trace.is_open:
            continue  # Money may be half-way; the rule about timers looks at these.
        if order.first.merchant_id and order.first.merchant_id not in evidence.terms:
            yield Finding(order.trace_no, f"merchant {order.first.merchant_id} is unknown")
            continue
        failed = sum(1 for one in trace.of("payment", "refund") if one.state == "FAILED")
        wanted = expected(order, trace, evidence, known)
        for what in differences(wanted, actual(trace), rounding=failed):
            yield Finding(order.trace_no, what)


def _once(evidence: Evidence) -> Iterator[Finding]:
    """A business event is booked once, and as a whole."""
    for order, trace in traces(evidence):
        vouchers = trace.of("ledger", "voucher")
        times = Counter((one.facts["template"], one.facts["source_no"]) for one in vouchers)
        for (template, source_no), number in times.items():
            if number > 1:
                yield Finding(order.trace_no, f"{template} of {source_no} is booked {number} times")
        numbers = {one.number for one in vouchers}
        for entry in trace.of("ledger", "entry"):
            if entry.facts["voucher"] not in numbers:
                yield Finding(order.trace_no, f"entry {entry.number} belongs to no voucher")


def _wallets(evidence: Evidence) -> Iterator[Finding]:
    """A wallet of the demo holds what came in, less what was spent, and what was given back."""
    wanted: Counter[str] = Counter()
    known = movements(evidence)
    for order, trace in traces(evidence):
        if trace.is_open:
            return  # Which wallet it will touch is not known yet.
        for account, amount in expected(order, trace, evidence, known).items():
            if account.startswith("wallet:"):
                wanted[account] -= amount
    for wallet in evidence.wallets:
        account = f"wallet:{wallet.owner}:{wallet.currency_code}"
        balance = wallet.credit_minor - wallet.debit_minor
        if balance != wanted[account]:
            yield Finding(account, f"holds {balance}, and should hold {wanted[account]}")


def _suspense(evidence: Evidence) -> Iterator[Finding]:
    """What stands in suspense is exactly what moved for payments under review."""
    known, doubted = movements(evidence), Counter[str]()
    numbers = set()
    for _, trace in traces(evidence):
        won = {one.number for one in trace.payments if one.state == "SUCCEEDED"}
        for attempt in trace.attempts("PAY"):
            numbers.add(attempt.number)
            if attempt.facts["leg_no"][:-2] not in won or attempt.state != "SUCCEEDED":
                doubted[attempt.currency_code] += moved_by(attempt, known)
    for one in evidence.movements:  # Of other callers: what they asked for cannot be known.
        if one.kind == "charge" and one.number not in numbers and one.moved_minor:
            doubted[one.currency_code] += one.moved_minor * (one.moved_minor != one.amount_minor)
    stands = {line.currency_code: line.credit_minor - line.debit_minor
              for line in _lines(evidence, "SUSPENSE")}  # fmt: skip
    for currency in sorted({*doubted, *stands}):
        if doubted[currency] != stands.get(currency, 0):
            yield Finding(
                f"suspense::{currency}",
                f"stands at {stands.get(currency, 0)}, in doubt are {doubted[currency]}",
            )


def _lines(evidence: Evidence, kind: str) -> list[Balance]:
    return [line for line in evidence.trial if line.kind == kind]


RULES = (
    Rule(
        name="the trial balance is zero",
        unit="lines",
        count=lambda evidence: len(evidence.trial),
        check=_zero,
    ),
    Rule(
        name="clearing[balance] is zero: what wallets paid is what was booked of it",
        unit="accounts",
        count=lambda evidence: sum(line.owner == BALANCE for line in evidence.trial),
        check=_wallets_cleared,
    ),
    Rule(
        name="nothing stands in refund transit when no refund is open",
        unit="accounts",
        count=lambda evidence: len(_lines(evidence, "REFUND_TRANSIT")),
        check=_transit,
        must_see=False,
    ),
    Rule(
        name="the journal proves itself: hash chain, replay, double entry, vouchers",
        unit="books",
        count=lambda _: 1,
        check=_proved,
    ),
    Rule(
        name="ledger = what happened, account by account, in every trace",
        unit="traces",
        count=lambda evidence: sum(not trace.is_open for _, trace in traces(evidence)),
        check=_effects,
    ),
    Rule(
        name="every business event is booked once",
        unit="vouchers",
        count=lambda evidence: sum(
            len(trace.of("ledger", "voucher")) for _, trace in traces(evidence)
        ),
        check=_once,
    ),
    Rule(
        name="every wallet holds what came in less what went out",
        unit="wallets",
        count=lambda evidence: len(evidence.wallets),
        check=_wallets,
    ),
    Rule(
        name="suspense is what moved for payments under review, to the minor unit",
        unit="accounts",
        count=lambda evidence: len(_lines(evidence, "SUSPENSE")),
        check=_suspense,
        must_see=False,
    ),
)
