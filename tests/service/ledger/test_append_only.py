"""What was booked cannot be edited: not by a bug of ours, not by the owner of the tables."""

import psycopg
import pytest

from tests.service.ledger.books import connect, open_account, post, transfer

BOOKED = ["transfer", "voucher", "block", "reject"]


@pytest.fixture
def books(database):
    """One row in each table, written as posting writes them."""
    with connect(database("ledger")) as connection:
        open_account(connection, 1)
        open_account(connection, 2, floor=0)
        assert post(connection, transfer(1, 2, 5), transfer(2, 1, 6)) == [0, 40]
        connection.execute("""
            INSERT INTO voucher SELECT seq, 5, id, 1, 1, 'CNY', 'T', 'S', 'X', 'A', now()
            FROM transfer
        """)
        yield connection


@pytest.mark.parametrize("table", BOOKED)
@pytest.mark.parametrize("verb", ["UPDATE {} SET book_id = 2", "DELETE FROM {}", "TRUNCATE {}"])
def test_rows_stay_as_they_are(books, table, verb):
    """The statement fails as a whole, and says why."""
    with pytest.raises(psycopg.errors.RestrictViolation, match="the books are append-only"):
        books.execute(verb.format(table))

    assert books.execute(f"SELECT count(*), min(book_id) FROM {table}").fetchone() == (1, 1)


@pytest.mark.parametrize("table", ["transfer", "voucher"])
def test_a_partition_is_as_closed_as_the_whole(books, table):
    """Nobody gets at the rows by the side door."""
    [partition] = books.execute(f"SELECT tableoid::regclass::text FROM {table}").fetchone()
    assert partition != f"{table}_default"

    for verb in ("UPDATE {} SET book_id = 2", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            books.execute(verb.format(partition))
