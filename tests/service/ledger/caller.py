"""Random calls as callers make them: mostly sensible, often repeating what was sent before."""

import random

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
    open_account,
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


def imagined(seed):
    """Return the oracle of a book with new accounts, and the caller of that seed."""
    caller, oracle = Caller(seed), Oracle()
    for number in ACCOUNTS:
        floor, cap = caller.dice.choice(LIMITS)
        oracle.accounts[number] = Account(
            normal=caller.dice.choice([1, -1]),
            floor=floor,
            cap=cap,
            status=STATUS.get(number, 0),
            currency="USD" if number == DOLLARS else "CNY",
        )
    return oracle, caller


def opened(connection, seed):
    """Return the same, of a book that has these accounts."""
    oracle, caller = imagined(seed)
    for number, one in oracle.accounts.items():
        open_account(
            connection,
            number,
            normal=one.normal,
            floor=one.floor,
            cap=one.cap,
            status=one.status,
            currency=one.currency,
        )
    return oracle, caller
