"""Pages of a table, the newest first: the one way to list (decisions.md 27).

A page goes on behind the last row of the one before (keyset), so whatever is written meanwhile
neither repeats a row nor skips one. Its token is opaque and says for whom and for which filters
it was given. However rare what is looked for, one page looks at `SCAN_MAX` rows at most; it may
then be short, or empty, and still lead on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, DateTime, Select, column, literal_column, select, table
from sqlalchemy.dialects.postgresql import psycopg

from mesh.context import acting
from mesh.db import Database, Row
from mesh.errors import refuse
from mesh.wire import fingerprint
from tongbao.common.v1 import reasons_pb2 as reasons

SIZE = 50  # Of a page whose size is left open.
SCAN_MAX = 10_000
_SCOPE_BYTES = 9  # A multiple of three: the rest of the token is the position's own.
_POSITION = re.compile(rb"[0-9A-Za-z_]{1,64}")
_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How many rows are wanted, behind which one (empty: from the newest), and for what."""

    size: int
    after: str
    scope: bytes

    @classmethod
    def of(cls, request: Message) -> Page:
        """Return the page that `request` asks for by `page_size` and `page_token`.

        Raises Refused(PAGE_TOKEN_INVALID) when the token is not ours, or not of this caller and
        these filters.
        """
        asked: Any = request
        filters = fingerprint(request, without=("page_size", "page_token"))
        asker = f"{acting().caller} {request.DESCRIPTOR.full_name} ".encode()
        scope = hashlib.sha256(asker + filters).digest()[:_SCOPE_BYTES]
        after = _position(asked.page_token, scope) if asked.page_token else ""
        return cls(size=asked.page_size or SIZE, after=after, scope=scope)

    def token(self, position: str) -> str:
        """Return the token of the page behind the row at `position`; empty for none."""
        if not position:
            return ""
        return base64.urlsafe_b64encode(self.scope + position.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table that is listed by `key`, a unique column that sorts by time."""

    table: str
    key: str
    columns: Sequence[str]
    key_of: Callable[[str], object] = str  # From a position to a value of the key.


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows. `along` are columns of an index that ends with the key: the scan is narrowed
    to their values. `picks` are looked at row by row: equal, or one of a sequence. `low` and
    `high` bound the key, `since` and `until` the column `create_time`; both ends exclude the
    second. Empty values and None ask for nothing.
    """

    along: Mapping[str, object]
    picks: Mapping[str, object] = field(default_factory=dict)
    low: str = ""
    high: str = ""
    since: datetime | None = None
    until: datetime | None = None


async def list_rows(
    db: Database, listing: Listing, wanted: Wanted, page: Page
) -> tuple[list[Row], str]:
    """Return the rows of the page and the token of the next one, empty after the last."""
    scan, picks = _scan(listing, wanted, page), _picks(wanted)
    inner = scan.limit(_literal(SCAN_MAX)).subquery("scanned")
    found = select(*(inner.c[name] for name in listing.columns))
    found = found.where(*picks).order_by(inner.c[listing.key].desc())
    rows = await _run(db, found.limit(_literal(page.size + 1)))
    if len(rows) > page.size:
        rows = rows[: page.size]
        return rows, page.token(str(getattr(rows[-1], listing.key)))
    if not picks:
        return rows, ""
    last: Select[Any] = scan.with_only_columns(scan.selected_columns[listing.key])
    last = last.offset(_literal(SCAN_MAX - 1))
    more = await _run(db, last.limit(_literal(1)))
    return rows, page.token(str(getattr(more[0], listing.key)) if more else "")


def _scan(listing: Listing, wanted: Wanted, page: Page) -> Select[Any]:
    """Return the rows that one index leads through, the newest first."""
    source = table(listing.table, *(column(name) for name in listing.columns))
    key = source.c[listing.key]
    conditions: list[ColumnElement[bool]] = []
    for name, value in wanted.along.items():
        if value:  # Indexes may leave empty values out; so the planner knows it asks for none.
            conditions += [column(name) == value, column(name) != literal_column("''")]
    if page.after:
        conditions.append(key < listing.key_of(page.after))
    if wanted.low:
        conditions.append(key >= wanted.low)
    if wanted.high:
        conditions.append(key < wanted.high)
    columns = (source.c[name] for name in listing.columns)
    return select(*columns).where(*conditions).order_by(key.desc())


def _picks(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Return what is asked of each row on the way."""
    picks: list[ColumnElement[bool]] = []
    for name, value in wanted.picks.items():
        if isinstance(value, str):
            if value:
                picks.append(column(name) == value)
        elif isinstance(value, Sequence) and value:
            picks.append(column(name).in_(list(value)))
    made: ColumnElement[datetime] = column("create_time", DateTime(timezone=True))
    if wanted.since is not None:
        picks.append(made >= wanted.since)
    if wanted.until is not None:
        picks.append(made < wanted.until)
    return picks


def _position(token: str, scope: bytes) -> str:
    """Return where the token leads. Raises Refused(PAGE_TOKEN_INVALID)."""
    try:
        told = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        told = b""
    position = told[_SCOPE_BYTES:]
    if told[:_SCOPE_BYTES] != scope or not _POSITION.fullmatch(position):
        raise refuse(reasons.REASON_PAGE_TOKEN_INVALID)
    return position.decode()


def _literal(number: int) -> ColumnElement[Any]:
    """Return a number that is part of the text, so that the plan is made for it."""
    return literal_column(str(number))


async def _run(db: Database, statement: Select[Any]) -> list[Row]:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return await db.rows(str(compiled), **compiled.params)
