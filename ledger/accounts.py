"""What never changes, kept in the process: which book, and which id an account's name has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ledger.model import Account, refuse
from ledger.store import account as store
from ledger.store import book as books
from mesh.db import Database
from tongbao.ledger.v1 import reasons_pb2 as reasons

NAMES_MAX = 200_000  # About 40 MB; then the one kept for longest is forgotten.


class Accounts:
    """Books and accounts by name. What is not there is asked for again every time."""

    def __init__(self, db: Database, *, names_max: int = NAMES_MAX) -> None:
        self._db, self._names_max = db, names_max
        self._lines: dict[str, int] = {}
        self._asking = asyncio.Lock()
        self._ids: dict[tuple[int, str], int] = {}

    async def book_of(self, business_code: str) -> int:
        """Return the book a business line is kept in, for who only looks at it.

        Remembered only if the line stays there: it may be assigned a book later.
        Raises Refused(BOOK_UNKNOWN).
        """
        book_id = self._lines.get(business_code)
        if book_id is None:
            book_id = await store.find_book(self._db, business_code)
        if book_id is None:
            raise refuse(reasons.REASON_BOOK_UNKNOWN, business_code=business_code)
        return book_id

    async def line(self, business_code: str) -> int:
        """Return the book a business line is kept in, and from now on stays in.

        Whoever opens or books for a line asks this, before it waits for the book. The first
        answer is written down, so that another process cannot come to another one: of one event
        in two books neither would know the other's. Raises Refused(BOOK_UNKNOWN).
        """
        if business_code in self._lines:
            return self._lines[business_code]
        async with self._asking:  # Of many that come at once, one asks.
            if business_code not in self._lines:
                book_id = await books.keep_line(self._db, business_code)
                if book_id is None:
                    raise refuse(reasons.REASON_BOOK_UNKNOWN, business_code=business_code)
                self._lines[business_code] = book_id
        return self._lines[business_code]

    async def ids(self, book_id: int, names: Sequence[str]) -> list[int | None]:
        """Return the ids of accounts in a book, in order; None for those not open."""
        ids = [self._ids.get((book_id, name)) for name in names]
        unseen = [place for place, known in enumerate(ids) if known is None]
        if unseen:
            found = await asyncio.gather(*(self._learn(book_id, names[place]) for place in unseen))
            for place, account_id in zip(unseen, found, strict=True):
                ids[place] = account_id
        return ids

    async def open(self, book_id: int, account: Account) -> None:
        """Open the account unless it is known to be open."""
        if (book_id, account.name) in self._ids:
            return
        account_id = await store.open_account(self._db, account, book_id=book_id)
        if account_id is None:
            account_id = await self._learn(book_id, account.name)
            assert account_id is not None, f"{account.name} is neither new nor old"
        else:
            self._keep(book_id, account.name, account_id)

    async def _learn(self, book_id: int, name: str) -> int | None:
        found = await store.find_account(self._db, book_id=book_id, name=name)
        if found is None:
            return None
        self._keep(book_id, name, found.account_id)
        return found.account_id

    def _keep(self, book_id: int, name: str, account_id: int) -> None:
        if len(self._ids) >= self._names_max:
            del self._ids[next(iter(self._ids))]
        self._ids[book_id, name] = account_id
