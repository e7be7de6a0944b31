"""What was seen while everything went wrong: rules for runs whose whole history is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from checker.effects import movements
from checker.evidence import MAYBE, Entry, Evidence, Movement, Sight
from checker.trace import Trace, traces
from checker.verdict import Finding, Harm, Rule

# A final state is left only to be reviewed, and from there by what a person or a rule decides.
_AFTER: Mapping[str, frozenset[str]] = {
    "PAID": frozenset({"PAID", "COMPLETED", "REVIEW"}),
    "COMPLETED": frozenset({"COMPLETED", "REVIEW"}),
    "CLOSED": frozenset({"CLOSED", "REVIEW"}),
    "SUCCEEDED": frozenset({"SUCCEEDED", "REVIEW"}),
    "FAILED": frozenset({"FAILED", "REVIEW"}),
}
_REFUSED_ANYWAY = "NOT_EXECUTED"


def _forward(evidence: Evidence) -> Iterator[Finding]:
    """Whoever asks after an answer has come must not be told what was before it."""
    by_number: dict[str, list[Sight]] = {}
    for sight in evidence.sights:
        by_number.setdefault(sight.number, []).append(sight)
    for number, sights in by_number.items():
        trace_no = sights[0].trace_no
        decided = Trace(trace_no, evidence.traces.get(trace_no, ())).is_decided
        for what in _went_back(sights, decided=decided):
            yield Finding(trace_no, f"{number} {what}")


def _went_back(sights: Sequence[Sight], *, decided: bool) -> Iterator[str]:
    """Where a case was decided, a review that nobody saw may have changed the end."""
    told = sorted(sights, key=lambda one: one.told_ns)
    place, newest = 0, None
    for sight in sorted(sights, key=lambda one: one.asked_ns):
        while place < len(told) and told[place].told_ns < sight.asked_ns:
            if newest is None or told[place].version >= newest.version:
                newest = told[place]
            place += 1
        if newest is None:
            continue
        if sight.version < newest.version:
            yield (f"was seen {newest.state} in version {newest.version}, "
                   f"then {sight.state} in version {sight.version}")  # fmt: skip
        elif not decided and sight.state not in _AFTER.get(newest.state, {sight.state}):
            yield f"was {newest.state} for good, and then {sight.state}"


def _always_zero(evidence: Evidence) -> Iterator[Finding]:
    for shot in evidence.snapshots:
        for currency, gap in shot.gap_minor.items():
            if gap:
                yield Finding(currency, f"at {shot.told_ns} debits exceeded credits by {gap}")


def _kept_out(evidence: Evidence) -> Iterator[Finding]:
    for one in evidence.intrusions:
        out = one.reason in (one.expected, _REFUSED_ANYWAY) or one.code in ("", *MAYBE)
        if not out:
            what = f"{one.what} was answered {one.code} {one.reason}, not {one.expected}"
            yield Finding(one.verb, what)


def _no_bugs(evidence: Evidence) -> Iterator[Finding]:
    for call in evidence.calls:
        if call.answer is not None and call.answer.reason == "INTERNAL":
            yield Finding(call.trace_no, f"{call.verb} {call.number} was answered INTERNAL")


def _ours(evidence: Evidence) -> Iterator[Finding]:
    attempts = {
        (one.facts.get("channel_code", ""), one.number)
        for _, trace in traces(evidence)
        for one in trace.of("channel", "attempt")
    }
    for movement in evidence.movements:
        if (movement.acquirer, movement.number) not in attempts:
            yield Finding(
                movement.acquirer,
                f"knows {movement.kind} {movement.number} of {movement.moved_minor}, "
                "which is nobody's attempt",
            )


def _moved(trace: Trace, about: str, known: Mapping[tuple[str, str], Movement]) -> list[Movement]:
    """Return what moved at providers for a payment, a refund or a single attempt."""
    found = (
        known.get((one.facts.get("channel_code", ""), one.number))
        for one in trace.of("channel", "attempt")
        if one.number == about or one.facts.get("leg_no", "").startswith(about)
    )
    return [one for one in found if one is not None and one.moved_minor]


# What must have happened at the providers for a case to be opened.
_CAUSES: Mapping[str, Callable[[Sequence[Movement]], bool]] = {
    "AMOUNT_MISMATCH": lambda moved: any(one.moved_minor != one.amount_minor for one in moved),
    "DUPLICATE_SUCCESS": bool,
    "LATE_SUCCESS": bool,
}


def _explained(evidence: Evidence) -> Iterator[Finding]:
    known = movements(evidence)
    for order, trace in traces(evidence):
        for case in trace.of("payment", "case"):
            moved = _moved(trace, case.facts.get("about", ""), known)
            cause = _CAUSES.get(case.facts.get("kind", ""))
            if cause is None or not cause(moved):
                sums = ", ".join(f"{one.moved_minor} of {one.amount_minor}" for one in moved)
                what = f"case {_named(case)}, and at providers moved: {sums or 'nothing'}"
                yield Finding(order.trace_no, what)


def _named(case: Entry) -> str:
    return f"{case.facts.get('kind', '')} about {case.facts.get('about', '')}"


RULES = (
    Rule(
        name="what an app sees of a trade or refund never goes back",
        unit="sights",
        count=lambda evidence: len(evidence.sights),
        check=_forward,
    ),
    Rule(
        name="the trial balance is zero whenever somebody looks",
        unit="looks",
        count=lambda evidence: len(evidence.snapshots),
        check=_always_zero,
        harm=Harm.UNBALANCED,
    ),
    Rule(
        name="nobody gets at what is not theirs, and no old token opens a door",
        unit="intrusions",
        count=lambda evidence: len(evidence.intrusions),
        check=_kept_out,
    ),
    Rule(
        name="no answer is a bug of ours",
        unit="answers",
        count=lambda evidence: sum(call.answer is not None for call in evidence.calls),
        check=_no_bugs,
    ),
    Rule(
        name="every order at a provider is an attempt of ours",
        unit="orders at the provider",
        count=lambda evidence: len(evidence.movements),
        check=_ours,
    ),
    Rule(
        name="every case has its cause at a provider",
        unit="cases",
        count=lambda evidence: sum(
            len(trace.of("payment", "case")) for _, trace in traces(evidence)
        ),
        check=_explained,
        must_see=False,
    ),
)
