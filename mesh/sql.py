"""SQL that every store would write again: the outbox in a statement, the guarded move.

The texts are composed of our own constants only; values travel as parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum, auto


class Outcome(StrEnum):
    """What became of one input that carries a number of the caller's own."""

    DONE = auto()  # First seen, and carried out.
    REPLAY = auto()  # Seen before with the same content; nothing was done.
    REUSED = auto()  # Seen before with other content; nothing was done.
    RACE = auto()  # Nothing was done, and the statement cannot see whether a twin did it.


def told(source: str, *, event: str = "event") -> str:
    """Return the CTE that publishes what `source` wrote: one outbox row per statement.

    `source` is the CTE of rows that were written, with `ord`; inputs whose `event` is
    empty publish nothing.
    """
    return f"""told AS (
        INSERT INTO outbox (events)
        SELECT string_agg(i.{event}, '' ORDER BY i.ord) FROM i JOIN {source} USING (ord)
        WHERE length(i.{event}) > 0 HAVING count(*) > 0
    )"""


def outcome(*, won: str, key: str) -> str:
    """Return the CASE that says what became of an input.

    `won` is not null when the input won its key in this statement; `key` is the alias of
    the key's row as it was before. A statement cannot see a row that was committed while
    it waited for that row's key, hence `race`: neither won nor seen.
    """
    return f"""CASE WHEN {won} IS NOT NULL THEN '{Outcome.DONE}'
                WHEN {key}.fingerprint IS NULL THEN '{Outcome.RACE}'
                WHEN {key}.fingerprint = i.fingerprint THEN '{Outcome.REPLAY}'
                ELSE '{Outcome.REUSED}' END AS outcome"""


def move(
    table: str, key: str, *, sets: Sequence[str], extra: Mapping[str, str] | None = None
) -> str:
    """Return the statement that moves rows of `table` from the version the caller saw.

    Inputs carry `key`, `app_id`, `version` (the one seen), `sets` (new values) and `event`.
    `update_time` becomes now, unless it is among `sets` because what is told carries it.
    `held` locks the rows in the order of their keys, so that two replicas cannot deadlock,
    and sees them as they are now; only the row still at that version is changed, and only
    then the event goes out. `extra` are further CTEs by name, written when `moved` is.
    Answers `moved`: false when somebody changed the row first, or the app has no such row.
    """
    assigned = ", ".join(f"{column} = i.{column}" for column in sets)
    if "update_time" not in sets:
        assigned += ", update_time = business_now()"
    more = "".join(f"{name} AS ({body}),\n" for name, body in (extra or {}).items())
    return f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord FROM i JOIN {table} t ON (t.{key}, t.app_id) = (i.{key}, i.app_id)
        WHERE t.version = i.version ORDER BY t.{key} FOR NO KEY UPDATE OF t
    ),
    moved AS (
        UPDATE {table} t
        SET {assigned}, version = i.version + 1
        FROM i JOIN held USING (ord) WHERE t.{key} = i.{key} RETURNING i.ord
    ),
    {more}{told("moved")}
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """
