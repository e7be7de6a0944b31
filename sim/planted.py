"""Differences planted into bills: what is asked for, what was done, and where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from sim.bill_file import Line, LineType, written
from sim.clock import start_of
from sim.rules import is_chosen

_NOON_MS = 12 * 3600 * 1000


class Difference(StrEnum):
    """How a bill differs from what happened."""

    MISSING = "missing"
    EXTRA = "extra"  # A line about nothing.
    OTHER_AMOUNT = "other_amount"
    OTHER_FEE = "other_fee"
    OTHER_STATE = "other_state"
    DUPLICATE = "duplicate"
    CROSS_DAY = "cross_day"  # It stands in the bill of the next day.


BY_MINOR = {Difference.EXTRA: 100, Difference.OTHER_AMOUNT: 100, Difference.OTHER_FEE: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One difference to plant into one bill. None matches any line.

    It is planted into the first `times` lines that match, None: into all of them. `by_minor` is
    how much more an amount or a fee becomes, or the amount of a line about nothing.
    """

    acquirer: str
    day: date
    difference: Difference
    times: int | None
    by_minor: int
    share_ppm: int
    number: str | None
    attach: str | None
    app: str | None
    type: LineType | None
    seed: str

    def matches(self, line: Line) -> bool:
        """Return whether it speaks of this line."""
        return (
            self.difference is not Difference.EXTRA
            and self.number in (None, line.order_no)
            and self.attach in (None, line.attach)
            and self.app in (None, line.attach.partition("-")[0])
            and self.type in (None, line.type)
            and is_chosen(self.seed, line.attach or line.order_no, share_ppm=self.share_ppm)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What was done: the line as it is in truth and as the bill has it; None: there is none."""

    acquirer: str
    day: date
    difference: Difference
    truth: Line | None
    bill: Line | None

    def row(self) -> dict[str, Any]:
        """Return it for a list of what is planted."""
        line = self.truth or self.bill
        assert line is not None, "a difference is of something"
        other = self.difference is Difference.CROSS_DAY
        return {
            "acquirer": self.acquirer,
            "bill_date": self.day.isoformat(),
            "other_bill_date": (self.day + timedelta(days=1)).isoformat() if other else None,
            "difference": self.difference,
            "type": line.type,
            "number": line.order_no,
            "provider_no": line.provider_no,
            "truth": written(self.truth) if self.truth else None,
            "bill": written(self.bill) if self.bill else None,
        }


def plant(
    lines: Sequence[Line], plans: Sequence[Plan], *, acquirer: str, day: date
) -> list[tuple[Line, Planted | None]]:
    """Return every true line, and every line about nothing, with what was planted there.

    A line has one difference at most: the first plan's that matches and is not used up.
    """
    left = {place: plan.times for place, plan in enumerate(plans)}
    done: list[tuple[Line, Planted | None]] = []
    for line in lines:
        chosen = None
        for place, plan in enumerate(plans):
            if left[place] != 0 and plan.matches(line):
                left[place] = None if plan.times is None else (left[place] or 0) - 1
                chosen = plan
                break
        done.append((line, _differing(line, chosen) if chosen else None))
    for place, plan in enumerate(plans):
        if plan.difference is Difference.EXTRA:
            for nth in range(plan.times or 1):
                ghost = _ghost(plan, f"{place}/{nth}")
                found = Planted(
                    acquirer=acquirer, day=day, difference=plan.difference, truth=None, bill=ghost
                )
                done.append((ghost, found))
    return done


def billed(placed: Sequence[tuple[Line, Planted | None]]) -> Iterator[Line]:
    """Yield the lines that the bill of the day itself has."""
    for line, planted in placed:
        if planted is None:
            yield line
        elif planted.bill is not None and planted.difference is not Difference.CROSS_DAY:
            yield planted.bill
            if planted.difference is Difference.DUPLICATE:
                yield planted.bill


def _differing(line: Line, plan: Plan) -> Planted:
    bill: Line | None = line
    match plan.difference:
        case Difference.MISSING:
            bill = None
        case Difference.OTHER_AMOUNT:
            bill = replace(line, amount_minor=line.amount_minor + plan.by_minor)
        case Difference.OTHER_FEE:
            bill = replace(line, fee_minor=line.fee_minor + plan.by_minor)
        case Difference.OTHER_STATE:
            bill = replace(line, state="PROCESSING")
        case Difference.CROSS_DAY:
            bill = replace(line, time_ms=start_of(plan.day + timedelta(days=1)))
    return Planted(
        acquirer=plan.acquirer, day=plan.day, difference=plan.difference, truth=line, bill=bill
    )


def _ghost(plan: Plan, place: str) -> Line:
    drawn = hashlib.sha256(f"{plan.seed}/{place}".encode()).hexdigest().upper()
    return Line(
        time_ms=start_of(plan.day) + _NOON_MS,
        type=plan.type or LineType.PAYMENT,
        provider_no=f"{plan.acquirer}-{int(drawn[:8], 16):012d}",
        order_no=f"{plan.day:%Y%m%d}AT{drawn[8:24]}",
        original_order_no="",
        state="SUCCEEDED",
        currency="CNY",
        amount_minor=plan.by_minor,
        fee_minor=0,
        attach="",
    )
