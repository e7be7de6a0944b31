"""Real accounts with a random journal, and what a replay of that journal says of them."""

import base64
import random
import uuid
from dataclasses import dataclass

from ledger.flow._accounts import Request
from ledger.flow.open_account import open_account
from ledger.model import Account, AccountKind
from ledger.store.account_view import Named
from mesh.lists import Page
from tests.service.ledger.books import (
    BLUE,
    PARTIAL,
    PENDING,
    POST,
    RED,
    VOID,
    post,
    resolve,
    reverse,
    transfer,
)

HIDDEN = PENDING | VOID
SCOPE = bytes(9)

BUSY = Account(AccountKind.CLEARING, "sim", "CNY")
WALLETS = [Account(AccountKind.WALLET, f"MALL/u{n}", "CNY") for n in range(6)]
IDLE = WALLETS[5]


def named(account):
    return Named(account=account)


def asked(account, *, request_id=None, cause="because", fingerprint=b"same"):
    """What every change of an account brings."""
    return Request(
        request_id=request_id or uuid.uuid4().hex,
        fingerprint=fingerprint,
        named=named(account),
        cause=cause,
    )


def page_of(size, token=""):
    """The page of that size behind `token`."""
    after = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[len(SCOPE) :].decode()
    return Page(size=size, after=after, scope=SCOPE)


async def pages(verb, size, between=None):
    """Return everything that `verb(page)` lists, page by page; `between` happens in between."""
    listed, token = [], ""
    while True:
        rows, token = await verb(page_of(size, token))
        assert len(rows) <= size
        listed += rows
        if not token:
            return listed
        if between is not None:
            between()


async def ids_of(desk, *accounts):
    """Open the accounts; return their ids."""
    for account in accounts:
        await open_account(desk, account)
    return await desk.accounts.ids(1, [account.name for account in accounts])


@dataclass(frozen=True)
class Row:
    """One row of the journal as one of its accounts should see it."""

    seq: int
    flags: int
    amount: int
    balance: int
    is_debit: bool
    acct_date: object
    create_time: object


_JOURNAL = """
SELECT t.seq, t.flags, t.amount, t.debit_id, t.credit_id, b.acct_date, b.create_time
FROM transfer t JOIN block b ON (b.book_id, b.block_no) = (t.book_id, t.seq / 8192)
ORDER BY t.seq
"""


def replayed(connection, account_id, normal):
    """Return the rows of an account, its balance computed anew, oldest first."""
    rows, balance = [], 0
    for seq, flags, amount, debit, credit, day, time in connection.execute(_JOURNAL):
        if account_id not in (debit, credit):
            continue
        is_debit = debit == account_id
        if not flags & HIDDEN:
            balance += normal * (-amount if is_debit else amount)
        rows.append(Row(seq, flags, amount, balance, is_debit, day, time))
    return rows


def next_day(connection):
    connection.execute("UPDATE book SET acct_date = acct_date + 1")


class Writer:
    """Writes a random journal: the busy account in nearly every entry, the idle one in few."""

    def __init__(self, connection, ids, seed):
        self.connection, self.dice = connection, random.Random(seed)
        self.busy, *self.wallets, self.idle = ids
        self.holds, self.moves = [], []

    def write(self, calls, *, size):
        """Post so many calls; a new accounting date begins now and then."""
        for _ in range(calls):
            self.call(size)
            if self.dice.random() < 0.1:
                next_day(self.connection)

    def call(self, size):
        """Post up to so many transfers in one block."""
        post(self.connection, *(self.transfer() for _ in range(self.dice.randint(1, size))))

    def transfer(self):
        """Return a transfer, or what ends a hold or takes a transfer back."""
        dice = self.dice
        chance = dice.random()
        wallet = dice.choice(self.wallets)
        if chance < 0.02:
            return transfer(self.busy, self.idle, 7, dice.choice([0, PENDING]))
        if chance < 0.1 and self.moves:
            return reverse(dice.choice(self.moves[-20:]), dice.choice([RED, BLUE]), 1)
        if chance < 0.3:
            hold = transfer(self.busy, wallet, dice.randint(2, 50), PENDING)
            self.holds.append(hold)
            return hold
        if chance < 0.45 and self.holds:
            flags = dice.choice([POST, VOID, POST | PARTIAL])
            return resolve(dice.choice(self.holds[-20:]), flags, 1 if flags & PARTIAL else -1)
        if chance < 0.6:
            return transfer(wallet, self.busy, dice.randint(1, 20))
        move = transfer(self.busy, wallet, dice.randint(1, 90))
        self.moves.append(move)
        return move
