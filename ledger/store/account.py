"""Books and accounts: which there are, opening them, what is on them."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.model import NATURES, Account
from mesh.db import Database, Statement

FLOOR_NONE = -4_000_000_000_000_000_000  # As the column's default.


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An account's id in its book, and its posted balance in its normal direction."""

    account_id: int
    balance_minor: int


async def find_book(db: Database, business_code: str) -> int | None:
    """Return the book a business line is kept in; None when there is none."""
    return await db.ask(_FIND_BOOK, _BusinessLine(business_code=business_code))


async def find_account(db: Database, *, book_id: int, name: str) -> Opened | None:
    """Return the account of that name; None when it was never opened."""
    return await db.ask(_FIND_ACCOUNT, _Named(book_id=book_id, name=name))


async def open_account(db: Database, account: Account, *, book_id: int) -> int | None:
    """Open the account unless it is there; return its id.

    None when somebody else opened it at this very moment: then it can be found.
    """
    nature = NATURES[account.kind]
    new = _NewAccount(
        book_id=book_id,
        kind=account.kind,
        owner=account.owner,
        currency_code=account.currency_code,
        name=account.name,
        normal=nature.normal,
        floor=0 if nature.floored else FLOOR_NONE,
    )
    return await db.ask(_OPEN_ACCOUNT, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BusinessLine:
    business_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    book_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _NewAccount:
    book_id: int
    kind: str
    owner: str
    currency_code: str
    name: str
    normal: int
    floor: int


_FIND_BOOK: Statement[_BusinessLine, int | None] = Statement(
    name="find_book",
    columns={"business_code": "text"},
    result=lambda row: row.book_id,
    sql="""
    WITH i AS ({input})
    SELECT i.ord, coalesce(own.book_id, rest.book_id) AS book_id
    FROM i
    LEFT JOIN book_of own ON own.business_code = i.business_code
    LEFT JOIN book_of rest ON rest.business_code = ''
    """,
)

_FIND_ACCOUNT: Statement[_Named, Opened | None] = Statement(
    name="find_account",
    columns={"book_id": "integer", "name": "text"},
    result=lambda row: (
        Opened(account_id=row.account_id, balance_minor=row.balance_minor)
        if row.account_id
        else None
    ),
    sql="""
    WITH i AS ({input})
    SELECT i.ord, a.account_id, b.normal * (b.credit - b.debit) AS balance_minor
    FROM i
    LEFT JOIN account a ON (a.book_id, a.name) = (i.book_id, i.name)
    LEFT JOIN balance b ON (b.book_id, b.account_id) = (a.book_id, a.account_id)
    """,
)

# Many open the same system accounts at the same moment, so there are no keys: one batch may
# name an account more than once, and opens it once. Names are taken in order, so that two
# replicas cannot deadlock. Who waited for a name that another replica took is told nothing.
_OPEN_ACCOUNT: Statement[_NewAccount, int | None] = Statement(
    name="open_account",
    columns={
        "book_id": "integer",
        "kind": "text",
        "owner": "text",
        "currency_code": "text",
        "name": "text",
        "normal": "smallint",
        "floor": "bigint",
    },
    result=lambda row: row.account_id,
    sql="""
    WITH i AS ({input}),
    new AS (
        INSERT INTO account (book_id, kind, owner, currency_code)
        SELECT book_id, kind, owner, currency_code FROM i ORDER BY book_id, name
        ON CONFLICT DO NOTHING RETURNING account_id, book_id, name
    ),
    zero AS (
        INSERT INTO balance (account_id, book_id, normal, floor, currency_code)
        SELECT DISTINCT ON (new.account_id)
               new.account_id, new.book_id, i.normal, i.floor, i.currency_code
        FROM new JOIN i USING (book_id, name)
    )
    SELECT i.ord, coalesce(new.account_id, a.account_id) AS account_id
    FROM i
    LEFT JOIN new USING (book_id, name)
    LEFT JOIN account a ON (a.book_id, a.name) = (i.book_id, i.name)
    """,
)
