"""State machines as tables: the code, the database and the docs read the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Illegal(Exception):
    """The machine has no row for this move. Carries (machine, state, event)."""


class Machine(Generic[S, E]):
    """A finite table of moves. `rows` holds (from, event, to); a missing row is a refusal."""

    def __init__(self, name: str, initial: S, rows: Iterable[tuple[S, E, S]]) -> None:
        self.name, self.initial, self.rows = name, initial, tuple(rows)
        self._moves = {(source, event): target for source, event, target in self.rows}
        assert len(self._moves) == len(self.rows), f"{name}: two rows for one (state, event)"
        self.final = frozenset(type(initial)) - {source for source, _, _ in self.rows}

    def next(self, state: S, event: E) -> S:
        """Return the state after `event`, or raise Illegal."""
        try:
            return self._moves[state, event]
        except KeyError:
            raise Illegal(self.name, state, event) from None

    def allows(self, state: S, event: E) -> bool:
        """Return whether `event` may happen in `state`."""
        return (state, event) in self._moves

    def mermaid(self) -> str:
        """Return the table as a Mermaid state diagram, for docs/."""
        head = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        body = [f"    {source} --> {target}: {event}" for source, event, target in self.rows]
        tail = [f"    {state} --> [*]" for state in sorted(self.final)]
        return "\n".join(head + body + tail)

    def sql_guard(self, table: str, column: str = "state") -> str:
        """Return DDL of a trigger that lets `table` make only the moves in this table."""
        moves = sorted({(source, target) for source, _, target in self.rows})
        pairs = ", ".join(f"('{source}', '{target}')" for source, target in moves)
        return (
            f"CREATE FUNCTION {table}_moves() RETURNS trigger LANGUAGE plpgsql AS $$\n"
            f"BEGIN\n"
            f"  IF (OLD.{column}, NEW.{column}) NOT IN ({pairs}) THEN\n"
            f"    RAISE EXCEPTION '{table}: illegal move % -> %', OLD.{column}, NEW.{column};\n"
            f"  END IF;\n"
            f"  RETURN NEW;\n"
            f"END $$;\n"
            f"CREATE TRIGGER {table}_moves BEFORE UPDATE ON {table}\n"
            f"  FOR EACH ROW WHEN (OLD.{column} IS DISTINCT FROM NEW.{column})\n"
            f"  EXECUTE FUNCTION {table}_moves();\n"
        )
