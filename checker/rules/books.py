"""The books: balanced, proved by themselves, and the same as what happened in every trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from checker.effects import (
    BALANCE,
    SECOND_CHARGE,
    actual,
    differences,
    expected,
    movements,
)
from checker.evidence import Balance, Evidence
from checker.trace import traces
from checker.verdict import Finding, Harm, Rule

PARKED = ("suspense", "duplicate")


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
        found = actual(trace)
        harm = _direction(wanted, found)
        for what in differences(wanted, found, rounding=failed):
            yield Finding(order.trace_no, what, harm)


def _direction(wanted: Mapping[str, int], found: Mapping[str, int]) -> Harm:
    """Return what a difference means: less than what happened is lost, more is doubled."""
    booked = sum(map(abs, found.values()))
    happened = sum(map(abs, wanted.values()))
    if booked == happened:
        return Harm.UNEXPLAINED
    return Harm.LOST if booked < happened else Harm.DUPLICATE


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


def _parked(evidence: Evidence) -> Iterator[Finding]:
    """What stands in suspense and as duplicates is exactly what nobody may keep yet."""
    known, wanted = movements(evidence), Counter[tuple[str, str]]()
    numbers = set()
    for order, trace in traces(evidence):
        if trace.is_open:
            return  # Whether it will be in doubt is not known yet.
        numbers |= {attempt.number for attempt in trace.attempts("PAY")}
        for account, amount in expected(order, trace, evidence, known).items():
            kind, _, currency = account.split(":")
            if kind in PARKED:
                wanted[kind, currency] -= amount
    for one in evidence.movements:  # Of other callers: what they asked for cannot be known.
        if one.kind == "charge" and one.number not in numbers and one.moved_minor:
            strange = one.moved_minor != one.amount_minor
            wanted["suspense", one.currency_code] += one.moved_minor * strange
        if one.kind == SECOND_CHARGE and one.of not in numbers:
            wanted["duplicate", one.currency_code] += one.moved_minor
    stands = {(kind, line.currency_code): line.credit_minor - line.debit_minor
              for kind in PARKED for line in _lines(evidence, kind.upper())}  # fmt: skip
    for kind, currency in sorted({*wanted, *stands}):
        if wanted[kind, currency] != stands.get((kind, currency), 0):
            yield Finding(
                f"{kind}::{currency}",
                f"stands at {stands.get((kind, currency), 0)}, in doubt are"
                f" {wanted[kind, currency]}",
            )


def _explained(evidence: Evidence) -> Iterator[Finding]:
    """Whatever is parked in a trace has cases that are not resolved and say so, and no other."""
    for order, trace in traces(evidence):
        cases = [one for one in trace.of("payment", "case") if one.state != "RESOLVED"]
        about_refunds = trace.of("payment", "refund") and any(
            not one.facts.get("parked_on") for one in cases
        )
        if trace.is_open or about_refunds:
            continue
        found = actual(trace)
        for kind in PARKED:
            said = Counter[str]()
            for case in cases:
                if case.facts.get("parked_on") == kind:
                    said[case.currency_code] += case.amount_minor
            stands = {name.rpartition(":")[2]: -amount for name, amount in found.items()
                      if name.startswith(f"{kind}:")}  # fmt: skip
            for currency in sorted({*said, *stands}):
                if said[currency] != stands.get(currency, 0):
                    yield Finding(
                        order.trace_no,
                        f"{kind} has {stands.get(currency, 0)} {currency} of it,"
                        f" its open cases say {said[currency]}",
                    )


def _lines(evidence: Evidence, kind: str) -> list[Balance]:
    return [line for line in evidence.trial if line.kind == kind]


RULES = (
    Rule(
        name="the trial balance is zero",
        unit="lines",
        count=lambda evidence: len(evidence.trial),
        check=_zero,
        harm=Harm.UNBALANCED,
    ),
    Rule(
        name="clearing[balance] is zero: what wallets paid is what was booked of it",
        unit="accounts",
        count=lambda evidence: sum(line.owner == BALANCE for line in evidence.trial),
        check=_wallets_cleared,
        harm=Harm.UNBALANCED,
    ),
    Rule(
        name="nothing stands in refund transit when no refund is open",
        unit="accounts",
        count=lambda evidence: len(_lines(evidence, "REFUND_TRANSIT")),
        check=_transit,
        must_see=False,
        harm=Harm.UNBALANCED,
    ),
    Rule(
        name="the journal proves itself: hash chain, replay, double entry, vouchers",
        unit="books",
        count=lambda _: 1,
        check=_proved,
        harm=Harm.UNBALANCED,
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
        harm=Harm.DUPLICATE,
    ),
    Rule(
        name="every wallet holds what came in less what went out",
        unit="wallets",
        count=lambda evidence: len(evidence.wallets),
        check=_wallets,
    ),
    Rule(
        name="suspense and duplicates are what nobody may keep yet, to the minor unit",
        unit="accounts",
        count=lambda evidence: sum(len(_lines(evidence, kind.upper())) for kind in PARKED),
        check=_parked,
        must_see=False,
    ),
    Rule(
        name="whatever is parked has an open case that says so",
        unit="cases",
        count=lambda evidence: sum(
            len(trace.of("payment", "case")) for _, trace in traces(evidence)
        ),
        check=_explained,
        must_see=False,
    ),
)
