"""Scripted faults: what they match, how often, when, and to which share of the orders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim.clock import to_ms
from sim.faults import BEFORE, OPS, Fault, Op, magic

MILLION = 1_000_000

_MATCH = frozenset(
    {"acquirer", "op", "amount_minor", "number", "attach", "app", "share_ppm", "from", "to"}
)
_THEN = frozenset({"fault", "times", "after_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A request, for a rule to look at. A question has what is known of its order."""

    acquirer: str
    op: Op
    number: str
    amount_minor: int | None
    attach: str
    is_known: bool  # The number already stands for an order.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What befalls a request. `after_s` is for faults that wait; None: as long as usual."""

    fault: Fault
    after_s: int | None = None


@dataclass(slots=True, kw_only=True)
class Rule:
    """A scripted fault. None matches any; `times` counts down, None is for ever.

    One that strikes a share of the orders strikes each number once: who asks again gets
    through, where else the same orders would be struck for ever.
    """

    acquirer: str
    op: Op
    verdict: Verdict
    times: int | None
    amount_minor: int | None
    number: str | None
    attach: str | None
    app: str | None
    share_ppm: int
    from_ms: int | None
    to_ms: int | None
    seed: str  # Of its share: one rule's choice says nothing about another's.
    struck: set[str] = field(default_factory=set)

    def matches(self, subject: Subject, *, now_ms: int) -> bool:
        """Return whether the rule speaks of this request now."""
        return (
            (self.acquirer, self.op) == (subject.acquirer, subject.op)
            and self.amount_minor in (None, subject.amount_minor)
            and self.number in (None, subject.number)
            and self.attach in (None, subject.attach)
            and self.app in (None, subject.attach.partition("-")[0])
            and (self.from_ms is None or self.from_ms <= now_ms)
            and (self.to_ms is None or now_ms < self.to_ms)
            and subject.number not in self.struck
            and is_chosen(self.seed, subject.attach or subject.number, share_ppm=self.share_ppm)
        )

    def strike(self, subject: Subject) -> Verdict:
        """Be used up by this request, once."""
        if self.times is not None:
            self.times -= 1
        if self.share_ppm < MILLION:
            self.struck.add(subject.number)
        return self.verdict


class Rules:
    """Scripted faults in the order in which they came. They do not outlive the process."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed
        self._rules: list[Rule] = []
        self._made = 0
        self._struck: set[tuple[str, str]] = set()

    def add(self, match: Mapping[str, Any], then: Mapping[str, Any]) -> None:
        """Put a rule after those that are there. Raises KeyError, TypeError, ValueError."""
        if unknown := (match.keys() - _MATCH) | (then.keys() - _THEN):
            raise ValueError(f"unknown: {sorted(unknown)}")
        op, fault = Op(match["op"]), Fault(then["fault"])
        if op not in OPS[fault]:
            raise ValueError(f"{fault} cannot befall {op}")
        self._made += 1
        rule = Rule(
            acquirer=match["acquirer"],
            op=op,
            verdict=Verdict(fault, _count(then, "after_s", least=0)),
            times=None if then["times"] is None else _count(then, "times", least=1),
            amount_minor=_count(match, "amount_minor", least=1),
            number=match.get("number"),
            attach=match.get("attach"),
            app=match.get("app"),
            share_ppm=share_of(match),
            from_ms=to_ms(match["from"]) if "from" in match else None,
            to_ms=to_ms(match["to"]) if "to" in match else None,
            seed=f"{self.seed}/{self._made}",
        )
        self._rules.append(rule)

    def clear(self) -> None:
        """Forget every rule; rules made now choose as the first ones did."""
        self._rules.clear()
        self._made = 0

    def take(self, subject: Subject, *, now_ms: int) -> Verdict:
        """Return what befalls this request: the first rule's fault, else the amount's.

        A rule is used up by it. A known number is never hurt by its amount: the fault
        happened when the order was made, and asking again is how a caller gets over it. So
        it is with a number that was kept from us: sent again, it comes through.
        """
        for rule in self._rules:
            if rule.matches(subject, now_ms=now_ms):
                if rule.times == 1:
                    self._rules.remove(rule)
                return rule.strike(subject)
        if subject.is_known or not subject.op.is_creating or subject.amount_minor is None:
            return Verdict(Fault.NONE)
        fault = magic(subject.amount_minor)
        if fault in BEFORE:
            if (subject.acquirer, subject.number) in self._struck:
                return Verdict(Fault.NONE)
            self._struck.add((subject.acquirer, subject.number))
        return Verdict(fault if subject.op in OPS[fault] else Fault.NONE)


def is_chosen(seed: str, key: str, *, share_ppm: int) -> bool:
    """Return whether `key` is of the share. The same key is always answered alike."""
    drawn = hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(drawn[:8]) % MILLION < share_ppm


def share_of(match: Mapping[str, Any]) -> int:
    """Return the share that a match speaks of, everything unless it says. Raises ValueError."""
    share_ppm = _count(match, "share_ppm", least=0)
    if share_ppm is not None and share_ppm > MILLION:
        raise ValueError("share_ppm is at most a million")
    return MILLION if share_ppm is None else share_ppm


def _count(said: Mapping[str, Any], name: str, *, least: int) -> int | None:
    """Return a whole number that may be left out. Raises ValueError for anything else."""
    value = said.get(name)
    # `type`, because True is an int to isinstance.
    if value is not None and (type(value) is not int or value < least):
        raise ValueError(f"{name} must be a whole number of at least {least}")
    return value
