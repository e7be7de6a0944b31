"""What the tests of this service share: numbers, orders, replicas, what came out of the outbox."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.conninfo import make_conninfo

from mesh.clock import Clock
from mesh.config import load
from mesh.context import Acting, acting_as, within
from mesh.crew import Crew
from mesh.db import Database
from mesh.measures import Measures
from mesh.numbers import Kind, Numbers
from mesh.seal import Seal
from mesh.serve import Runtime
from mesh.tokens import Signer
from mesh.wire import money
from payment.attempt import Attempt, AttemptState, leg_of
from payment.flow.close_payment import close_payment
from payment.flow.create_payment import create_payment
from payment.flow.create_refund import create_refund
from payment.service import opened
from payment.store.payment import find_payment
from payment.store.refund import find_refund
from payment.wire import content_of, order_from_item, payment_from_item
from tests.waiting import eventually
from tongbao.common.v1 import event_pb2, item_pb2, kinds_pb2
from tongbao.payment.v1 import payment_service_pb2 as pb

CLOCK = Clock()
NUMBERS = Numbers(CLOCK, node=7, lease=7)
TRACE = "MALL-1"


async def open_replica(stack: AsyncExitStack, dsn: str, folder, *, lock_timeout="20s"):
    """Return the desk of one more replica, closed with `stack`.

    It waits longer for locks than a real one, so that a race can be arranged on a slow machine.
    """
    dsn = make_conninfo(dsn, options=f"-c lock_timeout={lock_timeout}")
    db = await stack.enter_async_context(Database(dsn))
    runtime = Runtime(
        settings=load("payment", home=folder, socket_dir=folder, database_dsn=dsn),
        db=db,
        clock=Clock(),
        numbers=NUMBERS,
        signer=Signer("svc:payment", Ed25519PrivateKey.generate()),
        seal=Seal(AESGCM.generate_key(256)),
        crew=Crew(),
        stack=stack,
        measures=Measures(db, CLOCK, ()),
    )
    return await stack.enter_async_context(opened(runtime))


def payment_item(amount_minor=100, *, app_id="mall", currency_code="CNY", **fields):
    """Return an item that asks for a new payment."""
    defaults = {
        "payment_no": NUMBERS.next(Kind.PAYMENT),
        "trade_no": NUMBERS.next(Kind.TRADE),
        "business_code": "MALL",
        "trade_type": kinds_pb2.TRADE_TYPE_COLLECT,
        "tool": kinds_pb2.TOOL_QR_PAYER,
        "merchant_id": "mer_1",
        "fee_minor": 1,
        "subject": "tea",
    }
    context = item_pb2.ItemContext(app_id=app_id, trace_no=TRACE)
    amount = money(currency_code, amount_minor)
    return pb.CreatePaymentItem(context=context, amount=amount, **defaults | fields)


def refund_item(payment_no, amount_minor, currency_code="CNY", *, app_id="mall", **fields):
    """Return an item that asks for a new refund."""
    return pb.CreateRefundItem(
        context=item_pb2.ItemContext(app_id=app_id, trace_no=TRACE),
        payment_no=payment_no,
        amount=money(currency_code, amount_minor),
        **{"refund_no": NUMBERS.next(Kind.REFUND)} | fields,
    )


@contextmanager
def on_behalf_of(app_id="mall", *, seconds=10.0):
    """Act as the door does for an item of `app_id`."""
    with acting_as(Acting(app_id=app_id, trace_no=TRACE)), within(seconds):
        yield


async def pay(desk, item, *, seconds=10.0):
    """Carry out a payment item as the door does."""
    with on_behalf_of(item.context.app_id, seconds=seconds):
        payment = payment_from_item(item, now=desk.clock.now())
        return await create_payment(desk, payment=payment, fingerprint=content_of(item))


async def close(desk, item, *, seconds=10.0):
    """Close a payment item as the door does."""
    with on_behalf_of(item.context.app_id, seconds=seconds):
        payment = payment_from_item(item, now=desk.clock.now())
        return await close_payment(desk, payment=payment, fingerprint=content_of(item))


async def refund(desk, item, *, seconds=10.0):
    """Carry out a refund item as the door does."""
    with on_behalf_of(item.context.app_id, seconds=seconds):
        return await create_refund(desk, order=order_from_item(item), fingerprint=content_of(item))


async def together(*calls):
    """Return the results and errors of all calls at once, in order."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def the_payment(desk, payment_no, *, app_id="mall"):
    return await find_payment(desk.db, app_id=app_id, payment_no=payment_no)


async def the_refund(desk, refund_no, *, app_id="mall"):
    return await find_refund(desk.db, app_id=app_id, refund_no=refund_no)


async def seed(desk, **columns):
    """Write a payment into the table as if it had come there; return its number."""
    row = {
        "payment_no": NUMBERS.next(Kind.PAYMENT), "app_id": "mall", "business_code": "MALL",
        "trace_no": TRACE, "trade_no": NUMBERS.next(Kind.TRADE), "trade_type": "COLLECT",
        "tool": "QR_PAYER", "currency_code": "CNY", "amount_minor": 100, "merchant_id": "mer_1",
        "user_no": "", "subject": "", "fee_minor": 1, "state": "succeeded", "fingerprint": b"",
        "channel_code": "sim", "attempt_no": "A1",
    } | columns  # fmt: skip
    return await _insert(desk, "payment", row, number=row["payment_no"])


async def seed_refund(desk, payment_no, **columns):
    """Write a refund into the table as if it had come there; return its number."""
    row = {
        "refund_no": NUMBERS.next(Kind.REFUND), "payment_no": payment_no, "app_id": "mall",
        "business_code": "MALL", "trace_no": TRACE, "trade_no": NUMBERS.next(Kind.TRADE),
        "currency_code": "CNY", "amount_minor": 60, "fee_minor": 0, "merchant_id": "mer_1",
        "state": "processing", "fingerprint": b"", "channel_code": "sim",
    } | columns  # fmt: skip
    return await _insert(desk, "refund", row, number=row["refund_no"])


async def _insert(desk, table, row, *, number):
    if row["state"] in ("created", "processing"):
        row = {"due_time": desk.clock.now()} | row
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    await desk.db.rows(f"INSERT INTO {table} ({names}) VALUES ({values})", **row)
    return number


def word(number, state, **fields):
    """Return what channel says of the one leg of `number`."""
    defaults = {
        "attempt_no": "A1", "leg_no": leg_of(number), "app_id": "mall", "channel_code": "sim",
        "currency_code": "CNY", "amount_minor": 100,
    }  # fmt: skip
    return Attempt(state=AttemptState(state), **defaults | fields)


async def published(desk, number):
    """Return (type, version, payload) of every event of `number` that committed, in order."""
    rows = await desk.db.rows("SELECT events FROM outbox ORDER BY outbox_id")
    events = [one for row in rows for one in event_pb2.EventBatch.FromString(row.events).events]
    return [
        (one.type.rpartition(".")[2], one.version, one.payload)
        for one in events
        if one.number == number
    ]


async def told(desk, number):
    """Return the types of the events of `number`, in order."""
    return [kind for kind, _, _ in await published(desk, number)]


async def cases_of(desk, number):
    """Return (kind, state) of the cases about `number`."""
    sql = "SELECT kind, state FROM exception_case WHERE number = %(number)s ORDER BY kind"
    return [tuple(row) for row in await desk.db.rows(sql, number=number)]


async def resolve(desk):
    """Let every open case be resolved as it would be, without carrying anything out."""
    await desk.db.rows("UPDATE exception_case SET state = 'executing', due_time = now()")
    await desk.db.rows("UPDATE exception_case SET state = 'resolved', due_time = NULL")


@asynccontextmanager
async def holding(dsn, lock, *params, rolls_back=False):
    """Hold what `lock` locks inside the block; commit or roll back at its end."""
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute("SET idle_in_transaction_session_timeout = 0")
        await holder.execute(lock, params)
        yield holder
        await (holder.rollback() if rolls_back else holder.commit())


async def waiting(dsn, count):
    """Return when `count` backends of this database wait for a lock."""
    sql = """SELECT count(*) FROM pg_stat_activity
             WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    with psycopg.connect(dsn, autocommit=True) as watcher:
        await eventually(lambda: watcher.execute(sql).fetchone() == (count,))


async def race(dsn, count, calls, lock, *params, rolls_back=False):
    """Start all calls while `lock` is held; let go once `count` replicas wait for it."""
    async with holding(dsn, lock, *params, rolls_back=rolls_back):
        running = asyncio.ensure_future(together(*calls))
        await waiting(dsn, count)
    return await running
