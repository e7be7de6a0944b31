"""Ways to end whoever is booking, at moments that are arranged.

A call is sent and its answer is never read: nobody was told what became of it.
"""

import copy
import os
import random
import signal
from dataclasses import replace

import psycopg

from ledger.flow.prove_book import prove_book
from mesh.db import Database
from tests.service.ledger.books import (
    BLUE,
    LINKED,
    PARTIAL,
    PENDING,
    POST,
    POST_SQL,
    columns,
    connect,
    open_account,
    post,
    resolve,
    reverse,
    transfer,
)
from tests.service.ledger.caller import NOBODY, opened
from tests.service.ledger.oracle import Account
from tests.waiting import eventually

# What a booking comes to, in its order, and the lock that stops it there.
POINTS = {
    "the lock of the book": "SELECT FROM book FOR UPDATE",
    **{
        table: f"LOCK TABLE {table} IN SHARE MODE"
        for table in ("reject", "transfer", "hold", "reversal", "balance", "block", "book")
    },
}
SENT = "sent and not waited for"
COMMITTED = "committed and not heard of"
FROM, TO = 14, 15


class Dying:
    """A book, its oracle, and a server that does not live long."""

    def __init__(self, server, dsn, seed):
        self.server, self.dsn, self.dice = server, dsn, random.Random(seed)
        with connect(dsn) as connection:
            self.oracle, self.caller = opened(connection, seed)
            for number in (FROM, TO):
                open_account(connection, number)
                self.oracle.accounts[number] = Account()
            self.move = transfer(FROM, TO, 1_000)
            self.hold = transfer(FROM, TO, 1_000, PENDING)
            first = [self.move, self.hold]
            assert post(connection, *first) == self.oracle.post(first) == [0, 0]

    async def die(self, moment, how):
        """Send a call, end its backend or its server at that moment, and send it again."""
        call = self._call()
        after = copy.deepcopy(self.oracle)
        codes = after.post(call)
        with connect(self.dsn) as watcher, psycopg.connect(self.dsn) as holder:
            sender = connect(self.dsn)
            pid = sender.info.backend_pid
            sender.execute("SET lock_timeout = 0")
            holder.execute("SET idle_in_transaction_session_timeout = 0")
            if moment in POINTS:
                holder.execute(POINTS[moment])
            _send(sender, call)
            if moment in POINTS:
                await eventually(lambda: watcher.execute(_WAITS, [pid]).fetchone() == (True,))
            elif moment == COMMITTED:
                await eventually(lambda: watcher.execute(_HAS, [call[0].id]).fetchone())
            await how(self.server, watcher, pid)
            for connection in (sender, holder, watcher):
                connection.close()
        self._look(after, moment)
        with connect(self.dsn) as connection:
            if self.oracle is not after:
                assert post(connection, *call) == self.oracle.post(call) == codes
            assert post(connection, *call) == self.oracle.post(call)
            assert self._stands_as(self.oracle)

    def _look(self, after, moment):
        """The books are as they were, or as they are with all of the call; which is known."""
        was, is_ = self._stands_as(self.oracle), self._stands_as(after)
        assert was or is_, f"what was told is gone, or a part is there: {moment}"
        if moment in POINTS:
            assert was, f"stopped at {moment} it was booked"
        if moment == COMMITTED:
            assert is_, "it was committed and is not there"
        if is_:
            self.oracle = after

    def _stands_as(self, oracle):
        with connect(self.dsn) as connection:
            rows = [connection.execute(sql).fetchall() for sql in _STATE]
        balances, holds, reversals, journal = rows
        return (
            {row[0]: row[1:] for row in balances}
            == {key: each.figures() for key, each in oracle.accounts.items()}
            and sorted(holds) == sorted((key, h.left, h.state) for key, h in oracle.holds.items())
            and dict(reversals) == oracle.reversed
            and dict(journal) == {key: one.amount for key, one in oracle.journal.items()}
        )

    def _call(self):
        """One that comes by every point: a chain, a part of a hold, a reversal, a failure."""
        return [
            transfer(FROM, TO, 9, LINKED),
            transfer(TO, FROM, 6, PENDING | LINKED),
            resolve(self.hold, POST | PARTIAL, 1),
            reverse(self.move, BLUE, 1),
            transfer(FROM, NOBODY, 1),
            *self.caller.call(8),
        ]


async def terminate(server, watcher, pid):
    """The backend is asked to leave, as an administrator does it."""
    watcher.execute("SELECT pg_terminate_backend(%s)", [pid])
    await eventually(lambda: watcher.execute(_THERE, [pid]).fetchone() is None)


async def kill_backend(server, watcher, pid):
    """The backend is killed: the server ends all others and recovers."""
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: _is_lost(watcher))
    await eventually(server.healthy)


async def cut_power(server, watcher, pid):
    """All processes of the server are killed, and it starts again."""
    await server.kill()
    await server.start()


async def findings(desk, dsn):
    """Return what a proof of the books finds, over new connections."""
    async with Database(dsn) as db:
        return (await prove_book(replace(desk, db=db))).findings


def _send(connection, call):
    text = psycopg.ClientCursor(connection).mogrify(POST_SQL, columns(call))
    connection.pgconn.send_query(text.encode())
    while connection.pgconn.flush():
        continue


def _is_lost(connection):
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


_WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
_THERE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
_HAS = "SELECT 1 FROM transfer WHERE id = %s"
_STATE = (
    "SELECT account_id, debit, credit, debit_pending, credit_pending FROM balance",
    "SELECT id, remaining, state FROM hold",
    "SELECT id, reversed FROM reversal",
    "SELECT id, amount FROM transfer",
)
