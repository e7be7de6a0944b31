"""The arithmetic of a run: rates, percentiles, costs for each payment. Nothing here measures."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_PARTITION = re.compile(r"_(\d{4}|\d{8}|default|late)$")


@dataclass(frozen=True, slots=True)
class Done:
    """One call that ended: when it began and ended, in seconds, and what it brought.

    `paid` payments were PAID; `errors` names what others got instead.
    """

    began: float
    ended: float
    paid: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counters at one moment. They only grow; the difference of two is what lay between.

    Rows written by table, statements and their rows by name.
    """

    commits: int
    wal_bytes: int
    rows: Mapping[str, int]
    statements: Mapping[str, int] = field(default_factory=dict)
    statement_rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What all processors have done so far, in microseconds. The host may have stolen some."""

    busy_us: int
    stolen_us: int
    all_us: int


def rate(done: Sequence[Done], *, begin: float, end: float) -> float:
    """Return payments a second of the calls that ended between `begin` and `end`."""
    return sum(one.paid for one in done if begin <= one.ended < end) / (end - begin)


def percentile_ms(done: Iterable[Done], share: float, *, begin: float, end: float) -> float:
    """Return the duration that `share` of the payments in the window did not exceed.

    By nearest rank; a call with many payments counts as many. 0 when there was none.
    """
    window = [one for one in done if begin <= one.ended < end and one.paid]
    window.sort(key=lambda one: one.ended - one.began)
    rank = math.ceil(share * sum(one.paid for one in window))
    for one in window:
        rank -= one.paid
        if rank <= 0:
            return (one.ended - one.began) * 1000
    return 0.0


def cpu_each(before: Mapping[str, int], after: Mapping[str, int], payments: int) -> dict[str, int]:
    """Return the microseconds of CPU that one payment took, by process and in `sum`."""
    assert payments > 0, "there is nothing to divide by"
    used = {name: round((cpu_us - before.get(name, 0)) / payments)
            for name, cpu_us in sorted(after.items())}  # fmt: skip
    return used | {"sum": sum(used.values())}


def others(before: Machine, after: Machine, ours_us: int) -> dict[str, float]:
    """Return what of the machine was not ours, in percent: other work here, and the host's."""
    whole = max(after.all_us - before.all_us, 1)
    busy = after.busy_us - before.busy_us
    return {
        "other_processes_percent": round(100 * max(busy - ours_us, 0) / whole, 1),
        "stolen_percent": round(100 * (after.stolen_us - before.stolen_us) / whole, 1),
    }


def each(before: Counts, after: Counts, payments: int, *, idle_commits: int) -> dict[str, object]:
    """Return what one payment wrote between two moments."""
    assert payments > 0, "there is nothing to divide by"
    statements = _gained(before.statements, after.statements)
    rows = _gained(before.statement_rows, after.statement_rows)
    commits = after.commits - before.commits - idle_commits
    return {
        "commits_per_payment": round(commits / payments, 3),
        "statements_per_payment": round(statements.total() / payments, 3),
        "rows_per_statement": {
            name: round(rows[name] / count, 1) for name, count in sorted(statements.items())
        },
        "wal_bytes_per_payment": round((after.wal_bytes - before.wal_bytes) / payments),
        "rows_per_payment": {
            table: round(count / payments, 2)
            for table, count in sorted(_gained(before.rows, after.rows).items())
            if count * 100 >= payments  # The rest is housekeeping.
        },
    }


def whole_table(name: str) -> str:
    """Return the table that a partition belongs to, or the name as it is."""
    return _PARTITION.sub("", name)


def errors(done: Iterable[Done]) -> dict[str, int]:
    """Return how often each error was seen."""
    return dict(sorted(Counter(name for one in done for name in one.errors).items()))


def _gained(before: Mapping[str, int], after: Mapping[str, int]) -> Counter[str]:
    gained = {name: count - before.get(name, 0) for name, count in after.items()}
    return Counter({name: count for name, count in gained.items() if count})
