"""The posting function against a model of it, over random calls that repeat and break."""

from collections import Counter
from itertools import accumulate, chain

import pytest

from tests.service.ledger.books import connect, post
from tests.service.ledger.caller import imagined, opened
from tests.service.ledger.seeds import seeds

SEEDS = 12


@pytest.fixture
def pair(database, seed):
    """The same accounts twice, and the calls to make."""
    with connect(database("ledger")) as connection:
        yield connection, *opened(connection, seed)


REPLAYED = """
SELECT ref, sum(abs(amount))::bigint FROM transfer WHERE flags & 768 <> 0 GROUP BY ref
"""
FIGURES = "SELECT account_id, debit, credit, debit_pending, credit_pending FROM balance"


def calls_of(caller):
    """Yield what waits for the book at the same moment: one call, two, or three."""
    for size in [8] * 25 + [60] * 5:
        yield [caller.call(size) for _ in range(caller.dice.choice([1, 1, 1, 2, 3]))]


@seeds(SEEDS)
def test_it_does_what_the_model_does(pair):
    """After every call the same codes, the same balances, the same holds."""
    connection, oracle, caller = pair
    for calls in calls_of(caller):
        ends = list(accumulate(map(len, calls)))

        codes = post(connection, *chain(*calls), ends=ends)

        assert codes == [code for call in calls for code in oracle.post(call)]
        stored = {row[0]: row[1:] for row in connection.execute(FIGURES).fetchall()}
        assert stored == {key: each.figures() for key, each in oracle.accounts.items()}
        holds = connection.execute("SELECT id, remaining, state FROM hold").fetchall()
        assert sorted(holds) == sorted((key, h.left, h.state) for key, h in oracle.holds.items())
        assert dict(connection.execute("SELECT id, reversed FROM reversal")) == oracle.reversed
    assert dict(connection.execute(REPLAYED).fetchall()) == oracle.reversed
    _check_journal(connection, oracle)


def test_the_seeds_come_by_every_code():
    """The model alone tells: all it knows, but for holds whose time is over."""
    seen = Counter()
    for seed in range(SEEDS):
        oracle, caller = imagined(seed)
        seen.update(
            code for calls in calls_of(caller) for one in calls for code in oracle.post(one)
        )

    assert set(seen) == {
        *range(4),
        *range(10, 16),
        *range(20, 24),
        *range(30, 35),
        40,
        41,
        *range(50, 53),
    }
    assert min(seen.values()) > 3


def _check_journal(connection, oracle):
    """Every row is there, and walking back along an account ends where it began."""
    rows = connection.execute("""
        SELECT id, seq, amount, debit_id, debit_after, debit_prev,
               credit_id, credit_after, credit_prev FROM transfer
    """).fetchall()
    assert {row[0]: row[2] for row in rows} == {
        key: booked.amount for key, booked in oracle.journal.items()
    }
    sides = {(row[1], row[3]): (row[4], row[5]) for row in rows}
    sides |= {(row[1], row[6]): (row[7], row[8]) for row in rows}
    heads = connection.execute("SELECT account_id, last_seq FROM balance").fetchall()
    for account_id, seq in heads:
        if seq:
            assert sides[seq, account_id][0] == oracle.accounts[account_id].balance
        while seq:
            _, seq = sides.pop((seq, account_id))
    assert not sides
