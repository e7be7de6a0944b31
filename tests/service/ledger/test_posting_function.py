"""The posting function alone: what it books, and what it says when it does not."""

import psycopg
import pytest

from tests.service.ledger.books import (
    EXPIRY,
    LINKED,
    PARTIAL,
    PENDING,
    POST,
    RED,
    SWEEP_CREDIT,
    SWEEP_DEBIT,
    VOID,
    Transfer,
    balance,
    connect,
    open_account,
    post,
    resolve,
    transfer,
    uuid7,
)

BANK, ANNE, BEN, CAPPED, INCOME, DOLLARS = 1, 2, 3, 4, 5, 6
NO_DEBIT, NO_CREDIT, CLOSED, NOBODY = 7, 8, 9, 99


@pytest.fixture
def books(database):
    """A book where the bank has paid 10,000 to Anne."""
    with connect(database("ledger")) as connection:
        open_account(connection, BANK, normal=-1)
        open_account(connection, ANNE, floor=0)
        open_account(connection, BEN, floor=0)
        open_account(connection, CAPPED, floor=0, cap=1_000)
        open_account(connection, INCOME)
        open_account(connection, DOLLARS, currency="USD")
        open_account(connection, NO_DEBIT, status=1)
        open_account(connection, NO_CREDIT, status=2)
        open_account(connection, CLOSED, status=4)
        assert post(connection, transfer(BANK, ANNE, 10_000)) == [0]
        yield connection


def test_a_transfer_moves_money_once(books):
    """Its repeat is told so; another transfer under its id is told that it differs."""
    first = transfer(ANNE, BEN, 3_000)

    assert post(books, first) == [0]
    assert post(books, first, first) == [1, 1]
    assert post(books, first.but(amount=3_001)) == [2]
    assert post(books, first.but(credit=INCOME)) == [2]
    assert post(books, first.but(code=2)) == [2]
    assert post(books, first.but(ref=uuid7())) == [2]
    assert post(books, first.but(txn=uuid7())) == [2]

    assert balance(books, ANNE) == (7_000, 0, 0)
    assert balance(books, BEN) == (3_000, 0, 0)


def test_a_transfer_sees_those_before_it(books):
    """Money that comes in first can go out after, in the same call."""
    got = post(
        books,
        transfer(ANNE, BEN, 6_000),
        transfer(ANNE, BEN, 6_000),
        transfer(BEN, ANNE, 5_000),
        transfer(ANNE, BEN, 6_000),
    )

    assert got == [0, 40, 0, 0]


def test_a_repeat_in_the_same_call_is_a_repeat(books):
    """Booked or failed by the call itself, it is told what it would be told later."""
    first, short = transfer(ANNE, BEN, 3_000), transfer(BEN, ANNE, 3_001)

    assert post(books, first, first, first.but(txn=uuid7()), short, short) == [0, 1, 2, 40, 3]


def test_a_failure_that_might_pass_stays_a_failure(books):
    """Whoever was told that money is short will not find it gone after a repeat."""
    short = transfer(BEN, ANNE, 1)
    assert post(books, short) == [40]
    assert post(books, transfer(ANNE, BEN, 100)) == [0]

    assert post(books, short) == [3]
    assert post(books, short.but(id=uuid7())) == [0]


def test_a_failure_that_cannot_pass_is_not_remembered(books):
    """A caller that mends its mistake may keep its id."""
    wrong = transfer(ANNE, BEN, 0)

    assert post(books, wrong) == [13]
    assert post(books, wrong.but(amount=1)) == [0]


# Each row is wrong in its own way, and in every way further down that it can be at once.
PRECEDENCE = [
    (12, dict(debit=NOBODY, credit=NOBODY, amount=0, flags=PARTIAL)),
    (12, dict(debit=NOBODY, credit=NOBODY, amount=0, flags=EXPIRY)),
    (12, dict(debit=NOBODY, credit=NOBODY, amount=0, flags=RED | PENDING)),
    (12, dict(debit=NOBODY, credit=NOBODY, amount=0, flags=RED | SWEEP_DEBIT)),
    (13, dict(debit=NOBODY, credit=NOBODY, amount=0)),
    (13, dict(debit=NOBODY, credit=NOBODY, amount=-1)),
    (13, dict(debit=NOBODY, credit=NOBODY, amount=10**15 + 1)),
    (14, dict(debit=NOBODY, credit=NOBODY, amount=10**15)),
    (20, dict(debit=NOBODY, credit=NO_CREDIT, amount=10**15)),
    (21, dict(debit=NO_DEBIT, credit=NOBODY, amount=10**15)),
    (22, dict(debit=NO_DEBIT, credit=NO_CREDIT, amount=10**15)),
    (22, dict(debit=CLOSED, credit=NO_CREDIT, amount=10**15)),
    (23, dict(debit=DOLLARS, credit=NO_CREDIT, amount=10**15)),
    (23, dict(debit=DOLLARS, credit=CLOSED, amount=10**15)),
    (15, dict(debit=DOLLARS, credit=CAPPED, amount=10**15)),
    (40, dict(debit=ANNE, credit=CAPPED, amount=10_001)),
    (41, dict(debit=ANNE, credit=CAPPED, amount=1_001)),
    (0, dict(debit=ANNE, credit=CAPPED, amount=1_000)),
]


@pytest.mark.parametrize(("code", "wrong"), PRECEDENCE)
def test_the_first_failure_that_applies_is_told(books, code, wrong):
    """The order of result codes is a promise."""
    assert post(books, Transfer(id=uuid7(), **wrong)) == [code]


def test_a_repeat_comes_before_every_failure(books):
    """What was booked stays booked, whatever happened to its accounts since."""
    first = transfer(ANNE, BEN, 10_000)
    assert post(books, first) == [0]
    books.execute("UPDATE balance SET status = 4 WHERE account_id = %s", [BEN])

    assert post(books, first) == [1]
    assert post(books, first.but(debit=NOBODY, credit=NOBODY, amount=0)) == [2]


def test_holds_lower_what_is_available(books):
    """What is on hold is still there, and cannot be spent elsewhere."""
    hold = transfer(ANNE, BEN, 6_000, PENDING)
    assert post(books, hold) == [0]

    assert balance(books, ANNE) == (10_000, 6_000, 0)
    assert balance(books, BEN) == (0, 0, 6_000)
    assert post(books, transfer(ANNE, INCOME, 4_001)) == [40]
    assert post(books, transfer(ANNE, INCOME, 4_000)) == [0]


def test_a_hold_is_captured_in_parts(books):
    """A partial post keeps the rest; a plain one gives back what it does not take."""
    hold = transfer(ANNE, BEN, 2_000, PENDING)
    assert post(books, hold) == [0]

    assert post(books, resolve(hold, POST | PARTIAL, 700)) == [0]
    assert balance(books, ANNE) == (9_300, 1_300, 0)
    assert post(books, resolve(hold, POST, 300)) == [0]
    assert balance(books, ANNE) == (9_000, 0, 0)
    assert balance(books, BEN) == (1_000, 0, 0)


def test_a_hold_is_made_and_resolved_in_one_call(books):
    """In between its money is not to be had."""
    hold = transfer(ANNE, BEN, 10_000, PENDING)

    got = post(
        books,
        hold,
        transfer(ANNE, INCOME, 1),
        resolve(hold, VOID),
        transfer(ANNE, INCOME, 1),
        resolve(hold, POST),
    )

    assert got == [0, 40, 0, 0, 34]
    assert balance(books, ANNE) == (9_999, 0, 0)


# What is asked of a hold of 500 from Anne to Ben, and the answer; by precedence.
ASKED_OF_A_HOLD = [
    (12, dict(flags=POST | VOID, amount=-2)),
    (12, dict(flags=VOID | PARTIAL, amount=-2)),
    (12, dict(flags=POST | PENDING, amount=-2)),
    (12, dict(flags=POST | RED, amount=-2)),
    (13, dict(flags=POST, amount=-2)),
    (13, dict(flags=POST, amount=0)),
    (31, dict(flags=POST, amount=501, debit=BEN)),
    (31, dict(flags=POST, amount=501, credit=ANNE)),
    (31, dict(flags=VOID, amount=499)),
    (32, dict(flags=POST, amount=501)),
    (0, dict(flags=POST, amount=500, debit=ANNE, credit=BEN)),
    (0, dict(flags=VOID, amount=0)),
    (0, dict(flags=VOID, amount=500)),
]


@pytest.mark.parametrize(("code", "asked"), ASKED_OF_A_HOLD)
def test_what_a_hold_allows(books, code, asked):
    """The order of result codes is a promise."""
    hold = transfer(ANNE, BEN, 500, PENDING)
    assert post(books, hold) == [0]

    assert post(books, Transfer(id=uuid7(), ref=hold.id, **asked)) == [code]


@pytest.mark.parametrize(("end", "code"), [(POST, 33), (VOID, 34), (VOID | EXPIRY, 35)])
def test_a_hold_ends_once(books, end, code):
    """Whoever comes later is told how it ended."""
    hold = transfer(ANNE, BEN, 500, PENDING)
    assert post(books, hold, resolve(hold, end)) == [0, 0]

    assert post(books, resolve(hold, POST), resolve(hold, VOID)) == [code, code]


def test_there_must_be_a_hold(books):
    """Neither an unknown id nor a hold that failed can be posted."""
    failed = transfer(ANNE, BEN, 10_001, PENDING)

    got = post(books, failed, resolve(failed, POST), resolve(transfer(1, 2, 3), VOID))

    assert got == [40, 30, 30]


def test_a_hold_can_only_be_let_go_when_its_time_is_over(books):
    """Business time, so that a test need not wait for it."""
    hold = transfer(ANNE, BEN, 500, PENDING, ttl=60)
    assert post(books, hold) == [0]
    books.execute("UPDATE clock SET shift = '61 seconds'")

    assert post(books, resolve(hold, POST), resolve(hold, VOID)) == [35, 35]
    assert post(books, resolve(hold, VOID | EXPIRY)) == [0]
    assert balance(books, ANNE) == (10_000, 0, 0)


def test_a_chain_is_booked_whole_or_not_at_all(books):
    """The leg it failed by says why, the others say that it was not them."""
    got = post(
        books,
        transfer(ANNE, BEN, 100, LINKED),
        transfer(ANNE, BEN, 999_999, LINKED),
        transfer(BEN, ANNE, 1),
        transfer(ANNE, BEN, 7),
    )

    assert got == [10, 40, 10, 0]
    assert balance(books, BEN) == (7, 0, 0)


def test_a_broken_chain_gives_back_its_holds(books):
    """A hold it resolved is open again, a hold it made never was."""
    hold = transfer(ANNE, BEN, 500, PENDING)
    assert post(books, hold) == [0]
    made = transfer(ANNE, BEN, 700, PENDING | LINKED)

    got = post(
        books,
        resolve(hold, POST | LINKED),
        made,
        transfer(BEN, ANNE, 999_999),
        resolve(made, VOID),
    )

    assert got == [10, 10, 40, 30]
    assert balance(books, ANNE) == (10_000, 500, 0)
    assert post(books, resolve(hold, POST)) == [0]


def test_a_chain_left_open_fails(books):
    """The last transfer of a call cannot be linked to the next."""
    assert post(books, transfer(ANNE, BEN, 1), transfer(ANNE, BEN, 1, LINKED)) == [0, 11]
    assert post(books, transfer(ANNE, BEN, 1, LINKED), transfer(1, 2, 1, LINKED)) == [10, 11]


def test_a_chain_that_comes_again_exists(books):
    """Every leg of it, whether it comes in the same call or in a later one."""
    chain = [transfer(ANNE, BEN, 1, LINKED), transfer(ANNE, INCOME, 2)]

    assert post(books, *chain, *chain) == [0, 0, 1, 1]
    assert post(books, *chain) == [1, 1]
    assert balance(books, ANNE) == (9_997, 0, 0)


def test_a_chain_that_comes_again_with_another_leg_fails(books):
    """It is not the chain that was booked, and nothing of it is."""
    chain = [transfer(ANNE, BEN, 1, LINKED), transfer(ANNE, INCOME, 2)]
    more = [*chain[:1], chain[1].but(flags=LINKED), transfer(ANNE, INCOME, 3)]

    assert post(books, *chain, *more) == [0, 0, 1, 10, 10]
    assert post(books, *more) == [1, 10, 10]
    assert post(books, *chain[1:]) == [1]
    assert balance(books, ANNE) == (9_997, 0, 0)


def test_a_sweep_takes_what_is_there(books):
    """At most the amount, and never beyond a limit of the account it is balanced for."""
    assert post(books, transfer(ANNE, CAPPED, 5_000, SWEEP_CREDIT)) == [0]
    assert balance(books, CAPPED) == (1_000, 0, 0)
    assert post(books, transfer(ANNE, BEN, 50_000, SWEEP_DEBIT)) == [0]
    assert balance(books, BEN) == (9_000, 0, 0)
    assert post(books, transfer(ANNE, BEN, 1, SWEEP_DEBIT)) == [40]


def test_a_red_entry_takes_turnover_back(books):
    """The same sides with the other sign: as if it had not been."""
    wrong = transfer(BANK, BEN, 500)

    assert post(books, wrong, wrong.but(id=uuid7(), flags=RED, ref=wrong.id)) == [0, 0]

    sql = "SELECT debit, credit FROM balance WHERE account_id = %s"
    assert books.execute(sql, [BANK]).fetchone() == (10_000, 0)
    assert books.execute(sql, [BEN]).fetchone() == (0, 0)


def test_an_account_beyond_its_limit_can_come_back(books):
    """Only what makes it worse is refused."""
    books.execute("UPDATE balance SET floor = 20_000 WHERE account_id = %s", [ANNE])

    assert post(books, transfer(ANNE, BEN, 1), transfer(BANK, ANNE, 1)) == [40, 0]


def test_the_journal_tells_every_balance(books):
    """Each row has the balances after it and where the row before is."""
    post(books, transfer(ANNE, BEN, 100), transfer(ANNE, BEN, 50))
    post(books, transfer(BEN, ANNE, 30))

    sql = """
        SELECT debit_after, credit_after, debit_prev, credit_prev FROM transfer ORDER BY seq
    """
    assert books.execute(sql).fetchall() == [
        (10_000, 10_000, 0, 0),
        (9_900, 100, 8192 + 1, 0),
        (9_850, 150, 2 * 8192 + 1, 2 * 8192 + 1),
        (120, 9_880, 2 * 8192 + 2, 2 * 8192 + 2),
    ]


def test_nothing_booked_is_no_block(books):
    """Blocks are numbered without a gap; a call that only failed has none."""
    [before] = books.execute("SELECT head_block FROM book").fetchone()
    post(books, transfer(ANNE, BEN, 10_001))

    assert books.execute("SELECT head_block FROM book").fetchone() == (before,)
    assert books.execute("SELECT count(*) FROM block").fetchone() == (before,)


def test_blocks_have_the_time_of_business_and_rise(books):
    """A shifted clock shifts them; two never have the same moment."""
    books.execute("UPDATE clock SET shift = '40 days'")
    post(books, transfer(ANNE, BEN, 1))
    post(books, transfer(ANNE, BEN, 1))

    sql = "SELECT create_time - now() FROM block ORDER BY block_no"
    ages = [age.total_seconds() for (age,) in books.execute(sql).fetchall()]
    assert ages == sorted(set(ages))
    assert 39 * 86_400 < ages[1] < 41 * 86_400


def test_a_balance_that_moves_meanwhile_undoes_the_call(books):
    """Nobody may write balances without the book's lock; if one did, nothing is half-booked."""
    # The trigger stands for the other one: it writes between our reading and our writing.
    books.execute("""
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE balance SET floor = floor WHERE account_id = 3; RETURN NEW; END $$;
        CREATE TRIGGER meddle BEFORE INSERT ON transfer FOR EACH ROW EXECUTE FUNCTION meddle();
    """)

    with pytest.raises(psycopg.errors.SerializationFailure):
        post(books, transfer(ANNE, BEN, 1))
    assert books.execute("SELECT count(*) FROM transfer").fetchone() == (1,)


@pytest.mark.parametrize("count", [0, 8191])
def test_a_call_has_its_size(books, count):
    """A block numbers its transfers from 1 to 8190."""
    with pytest.raises(psycopg.errors.RaiseException, match="1 to 8190 transfers"):
        post(books, *[transfer(ANNE, BEN, 1)] * count)


def test_there_must_be_a_book(books):
    """A wrong book is a bug, not a result."""
    with pytest.raises(psycopg.errors.RaiseException, match="there is no book 2"):
        books.execute("SELECT post(2, ARRAY[%s::uuid], '{1}', '{2}', '{1}', '{1}')", [uuid7()])
