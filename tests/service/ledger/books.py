"""Below the flows: accounts and transfers by number, straight to the posting function."""

import random
import time
import uuid
from dataclasses import dataclass, replace

import psycopg

from tests.waiting import eventually

LINKED, PENDING, POST, VOID = 1, 2, 4, 8
SWEEP_DEBIT, SWEEP_CREDIT, PARTIAL, EXPIRY, RED, BLUE = 16, 32, 64, 128, 256, 512

LOWEST, HIGHEST = -4 * 10**18, 4 * 10**18
BOOK = 1

_OPEN = """
WITH a AS (
    INSERT INTO account (account_id, book_id, kind, owner, currency_code)
    OVERRIDING SYSTEM VALUE VALUES (%(id)s, %(book)s, %(kind)s, %(id)s::text, %(currency)s)
)
INSERT INTO balance (account_id, book_id, normal, floor, cap, status, currency_code)
VALUES (%(id)s, %(book)s, %(normal)s, %(floor)s, %(cap)s, %(status)s, %(currency)s)
"""
POST_SQL = """
SELECT o_block, o_result FROM post(
    %(book)s, %(id)s::uuid[], %(debit)s::bigint[], %(credit)s::bigint[], %(amount)s::bigint[],
    %(code)s::smallint[], %(flags)s::smallint[], %(ref)s::uuid[], %(ttl)s::integer[],
    %(txn)s::uuid[], p_ends => %(ends)s::integer[])
"""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is asked of the posting function."""

    id: uuid.UUID
    debit: int = 0
    credit: int = 0
    amount: int = 0
    code: int = 1
    flags: int = 0
    ref: uuid.UUID | None = None
    ttl: int = 0
    txn: uuid.UUID | None = None

    def but(self, **changes):
        return replace(self, **changes)


def uuid7(chance=random):
    """A new id of this moment."""
    ms = int(time.time() * 1000)
    bits = ms << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    return uuid.UUID(int=bits)


def transfer(debit, credit, amount, flags=0, **more):
    return Transfer(id=uuid7(), debit=debit, credit=credit, amount=amount, flags=flags, **more)


def resolve(hold, flags, amount=-1, **more):
    """A post or void of `hold`."""
    return Transfer(id=uuid7(), amount=amount, flags=flags, ref=hold.id, **more)


def open_account(
    connection,
    account_id,
    *,
    normal=1,
    floor=LOWEST,
    cap=HIGHEST,
    status=0,
    currency="CNY",
    kind="test",
    book=BOOK,
):
    connection.execute(
        _OPEN,
        {
            "id": account_id,
            "book": book,
            "kind": kind,
            "normal": normal,
            "floor": floor,
            "cap": cap,
            "status": status,
            "currency": currency,
        },
    )


def reverse(original, flags, amount, **more):
    """A red or blue reversal of `original`."""
    sides = (original.debit, original.credit)
    debit, credit = sides if flags & RED else sides[::-1]
    return transfer(debit, credit, amount, flags, ref=original.id, **more)


def columns(transfers, ends=None, book=BOOK):
    names = Transfer.__annotations__
    asked = {name: [getattr(one, name) for one in transfers] for name in names}
    return asked | {"ends": ends, "book": book}


def post(connection, *transfers, ends=None, book=BOOK):
    """Return the result codes. `ends` are the places of the last transfers of several calls."""
    return connection.execute(POST_SQL, columns(transfers, ends, book)).fetchone()[1]


def balance(connection, account_id):
    """Return (posted balance, pending debits, pending credits)."""
    sql = """
        SELECT normal * (credit - debit), debit_pending, credit_pending
        FROM balance WHERE account_id = %s
    """
    return connection.execute(sql, [account_id]).fetchone()


def connect(dsn):
    return psycopg.connect(dsn, autocommit=True)


_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def waiting(dsn, count):
    """Return when so many connections wait for a lock."""
    with connect(dsn) as watcher:
        await eventually(lambda: watcher.execute(_WAITING).fetchone() == (count,))
