"""Books by name, and which business line is kept in which."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.db import Database, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The book that was named, None when there is none; whether the line is kept in it now."""

    book_id: int | None
    is_assigned: bool


async def create_book(db: Database, name: str) -> int | None:
    """Make the book unless it is there; return its id.

    None when somebody else made a book at this very moment: ask again.
    """
    return await db.ask(_CREATE_BOOK, _Named(name=name))


async def assign_book(db: Database, business_code: str, name: str) -> Assigned:
    """Keep the line in the book from now on, unless it is kept in a book already."""
    return await db.ask(_ASSIGN_BOOK, _Line(business_code=business_code, name=name))


async def keep_line(db: Database, business_code: str) -> int | None:
    """Return the book of the line, which is its book from now on; None when there is none."""
    return await db.ask(_KEEP_LINE, _Kept(business_code=business_code))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    business_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    business_code: str
    name: str


_CREATE_BOOK: Statement[_Named, int | None] = Statement(
    name="create_book",
    columns={"name": "text"},
    keys_of=lambda named: (named.name,),
    flights_max=1,
    result=lambda row: row.book_id,
    sql="""
    WITH i AS ({input}),
    new AS (
        INSERT INTO book (book_id, name)
        SELECT (SELECT max(book_id) FROM book) + row_number() OVER (ORDER BY i.name), i.name
        FROM i WHERE NOT EXISTS (SELECT FROM book b WHERE b.name = i.name)
        ON CONFLICT DO NOTHING RETURNING book_id, name
    )
    SELECT i.ord, coalesce(new.book_id, b.book_id) AS book_id
    FROM i LEFT JOIN new USING (name) LEFT JOIN book b ON b.name = i.name
    """,
)

# Whoever waited for another's row of the same line gets that one: the update changes nothing.
_KEEP_LINE: Statement[_Kept, int | None] = Statement(
    name="keep_line",
    columns={"business_code": "text"},
    keys_of=lambda kept: (kept.business_code,),
    result=lambda row: row.book_id,
    sql="""
    WITH i AS ({input}),
    new AS (
        INSERT INTO book_of AS o (business_code, book_id)
        SELECT i.business_code, rest.book_id
        FROM i JOIN book_of rest ON rest.business_code = ''
        ORDER BY i.business_code
        ON CONFLICT (business_code) DO UPDATE SET book_id = o.book_id
        RETURNING business_code, book_id
    )
    SELECT i.ord, coalesce(new.book_id, own.book_id) AS book_id
    FROM i
    LEFT JOIN new USING (business_code)
    LEFT JOIN book_of own ON own.business_code = i.business_code
    """,
)

# Whoever opens or books for a line has written its row before (`keep_line`): of the two one is
# first, and the other finds that row.
_ASSIGN_BOOK: Statement[_Line, Assigned] = Statement(
    name="assign_book",
    columns={"business_code": "text", "name": "text"},
    keys_of=lambda line: (line.business_code,),
    result=lambda row: Assigned(book_id=row.book_id, is_assigned=row.is_assigned),
    sql="""
    WITH i AS ({input}),
    named AS MATERIALIZED (
        SELECT i.ord, i.business_code, b.book_id, o.book_id AS now_in
        FROM i
        LEFT JOIN book b ON b.name = i.name
        LEFT JOIN book_of o ON o.business_code = i.business_code
    ),
    new AS (
        INSERT INTO book_of (business_code, book_id)
        SELECT n.business_code, n.book_id FROM named n
        WHERE n.book_id IS NOT NULL AND n.now_in IS NULL
        ORDER BY n.business_code ON CONFLICT DO NOTHING RETURNING business_code
    )
    SELECT n.ord, n.book_id,
           coalesce(n.now_in = n.book_id, new.business_code IS NOT NULL) AS is_assigned
    FROM named n LEFT JOIN new USING (business_code)
    """,
)
