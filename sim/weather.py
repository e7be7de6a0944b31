"""What befalls every request of one acquirer: outages at announced hours, hangs, slowness."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from sim.faults import Op


class Mode(StrEnum):
    """What an acquirer does in an outage."""

    REFUSE = "refuse"  # It does not listen, and open connections are cut.
    HANG = "hang"  # It takes requests, does nothing and says nothing.
    ERROR = "error"  # It answers SYSTEM_ERROR and does nothing.


@dataclass(frozen=True, slots=True)
class Outage:
    """A window of virtual time, its end excluded."""

    mode: Mode
    from_ms: int
    to_ms: int

    def covers(self, now_ms: int) -> bool:
        """Return whether it lasts at this moment."""
        return self.from_ms <= now_ms < self.to_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long replies take, in real milliseconds: lognormal around its median, cut at `max_ms`.

    `sigma` is of the logarithm: 0 makes every reply take the median.
    """

    median_ms: int
    sigma: float
    max_ms: int
    ops: frozenset[Op]
    seed: str

    def draw_ms(self, op: Op, number: str, nth: int) -> int:
        """Return how long the reply to the nth request of this kind and number takes."""
        if op not in self.ops or not self.median_ms:
            return 0
        chance = random.Random(f"{self.seed}/{op}/{number}/{nth}")  # noqa: S311
        drawn = chance.lognormvariate(math.log(self.median_ms), self.sigma)
        return min(int(drawn), self.max_ms)


@dataclass(slots=True)
class Weather:
    """What the requests of one acquirer go through. It does not outlive the process."""

    is_hanging: bool = False
    is_out: bool = False  # By hand; `outages` say when it is so by plan.
    outages: list[Outage] = field(default_factory=list)
    latency: Latency | None = None
    _seen: dict[tuple[Op, str], int] = field(default_factory=dict)

    def modes(self, now_ms: int) -> set[Mode]:
        """Return what lasts at this moment."""
        lasting = {outage.mode for outage in self.outages if outage.covers(now_ms)}
        by_hand = ((Mode.HANG, self.is_hanging), (Mode.REFUSE, self.is_out))
        return lasting | {mode for mode, on in by_hand if on}

    def latency_ms(self, op: Op, number: str) -> int:
        """Return how long the reply to this request takes; the next one may take longer."""
        if self.latency is None:
            return 0
        nth = self._seen.get((op, number), 0)
        self._seen[op, number] = nth + 1
        return self.latency.draw_ms(op, number, nth)

    def become(self, latency: Latency | None) -> None:
        """Have this latency from now on; the same seed draws the same again."""
        self.latency = latency
        self._seen.clear()

    def clear(self) -> None:
        """Be fine, for good."""
        self.is_hanging = self.is_out = False
        self.outages.clear()
        self.become(None)


def outage_edges(outages: Iterable[Outage]) -> set[int]:
    """Return the moments at which something changes for whoever listens."""
    return {edge for one in outages for edge in (one.from_ms, one.to_ms)}
