"""Text that cannot even be sent to the database: it fails alone."""

import asyncio
from dataclasses import dataclass

import pytest

from mesh.batch import Rejected
from mesh.db import Database, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One text to say again."""

    text: str


ECHO: Statement[Word, str] = Statement(
    name="echo",
    columns={"text": "text"},
    result=lambda row: str(row.text),
    sql="WITH i AS ({input}) SELECT i.ord, i.text FROM i",
)


async def test_what_has_no_bytes_is_rejected_and_its_neighbours_are_answered(database):
    """Half a surrogate pair has no UTF-8. It was never sent, so nothing is unknown about it."""
    async with Database(database("trade", migrated=False)) as db:
        words = ["tea", "a\ud800b", "茶", "\0", "rice"]
        asked = [db.ask(ECHO, Word(text=word)) for word in words]
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [one for one in said if isinstance(one, str)] == ["tea", "茶", "rice"]
        assert [type(one) for one in said if not isinstance(one, str)] == [Rejected, Rejected]
        assert db.sizes()["echo"][5] == 1, "they waited together"
        with pytest.raises(Rejected):
            await db.ask(ECHO, Word(text="\udfff"))
