"""The posting function against a model of it, over random calls that repeat and break."""

import random
from collections import Counter
from itertools import accumulate, chain

import pytest

from tests.service.ledger.books import (
    BLUE,
    HIGHEST,
    LINKED,
    LOWEST,
    PARTIAL,
    PENDING,
    POST,
    RED,
    SWEEP_CREDIT,
    SWEEP_DEBIT,
    VOID,
    Transfer,
    connect,
    open_account,
    post,
    reverse,
    uuid7,
)
from tests.service.ledger.oracle import Account, Oracle

ACCOUNTS, DOLLARS, NOBODY = range(1, 13), 12, 13
STATUS = {9: 1, 10: 2, 11: 4}
LIMITS = [(LOWEST, HIGHEST), (0, HIGHEST), (0, 3_000), (-500, HIGHEST), (LOWEST, 2_000)]
ODD_FLAGS = [POST | VOID, PARTIAL, RED | PENDING, POST | SWEEP_DEBIT, RED | BLUE, POST | BLUE]
SWEEPS = [SWEEP_DEBIT, SWEEP_CREDIT, SWEEP_DEBIT | SWEEP_CREDIT, SWEEP_DEBIT | PENDING]


class Caller:
    """Makes up calls: mostly sensible, often repeating what was sent before."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.sent, self.holds, self.moves = [], [], []

    def call(self, size):
        """Return the transfers of one call; now and then a chain of them is sent again."""
        call = [self._transfer() for _ in range(self.dice.randint(1, size))]
        if self.dice.random() < 0.3:
            start = self.dice.randrange(len(call))
            call += call[start : start + self.dice.randint(1, 4)]
        self.sent += call
        return call

    def _transfer(self):
        chance = self.dice.random()
        if self.sent and chance < 0.07:
            return self.dice.choice(self.sent)
        if self.sent and chance < 0.13:
            return self.dice.choice(self.sent).but(amount=self.dice.randint(1, 900))
        made = self._hold_or_move(uuid7(self.dice))
        if made.flags & PENDING:
            self.holds.append(made.id)
        elif self.dice.random() < 0.3:
            self.moves.append(made)
        return made.but(flags=made.flags | LINKED) if self.dice.random() < 0.25 else made

    def _hold_or_move(self, new_id):
        dice = self.dice
        debit, credit = dice.sample(range(1, 9), 2)
        if dice.random() < 0.2:
            debit, credit = dice.randint(1, NOBODY), dice.randint(1, NOBODY)
        made = Transfer(id=new_id, debit=debit, credit=credit, amount=dice.randint(1, 900))
        chance = dice.random()
        if chance < 0.2:
            return made.but(flags=PENDING)
        if chance < 0.45 and self.holds:
            return self._resolve(made)
        if chance < 0.5:
            return made.but(flags=dice.choice(SWEEPS))
        if chance < 0.62 and self.moves:
            return self._reversal(new_id)
        if chance < 0.64:
            return made.but(flags=dice.choice([RED, BLUE]))
        if chance < 0.66:
            return made.but(flags=dice.choice(ODD_FLAGS))
        if chance < 0.68:
            return made.but(amount=dice.choice([0, -1, 10**15 + 1]))
        return made

    def _reversal(self, new_id):
        dice = self.dice
        original = dice.choice(self.moves[-8:])
        amount = dice.choice([original.amount, dice.randint(1, 600), dice.randint(1, 900)])
        made = reverse(original, dice.choice([RED, BLUE]), max(amount, 1))
        made = made.but(id=new_id)
        if dice.random() < 0.2 and self.holds:
            made = made.but(ref=dice.choice(self.holds))
        return made.but(credit=dice.randint(1, 8)) if dice.random() < 0.25 else made

    def _resolve(self, made):
        dice = self.dice
        flags = dice.choice([POST, POST | PARTIAL, POST, VOID, VOID])
        partly = dice.choice([-1, -1, dice.randint(0, 600)])
        amount = partly if flags & POST else dice.choice([-1, 0, 0, dice.randint(1, 600)])
        made = made.but(ref=dice.choice(self.holds[-30:]), flags=flags, amount=amount)
        return made if dice.random() < 0.1 else made.but(debit=0, credit=0)


@pytest.fixture
def pair(database, request):
    """The same accounts twice, and the calls to make."""
    caller, oracle = Caller(request.param), Oracle()
    with connect(database("ledger")) as connection:
        for account_id in ACCOUNTS:
            floor, cap = caller.dice.choice(LIMITS)
            what = {
                "normal": caller.dice.choice([1, -1]),
                "floor": floor,
                "cap": cap,
                "status": STATUS.get(account_id, 0),
                "currency": "USD" if account_id == DOLLARS else "CNY",
            }
            open_account(connection, account_id, **what)
            oracle.accounts[account_id] = Account(**what)
        yield connection, oracle, caller


REPLAYED = """
SELECT ref, sum(abs(amount))::bigint FROM transfer WHERE flags & 768 <> 0 GROUP BY ref
"""
FIGURES = "SELECT account_id, debit, credit, debit_pending, credit_pending FROM balance"


@pytest.mark.parametrize("pair", range(12), indirect=True)
def test_it_does_what_the_model_does(pair):
    """After every call the same codes, the same balances, the same holds."""
    connection, oracle, caller = pair
    seen = Counter()
    for size in [8] * 25 + [60] * 5:
        calls = [caller.call(size) for _ in range(caller.dice.choice([1, 1, 1, 2, 3]))]
        ends = list(accumulate(map(len, calls)))

        codes = post(connection, *chain(*calls), ends=ends)

        assert codes == [code for call in calls for code in oracle.post(call)]
        seen.update(codes)
        stored = {row[0]: row[1:] for row in connection.execute(FIGURES).fetchall()}
        assert stored == {key: each.figures() for key, each in oracle.accounts.items()}
        holds = connection.execute("SELECT id, remaining, state FROM hold").fetchall()
        assert sorted(holds) == sorted((key, h.left, h.state) for key, h in oracle.holds.items())
        assert dict(connection.execute("SELECT id, reversed FROM reversal")) == oracle.reversed
    assert {0, 1, 2, 3, 10, 11, 40, 50} <= set(seen)
    assert seen[51] + seen[52] > 0
    assert oracle.reversed
    assert dict(connection.execute(REPLAYED).fetchall()) == oracle.reversed
    _check_journal(connection, oracle)


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
