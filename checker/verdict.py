"""A rule, what it finds, and how that reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from checker.evidence import Evidence

SHOWN_MAX = 10  # Of each rule; a broken consumer breaks every trace in the same way.


class Harm(StrEnum):
    """What it means to a caller that something does not hold."""

    LOST = auto()  # What was acknowledged lacks its one final outcome, or an effect of it.
    DUPLICATE = auto()  # One accepted request had more than one effect.
    UNBALANCED = auto()  # Books that do not balance.
    UNEXPLAINED = auto()  # Anything else that should not be.


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold. `place` is a trace number, an account or the like.

    `harm` is said where it is not what breaking the rule means in general.
    """

    place: str
    what: str
    harm: Harm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One promise: how it reads, how many things it looks at, and what contradicts it.

    A rule that `must_see` something fails when there is nothing: silence proves nothing.
    `harm` is what it means in general when the rule is broken.
    """

    name: str
    unit: str
    count: Callable[[Evidence], int]
    check: Callable[[Evidence], Iterator[Finding]]
    must_see: bool = True
    harm: Harm = Harm.UNEXPLAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one rule."""

    rule: str
    unit: str
    seen: int
    findings: Sequence[Finding]
    harm: Harm = Harm.UNEXPLAINED

    def harms(self) -> list[Harm]:
        """Return what each finding means to a caller."""
        return [finding.harm or self.harm for finding in self.findings]

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the rule."""
        return not self.findings

    def lines(self) -> list[str]:
        """Return a PASS or FAIL line, and what was found."""
        head = f"{'PASS' if self.holds else 'FAIL'}  {self.rule} ({self.seen} {self.unit})"
        found = [f"      {one.place}: {one.what}" for one in self.findings[:SHOWN_MAX]]
        if len(self.findings) > SHOWN_MAX:
            found.append(f"      and {len(self.findings) - SHOWN_MAX} more")
        return [head, *found]


def judge(rules: Sequence[Rule], evidence: Evidence) -> list[Verdict]:
    """Return the verdict on every rule, in order."""
    return [_judge(rule, evidence) for rule in rules]


def _judge(rule: Rule, evidence: Evidence) -> Verdict:
    seen, findings = 0, list[Finding]()
    try:
        seen = rule.count(evidence)
        findings += rule.check(evidence)
    except (KeyError, ValueError) as error:  # A fact is missing or makes no sense.
        findings.append(Finding("-", f"the evidence cannot be read: {error!r}"))
    if not seen and rule.must_see:
        findings.append(Finding("-", f"there were no {rule.unit} to look at"))
    return Verdict(rule=rule.name, unit=rule.unit, seen=seen, findings=findings, harm=rule.harm)
