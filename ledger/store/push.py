"""Vouchers on their way into the general ledger: where each is, and saying so once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum, auto

from mesh.db import Database, Row


class PushState(StrEnum):
    """Where a voucher is on its way. Mirrors `PushState` in the contract."""

    PENDING = auto()
    PUSHED = auto()
    ACCEPTED = auto()
    REJECTED = auto()


class Became(StrEnum):
    """What became of a request."""

    DONE = auto()
    KNOWN = auto()  # Done before, under the same request id.
    REUSED = auto()  # The request id stands for something else.
    MISSING = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherKey:
    """Which voucher: what a template booked on a day in a currency."""

    book_id: int
    acct_date: date
    template_code: int
    currency_code: str

    def __str__(self) -> str:
        """Return what the general ledger knows it by."""
        day = f"{self.acct_date:%Y%m%d}"
        return f"{self.book_id}-{day}-{self.template_code}-{self.currency_code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Where a voucher is, how often it was pushed, and who said so last and when."""

    key: VoucherKey
    state: PushState
    pushes: int
    voucher_no: str
    cause: str
    actor: str
    update_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said of vouchers, by whom, under which number of their own."""

    state: PushState
    voucher_no: str
    cause: str
    again: bool
    actor: str
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of it; for MISSING and REFUSED which voucher (from 0), and its state."""

    became: Became
    place: int = 0
    state: str = ""


async def record_pushes(db: Database, keys: Sequence[VoucherKey], told: Told) -> Recorded:
    """Write down what is said of all of `keys`, or of none, once per actor and request id."""
    [row] = await db.rows(
        _RECORD,
        books=[key.book_id for key in keys],
        dates=[key.acct_date for key in keys],
        codes=[key.template_code for key in keys],
        currencies=[key.currency_code for key in keys],
        state=told.state.value,
        voucher_no=told.voucher_no,
        cause=told.cause,
        again=told.again,
        actor=told.actor,
        request_id=told.request_id,
        fingerprint=told.fingerprint,
    )
    return Recorded(
        became=Became(row.o_outcome), place=(row.o_place or 1) - 1, state=row.o_state or ""
    )


async def pushes_of(db: Database, keys: Sequence[VoucherKey]) -> Sequence[Push]:
    """Return where vouchers are, in the order of `keys`; none of them may be missing."""
    rows = await db.rows(
        _OF_KEYS,
        books=[key.book_id for key in keys],
        dates=[key.acct_date for key in keys],
        codes=[key.template_code for key in keys],
        currencies=[key.currency_code for key in keys],
    )
    assert len(rows) == len(keys), f"{len(rows)} of {len(keys)} vouchers are there"
    return [_push(row) for row in rows]


async def pushes_of_day(db: Database, *, book_id: int, acct_date: date) -> Sequence[Push]:
    """Return where all vouchers of a closed day are."""
    return [_push(row) for row in await db.rows(_OF_DAY, book_id=book_id, acct_date=acct_date)]


async def page_of_pushes(
    db: Database, *, book_id: int, states: Sequence[PushState], after: VoucherKey | None, size: int
) -> Sequence[Push]:
    """Return up to `size` vouchers behind `after`, the newest day first."""
    rows = await db.rows(
        _PAGE,
        book_id=book_id,
        states=[state.value for state in states] or None,
        acct_date=after.acct_date if after else None,
        code=after.template_code if after else 0,
        currency_code=after.currency_code if after else "",
        size=size,
    )
    return [_push(row) for row in rows]


def _push(row: Row) -> Push:
    return Push(
        key=VoucherKey(
            book_id=row.book_id,
            acct_date=row.acct_date,
            template_code=row.template_code,
            currency_code=row.currency_code,
        ),
        state=PushState(row.state),
        pushes=row.pushes,
        voucher_no=row.voucher_no,
        cause=row.cause,
        actor=row.actor,
        update_time=row.create_time,
    )


_RECORD = """
SELECT o_outcome, o_place, o_state FROM record_pushes(
    %(books)s::integer[], %(dates)s::date[], %(codes)s::smallint[], %(currencies)s::text[],
    %(state)s::text, %(voucher_no)s::text, %(cause)s::text, %(again)s::boolean,
    %(actor)s::text, %(request_id)s::text, %(fingerprint)s::bytea)
"""

_FIELDS = """
s.book_id, s.acct_date, s.template_code, s.currency_code, s.state, s.pushes, s.voucher_no,
s.cause, s.actor, s.create_time
"""

_OF_KEYS = f"""
SELECT {_FIELDS}
FROM unnest(%(books)s::integer[], %(dates)s::date[], %(codes)s::smallint[],
            %(currencies)s::text[]) WITH ORDINALITY
     AS i (book_id, acct_date, template_code, currency_code, place)
JOIN voucher_state s USING (book_id, acct_date, template_code, currency_code)
ORDER BY i.place
"""

_OF_DAY = f"""
SELECT {_FIELDS} FROM voucher_state s
WHERE book_id = %(book_id)s AND acct_date = %(acct_date)s
"""

_PAGE = f"""
SELECT {_FIELDS} FROM voucher_state s
WHERE book_id = %(book_id)s
  AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s::text[]))
  AND (%(acct_date)s::date IS NULL OR acct_date < %(acct_date)s::date
       OR acct_date = %(acct_date)s::date
          AND (template_code, currency_code COLLATE "C") > (%(code)s, %(currency_code)s))
ORDER BY acct_date DESC, template_code, currency_code COLLATE "C" LIMIT %(size)s
"""
