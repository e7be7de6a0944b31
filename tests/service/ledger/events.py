"""What the ledger is told in these tests, and how its accounts stand afterwards."""

import dataclasses

from ledger.flow.open_account import open_account
from ledger.flow.post import post
from ledger.model import Account, AccountKind, Posting
from mesh.clock import Clock
from mesh.numbers import Kind, Numbers
from mesh.wire import money
from tongbao.common.v1 import event_pb2, kinds_pb2
from tongbao.payment.v1 import payment_pb2

NUMBERS = Numbers(Clock(), node=0, lease=0)

WALLET = Account(AccountKind.WALLET, "MALL/u1", "CNY")
PENDING = Account(AccountKind.MERCHANT_PENDING, "mer_1", "CNY")
CLEARING = Account(AccountKind.CLEARING, "sim", "CNY")
WALLETS = Account(AccountKind.CLEARING, "balance", "CNY")
TRANSIT = Account(AccountKind.REFUND_TRANSIT, "", "CNY")
SUSPENSE = Account(AccountKind.SUSPENSE, "", "CNY")
FEES = Account(AccountKind.FEE_INCOME, "", "CNY")
COSTS = Account(AccountKind.CHANNEL_COST, "", "CNY")


async def open_all(desk):
    """Open what a business line with one merchant, one channel and one user needs."""
    for account in (WALLET, PENDING, CLEARING):
        await open_account(desk, account)


def posting(template, *, source_no=None, **facts):
    """A business event of 10,000 with a fee of 60 and a cost of 38."""
    event = Posting(
        template=template,
        source_no=source_no or NUMBERS.next(Kind.PAYMENT),
        trace_no="MALL-1",
        business_code="MALL",
        currency_code="CNY",
        amount_minor=10_000,
        fee_minor=60,
        cost_minor=38,
        channel_code="sim",
        merchant_id="mer_1",
        user_no="u1",
        to_user_no="u2",
        to_merchant_id="mer_2",
        to_channel_code="bank",
    )
    return dataclasses.replace(event, **facts)


async def booked(desk, *events):
    """Book the events one after the other; return `outcome refusal` of each."""
    results = await post(desk, events)
    return [f"{one.outcome} {one.refusal}".strip() for one in results]


def payment(trade_type=kinds_pb2.TRADE_TYPE_COLLECT, **fields):
    """A payment that succeeded, with the facts of `posting`."""
    known = {
        "payment_no": NUMBERS.next(Kind.PAYMENT),
        "trade_no": NUMBERS.next(Kind.TRADE),
        "app_id": "mall",
        "business_code": "MALL",
        "trace_no": "MALL-1",
        "trade_type": trade_type,
        "amount": money("CNY", 10_000),
        "merchant_id": "mer_1",
        "user_no": "u1",
        "fee_minor": 60,
        "cost_minor": 38,
        "channel_code": "sim",
        "state": payment_pb2.Payment.STATE_SUCCEEDED,
        "version": 3,
    }
    return payment_pb2.Payment(**(known | fields))


def refund(**fields):
    """A refund of 5,000, 30 of it from our fee."""
    known = {
        "refund_no": NUMBERS.next(Kind.REFUND),
        "payment_no": NUMBERS.next(Kind.PAYMENT),
        "app_id": "mall",
        "business_code": "MALL",
        "trace_no": "MALL-1",
        "amount": money("CNY", 5_000),
        "fee_minor": 30,
        "merchant_id": "mer_1",
        "channel_code": "sim",
        "version": 2,
    }
    return payment_pb2.Refund(**(known | fields))


async def standing(desk):
    """Return every balance that is not zero, by name, in the account's normal direction."""
    rows = await desk.db.rows("""
        SELECT name, normal * (credit - debit) AS balance
        FROM account JOIN balance USING (account_id) WHERE credit <> debit
    """)
    return {row.name: row.balance for row in rows}


async def published(desk, kind):
    """Return what the outbox holds of the events of one kind, oldest first."""
    rows = await desk.db.rows("SELECT events FROM outbox ORDER BY outbox_id")
    batches = [event_pb2.EventBatch.FromString(row.events) for row in rows]
    happened = [event for batch in batches for event in batch.events]
    name = kind.DESCRIPTOR.full_name
    return [kind.FromString(event.payload) for event in happened if event.type == name]


async def block(desk, account, status):
    """Block an account: 1 debits, 2 credits."""
    sql = """
        UPDATE balance SET status = %(status)s
        WHERE account_id = (SELECT account_id FROM account WHERE name = %(name)s)
    """
    await desk.db.rows(sql, status=status, name=account.name)
