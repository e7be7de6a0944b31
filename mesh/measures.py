"""What the tables say, as gauges for Prometheus: measured every few seconds, not per call.

Every replica of a service reports the same, so take `max` over them, never `sum`. A measure
that cannot be taken disappears until it can: an alert on its absence is honest, an old value
would not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.clock import Clock, monotonic
from mesh.db import Database
from mesh.numbers import Kind, first_at
from mesh.standing import Standing, standing_of

RECENT = timedelta(minutes=10)
# A measure rests this many times as long as it took. What counts the rows of ten minutes reads
# each row as often as it is taken meanwhile: at a thousand payments a second, and every ten
# seconds, that was a third of the database's work.
_REST = 100
_LOOK_SECONDS = 1.0
_STANDING_SECONDS = 5.0

log = structlog.get_logger()

Samples = Sequence[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A gauge: `sql` returns its `labels` by name, and `value`.

    With `recent`, `%(recent)s` is the least number of that kind of the last ten minutes: an
    order number begins with its time, so recent orders are one range of the key. Taken every
    `seconds`, and more rarely where it takes long, so that it costs one percent of a processor
    at most however many rows there are.
    """

    name: str
    help: str
    sql: str
    labels: tuple[str, ...] = ()
    recent: Kind | None = None
    seconds: float = 10.0


_STANDING = {
    "tongbao_outbox_backlog": ("Events that wait to be published.", ()),
    "tongbao_outbox_age_seconds": ("For how long the oldest of them has waited.", ()),
    "tongbao_dead_letters": ("Events that were set aside and nobody has dealt with.", ()),
    "tongbao_due_rows": ("Rows whose time has come.", ("table",)),
    "tongbao_due_late_seconds": ("By how much the first of them is late.", ("table",)),
}


class Measures(Collector):
    """The latest values of all measures of one service."""

    def __init__(self, db: Database, clock: Clock, measures: Sequence[Measure]) -> None:
        self._db, self._clock, self._measures = db, clock, measures
        self._values: dict[str, Samples] = {}
        self._next: dict[str, float] = {}

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: what there is, is known when it was measured."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what was measured last."""
        known = _STANDING | {one.name: (one.help, one.labels) for one in self._measures}
        for name, samples in list(self._values.items()):
            text, labels = known[name]
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, value in samples:
                family.add_metric(values, value)
            yield family

    async def keep_up(self) -> None:
        """Measure, each at its own pace, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Take the measures that are due."""
        if self._is_due("standing", _STANDING_SECONDS):
            await self._take_standing()
        for one in self._measures:
            if self._is_due(one.name, one.seconds):
                began = monotonic()
                await self._take(one)
                rest = max(one.seconds, (monotonic() - began) * _REST)
                self._next[one.name] = monotonic() + rest

    def _is_due(self, name: str, seconds: float) -> bool:
        due = monotonic() >= self._next.get(name, 0.0)
        if due:
            self._next[name] = monotonic() + seconds
        return due

    async def _take(self, one: Measure) -> None:
        params: dict[str, object] = {}
        if one.recent is not None:
            params["recent"] = first_at(one.recent, self._clock.local() - RECENT)
        try:
            rows = await self._db.rows(one.sql, **params)
        except (NotExecuted, Unknown, Undone, Rejected) as error:
            self._values.pop(one.name, None)
            log.warning("not_measured", measure=one.name, problem=str(error))
        else:
            self._values[one.name] = [
                (tuple(str(getattr(row, label)) for label in one.labels), row.value) for row in rows
            ]

    async def _take_standing(self) -> None:
        try:
            self._values |= _samples(await standing_of(self._db))
        except (NotExecuted, Unknown, Undone, Rejected) as error:
            for name in _STANDING:
                self._values.pop(name, None)
            log.warning("not_measured", measure="standing", problem=str(error))


def _samples(standing: Standing) -> Mapping[str, Samples]:
    return {
        "tongbao_outbox_backlog": [((), standing.outbox_rows)],
        "tongbao_outbox_age_seconds": [((), standing.outbox_seconds)],
        "tongbao_dead_letters": [((), standing.dead_letters)],
        "tongbao_due_rows": [((one.table,), one.rows) for one in standing.late],
        "tongbao_due_late_seconds": [((one.table,), one.seconds) for one in standing.late],
    }
