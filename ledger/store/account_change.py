"""What persons did to accounts: doing it, once per request, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto

from ledger.store.account_view import limit_of
from mesh.db import Database, Row


class Verb(StrEnum):
    """What a person asked for."""

    BLOCK = "BLOCK"
    UNBLOCK = "UNBLOCK"
    CLOSE = "CLOSE"
    SET_LIMITS = "SET_LIMITS"


class Became(StrEnum):
    """What became of it."""

    DONE = auto()
    KNOWN = auto()  # Done before, under the same request id.
    REUSED = auto()  # The request id stands for something else.
    AGAIN = auto()  # Another one with the same request id is under way: ask once more.
    CLOSED = auto()
    NOT_EMPTY = auto()
    CROSSED = auto()
    BELOW_FLOOR = auto()
    ABOVE_CAP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is asked of an account.

    `mark` and `unmark` are bits of its status; a limit that is None stays as it is. Limits that
    the account does not keep now are refused unless `allow_breach`.
    """

    verb: Verb
    actor: str
    cause: str
    request_id: str
    fingerprint: bytes
    mark: int = 0
    unmark: int = 0
    floor_minor: int | None = None
    cap_minor: int | None = None
    allow_breach: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a change; unless it was known or reused, also how the account stands.

    Limits are as they would be after it, amounts as they are.
    """

    became: Became
    floor_minor: int = 0
    cap_minor: int = 0
    posted_minor: int = 0
    pending_in_minor: int = 0
    pending_out_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What persons may change of an account: bits of its status, limits (None: no limit)."""

    status: int
    floor_minor: int | None
    cap_minor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A line of an account's history."""

    change_id: int
    verb: str
    actor: str
    cause: str
    request_id: str
    before: Terms
    after: Terms
    create_time: datetime


async def change_account(db: Database, change: Change, *, book_id: int, account_id: int) -> Changed:
    """Carry out `change`, once, with a line of history; nothing is done unless DONE."""
    [row] = await db.rows(
        _CHANGE,
        book_id=book_id,
        account_id=account_id,
        verb=change.verb.value,
        actor=change.actor,
        cause=change.cause,
        request_id=change.request_id,
        fingerprint=change.fingerprint,
        mark=change.mark,
        unmark=change.unmark,
        floor=change.floor_minor,
        cap=change.cap_minor,
        breach=change.allow_breach,
    )
    return Changed(
        became=Became(row.o_outcome),
        floor_minor=row.o_floor or 0,
        cap_minor=row.o_cap or 0,
        posted_minor=row.o_posted or 0,
        pending_in_minor=row.o_in or 0,
        pending_out_minor=row.o_out or 0,
    )


async def list_changes(db: Database, *, account_id: int, limit: int) -> Sequence[Past]:
    """Return the newest changes of an account, the newest first."""
    return [_past(row) for row in await db.rows(_HISTORY, account_id=account_id, limit=limit)]


def _past(row: Row) -> Past:
    return Past(
        change_id=row.change_id,
        verb=row.verb,
        actor=row.actor,
        cause=row.cause,
        request_id=row.request_id,
        before=_terms(row.status_before, row.floor_before, row.cap_before),
        after=_terms(row.status_after, row.floor_after, row.cap_after),
        create_time=row.create_time,
    )


def _terms(status: int, floor: int, cap: int) -> Terms:
    return Terms(status=status, floor_minor=limit_of(floor), cap_minor=limit_of(cap))


# The function locks the book, updates the balance and inserts a line of history.
_CHANGE = """
SELECT o_outcome, o_floor, o_cap, o_posted, o_in, o_out FROM change_account(
    %(book_id)s::integer, %(account_id)s::bigint, %(verb)s::text, %(actor)s::text,
    %(cause)s::text, %(request_id)s::text, %(fingerprint)s::bytea, %(mark)s::integer,
    %(unmark)s::integer, %(floor)s::bigint, %(cap)s::bigint, %(breach)s::boolean)
"""

_HISTORY = """
SELECT change_id, verb, actor, cause, request_id, status_before, status_after, floor_before,
       floor_after, cap_before, cap_after, create_time
FROM account_change WHERE account_id = %(account_id)s
ORDER BY change_id DESC LIMIT %(limit)s
"""
