"""Accounts with what is on them, one by one, by owner, and in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.model import Account, AccountKind
from mesh.db import Database, Row
from mesh.lists import Listing, Page, Wanted, list_rows

# Where the database keeps "no limit".
FLOOR_NONE, CAP_NONE = -4_000_000_000_000_000_000, 4_000_000_000_000_000_000

# Bits of the status.
DEBIT_BLOCKED, CREDIT_BLOCKED, CLOSED = 1, 2, 4

_COLUMNS = (
    "account_id",
    "book_id",
    "kind",
    "owner",
    "currency_code",
    "create_time",
    "normal",
    "status",
    "debit",
    "credit",
    "debit_pending",
    "credit_pending",
    "floor",
    "cap",
    "last_seq",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM account_view"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How a caller names an account: by its id, or by what it is called in a book.

    The book is that of `business_code`; if it is empty, that of the wallet's owner.
    """

    account_id: int = 0
    account: Account | None = None
    business_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account as of one moment; amounts in minor units, balances in its normal direction.

    `status` has the bits DEBIT_BLOCKED, CREDIT_BLOCKED and CLOSED. No limit is None.
    """

    account_id: int
    book_id: int
    account: Account
    normal: int
    status: int
    debit_minor: int
    credit_minor: int
    pending_in_minor: int
    pending_out_minor: int
    floor_minor: int | None
    cap_minor: int | None
    last_seq: int
    create_time: datetime

    @property
    def posted_minor(self) -> int:
        """Return the booked balance."""
        return self.normal * (self.credit_minor - self.debit_minor)

    @property
    def available_minor(self) -> int:
        """Return what is booked and not held 可用余额."""
        return self.posted_minor - self.pending_out_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which accounts are listed. What is empty does not narrow.

    `statuses` are values of the status; `marked` says that 0 is not one of them.
    """

    kind: str = ""
    owner: str = ""
    currency_code: str = ""
    statuses: Sequence[int] = ()
    marked: bool = False


async def find_view(
    db: Database, *, account_id: int = 0, book_id: int = 0, name: str = ""
) -> AccountView | None:
    """Return the account of that id, or of that name in its book; None when there is none."""
    if account_id:
        rows = await db.rows(_BY_ID, account_id=account_id)
    else:
        rows = await db.rows(_BY_NAME, book_id=book_id, name=name)
    return view_of(rows[0]) if rows else None


async def list_views(db: Database, *, wish: Wish, page: Page) -> tuple[Sequence[AccountView], str]:
    """Return a page of accounts, the newest first, and the token of the next one."""
    along: Mapping[str, object] = {"owner": wish.owner, "kind": wish.kind}
    picks = {"currency_code": wish.currency_code, "status": tuple(wish.statuses)}
    listing = _MARKED if wish.marked else _ALL
    rows, token = await list_rows(db, listing, Wanted(along=along, picks=picks), page)
    return [view_of(row) for row in rows], token


async def views_of_owner(
    db: Database, *, owner: str, kinds: Sequence[AccountKind], currency_code: str
) -> Sequence[AccountView]:
    """Return the owner's accounts of these kinds, in one currency or all; one snapshot.

    Sorted by currency, kind and book.
    """
    rows = await db.rows(
        _OF_OWNER, owner=owner, kinds=[kind.value for kind in kinds], currency_code=currency_code
    )
    return [view_of(row) for row in rows]


def view_of(row: Row) -> AccountView:
    """Return the record of a row of the view."""
    pending_out, pending_in = row.debit_pending, row.credit_pending
    if row.normal < 0:
        pending_out, pending_in = pending_in, pending_out
    return AccountView(
        account_id=row.account_id,
        book_id=row.book_id,
        account=Account(AccountKind(row.kind), row.owner, row.currency_code),
        normal=row.normal,
        status=row.status,
        debit_minor=row.debit,
        credit_minor=row.credit,
        pending_in_minor=pending_in,
        pending_out_minor=pending_out,
        floor_minor=limit_of(row.floor),
        cap_minor=limit_of(row.cap),
        last_seq=row.last_seq,
        create_time=row.create_time,
    )


def limit_of(stored: int) -> int | None:
    """Return a limit as it is stored; None for no limit."""
    return None if stored in (FLOOR_NONE, CAP_NONE) else stored


_ALL = Listing(table="account_view", key="account_id", columns=_COLUMNS, key_of=int)
_MARKED = Listing(table="account_marked", key="account_id", columns=_COLUMNS, key_of=int)

_BY_ID = f"{_SELECT} WHERE account_id = %(account_id)s"

_BY_NAME = f"""
{_SELECT} WHERE account_id = (
    SELECT a.account_id FROM account a WHERE (a.book_id, a.name) = (%(book_id)s, %(name)s))
"""

# An index leaves out who has no owner, so the statement says that it asks for none of them.
_OF_OWNER = f"""
{_SELECT}
WHERE owner = %(owner)s AND owner <> '' AND kind = ANY (%(kinds)s::text[])
  AND (%(currency_code)s::text = '' OR currency_code = %(currency_code)s::text)
ORDER BY currency_code, kind, book_id
"""
