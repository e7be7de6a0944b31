"""What the verbs that look back share: going on behind the border, in the files of closed days.

The border moves while they look, a day at a time, and what is behind it may leave the database.
So each of them reads where the border was together with what is in front of it, and reads again
when it has moved in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from ledger.desk import Desk
from ledger.history.files import HistoryError
from ledger.history.read import PLACES, FiledDay, FiledEntry
from ledger.model import refuse
from ledger.store import filed
from ledger.store.holds_view import Origin
from ledger.store.statement import Line, hidden_flags, lines_of_filed
from mesh.batch import NotExecuted
from mesh.clock import EPOCH
from mesh.context import remaining
from tongbao.ledger.v1 import reasons_pb2 as reasons

# The time in an id is the caller's, up to five minutes ahead; in ids of vouchers it is that of
# the business time zone.
_ID_AHEAD = timedelta(days=1)
_ID_DAYS_AT_ONCE = 4  # Most ids are booked on the day they say.
_DAYS_AT_ONCE = 16  # Files that one look opens.
_DAYS_MAX = 64  # For one page, when nothing says which days have anything.


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Entries of an account behind the place `after` and up to `upto`, all of them in files."""

    book_id: int
    account_id: int
    after: int
    upto: int
    oldest_first: bool
    include_holds: bool


@contextmanager
def telling_what_is_missing() -> Iterator[None]:
    """Turn HistoryError into Refused(HISTORY_MISSING)."""
    try:
        yield
    except HistoryError as error:
        day = error.path.parent
        file = f"{day.parent.name}/{day.name}/{error.path.name}"
        raise refuse(reasons.REASON_HISTORY_MISSING, file=file, problem=error.why) from error


async def filed_lines(desk: Desk, stretch: Stretch, *, most: int) -> tuple[Sequence[Line], int]:
    """Return up to `most` entries of a stretch, and where it goes on: the place of the next one
    or, the oldest first, of one before it; 0 at its end.

    There may be fewer entries and still more to come. Raises Refused(HISTORY_MISSING).
    """
    with telling_what_is_missing():
        entries, days, left = await _entries(desk, stretch, most=most + 1)
        lines = await _lines(desk, stretch.account_id, entries[:most], days)
    if len(entries) > most:
        left = entries[most - 1].seq if stretch.oldest_first else entries[most].seq
    return lines, left


async def last_filed_move(
    desk: Desk, *, account_id: int, day: FiledDay, upto: int
) -> FiledEntry | None:
    """Return the newest entry of that day up to a place which moved the account's balance.

    Raises Refused(HISTORY_MISSING).
    """
    with telling_what_is_missing():
        found = await desk.history.entries(
            account_id=account_id,
            days=[day],
            after_seq=0,
            upto_seq=upto,
            oldest_first=False,
            limit=1,
            hidden_flags=hidden_flags(include_holds=False),
        )
    return found[0] if found else None


async def find_filed(
    desk: Desk, *, book_id: int, ids: Collection[UUID]
) -> tuple[Sequence[FiledEntry], Sequence[FiledDay]]:
    """Return those of the entries that are in files, and days that have all of them.

    Looks into the files of every day since the time that the oldest id says, and no further than
    it has to. Raises NotExecuted at the deadline, Refused(HISTORY_MISSING).
    """
    moment = EPOCH + timedelta(milliseconds=min(ids).int >> 80) - _ID_AHEAD
    days = await filed.days_since(desk.db, book_id=book_id, moment=moment)
    left = set(ids)
    entries: list[FiledEntry] = []
    for start in range(0, len(days), _ID_DAYS_AT_ONCE):
        seconds = remaining()
        if seconds is not None and seconds <= 0:
            raise NotExecuted(f"{start} of {len(days)} days were looked at within the deadline")
        with telling_what_is_missing():
            some = days[start : start + _ID_DAYS_AT_ONCE]
            more = await desk.history.find(days=some, ids=list(left))
        entries += more
        left -= {one.id for one in more}
        if not left:
            break
    return entries, days


async def filed_origins(
    desk: Desk, ids: Sequence[UUID], *, book_id: int, account_id: int
) -> Mapping[UUID, Origin]:
    """Return when these entries of an account, which are in files, were booked, and what for.

    Raises Refused(HISTORY_MISSING).
    """
    entries, days = await find_filed(desk, book_id=book_id, ids=ids)
    with telling_what_is_missing():
        lines = await _lines(desk, account_id, entries, days)
    return {
        line.id: Origin(
            template=line.template,
            source_no=line.source_no,
            trace_no=line.trace_no,
            acct_date=line.acct_date,
            create_time=line.create_time,
        )
        for line in lines
    }


async def _entries(
    desk: Desk, stretch: Stretch, *, most: int
) -> tuple[list[FiledEntry], list[FiledDay], int]:
    """Return up to `most` entries, the days that were looked at, and the place where to go on."""
    entries: list[FiledEntry] = []
    seen: list[FiledDay] = []
    after, upto = stretch.after, stretch.upto
    # An account that never had a hold has nothing but what `account_day` counts.
    moved = not stretch.include_holds
    moved = moved or not await filed.ever_held(desk.db, account_id=stretch.account_id)
    while len(entries) < most and after < upto:
        if not moved and len(seen) >= _DAYS_MAX:
            return entries, seen, after if stretch.oldest_first else upto
        days = await _days(desk, stretch, after, upto, moved=moved, entries=most - len(entries))
        if not days:
            break
        seen += days
        entries += await desk.history.entries(
            account_id=stretch.account_id,
            days=days,
            after_seq=after,
            upto_seq=upto,
            oldest_first=stretch.oldest_first,
            limit=most - len(entries),
            hidden_flags=hidden_flags(stretch.include_holds),
        )
        if stretch.oldest_first:
            after = (days[-1].last_block + 1) * PLACES - 1
        else:
            upto = days[-1].first_block * PLACES - 1
    return entries, seen, 0


async def _days(
    desk: Desk, stretch: Stretch, after: int, upto: int, *, moved: bool, entries: int
) -> Sequence[FiledDay]:
    """Return the next days to look at."""
    first_block, last_block = (after + 1) // PLACES, upto // PLACES
    if not moved:
        return await filed.days_of(
            desk.db,
            book_id=stretch.book_id,
            first_block=first_block,
            last_block=last_block,
            newest_first=not stretch.oldest_first,
            most=_DAYS_AT_ONCE,
        )
    return await filed.days_of_account(
        desk.db,
        book_id=stretch.book_id,
        account_id=stretch.account_id,
        first_block=first_block,
        last_block=last_block,
        newest_first=not stretch.oldest_first,
        entries=entries,
        most=_DAYS_AT_ONCE,
    )


async def _lines(
    desk: Desk, account_id: int, entries: Sequence[FiledEntry], days: Sequence[FiledDay]
) -> Sequence[Line]:
    """Return the entries as the account sees them."""
    having = [
        day
        for day in days
        if any(day.first_block <= one.block_no <= day.last_block for one in entries)
    ]
    txns = {one.txn for one in entries if one.txn}
    vouchers = await desk.history.vouchers(days=having, txns=list(txns))
    return await lines_of_filed(
        desk.db,
        account_id=account_id,
        entries=entries,
        vouchers={one.txn: one for one in vouchers},
    )
