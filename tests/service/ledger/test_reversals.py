"""Reversals 冲正, red and blue: what was moved is taken back, and never more of it."""

import pytest

from tests.service.ledger.books import (
    BLUE,
    LINKED,
    PENDING,
    POST,
    RED,
    SWEEP_DEBIT,
    VOID,
    Transfer,
    balance,
    connect,
    open_account,
    post,
    resolve,
    reverse,
    transfer,
    uuid7,
)

BANK, ANNE, BEN, CLOSED, NOBODY = 1, 2, 3, 4, 99


@pytest.fixture
def books(database):
    """A book where the bank has paid 10,000 to Anne."""
    with connect(database("ledger")) as connection:
        open_account(connection, BANK, normal=-1)
        open_account(connection, ANNE, floor=0)
        open_account(connection, BEN, floor=0)
        open_account(connection, CLOSED, status=4)
        assert post(connection, transfer(BANK, ANNE, 10_000)) == [0]
        yield connection


@pytest.fixture
def paid(books):
    """Anne has paid 500 to Ben."""
    made = transfer(ANNE, BEN, 500)
    assert post(books, made) == [0]
    return made


def turnover(books, account_id):
    sql = "SELECT debit, credit FROM balance WHERE account_id = %s"
    return books.execute(sql, [account_id]).fetchone()


def reversed_of(books, original):
    sql = "SELECT reversed FROM reversal WHERE id = %s"
    row = books.execute(sql, [original.id]).fetchone()
    return row[0] if row else 0


def test_red_takes_turnover_back_and_blue_adds_to_it(books, paid):
    """The balances are the same, what the accounts have turned over is not."""
    assert post(books, reverse(paid, RED, 200)) == [0]
    assert turnover(books, BEN) == (0, 300)
    assert post(books, reverse(paid, BLUE, 300)) == [0]
    assert turnover(books, BEN) == (300, 300)

    assert balance(books, ANNE) == (10_000, 0, 0)
    assert reversed_of(books, paid) == 500


def test_no_more_is_taken_back_than_was_moved(books, paid):
    """By all reversals together, whichever calls they come in and whichever kind they are."""
    assert post(books, transfer(BANK, BEN, 9_000)) == [0]
    assert post(books, reverse(paid, RED, 501), reverse(paid, BLUE, 300)) == [52, 0]
    assert post(books, reverse(paid, BLUE, 201), reverse(paid, RED, 100)) == [52, 0]
    assert post(books, reverse(paid, RED, 100), reverse(paid, RED, 1)) == [0, 52]
    assert post(books, reverse(paid, BLUE, 1)) == [52]

    assert reversed_of(books, paid) == 500


def test_an_original_may_be_of_the_same_call(books):
    """If it comes first, and is booked."""
    first, failed = transfer(ANNE, BEN, 500), transfer(ANNE, BEN, 10_001)

    got = post(
        books,
        reverse(first, RED, 1),
        first,
        reverse(first, RED, 300),
        reverse(first, BLUE, 201),
        reverse(first, BLUE, 200),
        failed,
        reverse(failed, RED, 1),
    )

    assert got == [50, 0, 0, 52, 0, 40, 50]
    assert reversed_of(books, first) == 500


def test_a_broken_chain_gives_back_what_it_reversed(books, paid):
    """Also of an original that it made itself and that never was."""
    made = transfer(ANNE, BEN, 70, LINKED)

    got = post(
        books,
        reverse(paid, RED, 400).but(flags=RED | LINKED),
        made,
        reverse(made, BLUE, 70).but(flags=BLUE | LINKED),
        transfer(BEN, ANNE, 999_999),
        reverse(made, RED, 1),
        reverse(paid, BLUE, 500),
    )

    assert got == [10, 10, 10, 40, 50, 0]
    assert (reversed_of(books, paid), reversed_of(books, made)) == (500, 0)


def test_a_reversal_that_comes_again_exists(books, paid):
    """It is not counted twice."""
    once = reverse(paid, RED, 300)

    assert post(books, once, once) == [0, 1]
    assert post(books, once, once.but(amount=299)) == [1, 2]
    assert reversed_of(books, paid) == 300


def test_a_capture_is_reversed_and_its_hold_is_not(books):
    """Only what has moved money can be taken back."""
    hold = transfer(ANNE, BEN, 500, PENDING)
    capture = resolve(hold, POST, 200).but(debit=ANNE, credit=BEN)
    assert post(books, hold, capture) == [0, 0]

    assert post(books, reverse(hold, RED, 1), reverse(capture, RED, 201)) == [51, 52]
    assert post(books, reverse(capture, BLUE, 200)) == [0]


def test_a_reversal_is_not_reversed(books, paid):
    """Who reversed in error posts anew."""
    red, blue = reverse(paid, RED, 100), reverse(paid, BLUE, 100)
    assert post(books, red, blue) == [0, 0]

    assert post(books, reverse(red, RED, 1), reverse(blue, BLUE, 1)) == [51, 51]


def test_a_missing_original_is_remembered(books, paid):
    """It may come later; who was told that it is not there must take a new id."""
    late = transfer(ANNE, BEN, 5)
    early = reverse(late, BLUE, 5)

    assert post(books, early, late) == [50, 0]
    assert post(books, early, early.but(id=uuid7())) == [3, 0]


# What is asked about a payment of 500 from Anne to Ben, and the answer; by precedence. Ben has
# no more than those 500.
PRECEDENCE = [
    (12, dict(debit=BEN, credit=BEN, amount=0, flags=RED | BLUE)),
    (12, dict(debit=BEN, credit=BEN, amount=0, flags=BLUE | PENDING)),
    (12, dict(debit=BEN, credit=BEN, amount=0, flags=BLUE | SWEEP_DEBIT)),
    (12, dict(amount=-2, flags=BLUE | VOID)),
    (12, dict(amount=-2, flags=BLUE | POST)),
    (13, dict(debit=BEN, credit=BEN, amount=-1, flags=BLUE)),
    (14, dict(debit=BEN, credit=BEN, amount=501, flags=BLUE)),
    (21, dict(debit=BEN, credit=NOBODY, amount=501, flags=BLUE)),
    (23, dict(debit=BEN, credit=CLOSED, amount=501, flags=BLUE)),
    (50, dict(debit=BEN, credit=ANNE, amount=501, flags=BLUE, ref=uuid7())),
    (50, dict(debit=BEN, credit=ANNE, amount=501, flags=BLUE, ref=None)),
    (50, dict(debit=ANNE, credit=BEN, amount=501, flags=RED, ref=None)),
    (51, dict(debit=BEN, credit=ANNE, amount=501, flags=RED)),
    (51, dict(debit=ANNE, credit=BEN, amount=501, flags=BLUE)),
    (51, dict(debit=BANK, credit=BEN, amount=501, flags=RED)),
    (52, dict(debit=BEN, credit=ANNE, amount=501, flags=BLUE)),
    (40, dict(debit=BEN, credit=ANNE, amount=500, flags=BLUE)),
    (40, dict(debit=ANNE, credit=BEN, amount=500, flags=RED)),
    (0, dict(debit=BEN, credit=ANNE, amount=499, flags=BLUE)),
    (0, dict(debit=ANNE, credit=BEN, amount=499, flags=RED)),
]


@pytest.mark.parametrize(("code", "asked"), PRECEDENCE)
def test_the_first_failure_that_applies_is_told(books, paid, code, asked):
    """The order of result codes is a promise."""
    assert post(books, transfer(BEN, BANK, 1)) == [0]

    assert post(books, Transfer(id=uuid7(), **{"ref": paid.id, **asked})) == [code]
