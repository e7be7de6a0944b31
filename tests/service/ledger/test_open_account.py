"""Open an account: once, with the system accounts of its currency, before it is needed."""

import asyncio
from dataclasses import replace

import pytest

from ledger.accounts import Accounts
from ledger.flow.open_account import open_account
from ledger.model import Account, AccountKind
from ledger.postings import TEMPLATES, plan
from mesh.db import Database
from mesh.errors import Refused
from tests.service.ledger.books import connect, waiting
from tests.service.ledger.effects import PARTS
from tests.service.ledger.events import FEES, PENDING, SUSPENSE, WALLET, booked, open_all, posting

SYSTEM = {
    "refund_transit::CNY",
    "suspense::CNY",
    "duplicate::CNY",
    "escrow::CNY",
    "fee_income::CNY",
    "channel_cost::CNY",
    "marketing_expense::CNY",
    "clearing:balance:CNY",
}


async def names(desk):
    """Return the names of all accounts with their limits."""
    rows = await desk.db.rows("""
        SELECT name, normal, floor = 0 AS floored FROM account JOIN balance USING (account_id)
    """)
    return {row.name: (row.normal, row.floored) for row in rows}


async def test_an_account_comes_with_its_system_accounts(desk):
    """Everything that a template may name beside it."""
    await open_account(desk, WALLET)

    assert set(await names(desk)) == {WALLET.name} | SYSTEM


async def test_every_kind_has_its_side_and_its_floor(desk):
    """Liabilities that belong to somebody never go below zero."""
    await open_all(desk)

    assert await names(desk) == {
        "wallet:MALL/u1:CNY": (1, True),
        "merchant_pending:mer_1:CNY": (1, True),
        "clearing:sim:CNY": (-1, False),
        "clearing:balance:CNY": (-1, False),
        "refund_transit::CNY": (1, True),
        "suspense::CNY": (1, False),
        "duplicate::CNY": (1, False),
        "escrow::CNY": (1, True),
        "fee_income::CNY": (1, False),
        "channel_cost::CNY": (-1, False),
        "marketing_expense::CNY": (-1, False),
    }


async def test_opening_again_changes_nothing(desk):
    """By the process that opened it, and by one that never saw it."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))
    before = await desk.db.rows("SELECT account_id, debit, credit FROM balance ORDER BY 1")

    await open_account(desk, PENDING)
    other = replace(desk, accounts=Accounts(desk.db))
    await open_account(other, PENDING)

    after = await desk.db.rows("SELECT account_id, debit, credit FROM balance ORDER BY 1")
    assert before == after


async def test_many_who_open_at_once_agree(desk, dsn):
    """Two replicas, each with forty wallets of one line, half of them the same."""
    async with Database(dsn) as db:
        twin = replace(desk, db=db, accounts=Accounts(db))
        wallets = [Account(AccountKind.WALLET, f"MALL/u{n}", "CNY") for n in range(60)]

        await asyncio.gather(
            *(open_account(desk, wallet) for wallet in wallets[:40]),
            *(open_account(twin, wallet) for wallet in wallets[20:]),
        )

        everything = [one.name for one in wallets] + sorted(SYSTEM)
        assert set(await names(desk)) == set(everything)
        assert await desk.accounts.ids(1, everything) == await twin.accounts.ids(1, everything)


async def test_an_account_that_opens_under_our_hands_is_found(desk, dsn):
    """We wait for its name, and our statement cannot see who took it: we look once more."""
    await open_all(desk)
    late = Account(AccountKind.WALLET, "MALL/u9", "CNY")
    with connect(dsn) as holder, holder.transaction():
        [account_id] = holder.execute("""
            WITH a AS (
                INSERT INTO account (book_id, kind, owner, currency_code)
                VALUES (1, 'wallet', 'MALL/u9', 'CNY') RETURNING account_id
            )
            INSERT INTO balance (account_id, book_id, normal, floor, currency_code)
            SELECT account_id, 1, 1, 0, 'CNY' FROM a RETURNING account_id
        """).fetchone()
        opening = asyncio.create_task(open_account(desk, late))
        await waiting(dsn, 1)
    await opening

    assert await desk.accounts.ids(1, [late.name]) == [account_id]


async def test_a_currency_must_exist(desk):
    """Before anything is opened."""
    with pytest.raises(Refused, match="currency unknown: currency_code=XYZ"):
        await open_account(desk, Account(AccountKind.WALLET, "MALL/u1", "XYZ"))

    assert await names(desk) == {}


async def test_an_account_opened_elsewhere_is_found(desk):
    """What was missing is looked for again, what was found is not."""
    accounts = Accounts(desk.db)
    assert await accounts.ids(1, [WALLET.name]) == [None]
    await open_account(desk, WALLET)

    [found] = await accounts.ids(1, [WALLET.name])
    assert found is not None
    looked = sum(desk.db.sizes()["find_account"].values())
    assert await accounts.ids(1, [WALLET.name]) == [found]
    assert sum(desk.db.sizes()["find_account"].values()) == looked


async def test_what_is_forgotten_is_asked_for_again(desk):
    """A process remembers so many names, and never takes a forgotten account for a missing one."""
    await open_all(desk)
    wanted = [WALLET.name, PENDING.name, FEES.name, SUSPENSE.name]
    ids = await desk.accounts.ids(1, wanted)
    small = Accounts(desk.db, names_max=2)

    for _ in range(3):
        assert await small.ids(1, wanted) == ids
        assert await small.ids(1, wanted[::-1]) == ids[::-1]


# What trade and channel open before anybody of theirs goes live.
LIVE = [
    (AccountKind.WALLET, ("MALL/u1", "MALL/u2")),
    (AccountKind.MERCHANT_PENDING, ("mer_1", "mer_2")),
    (AccountKind.MERCHANT_AVAILABLE, ("mer_1", "mer_2")),
    (AccountKind.MERCHANT_RESERVE, ("mer_1", "mer_2")),
    (AccountKind.CLEARING, ("sim",)),
]
# What is only there once something stands on it: opened by the template that put it there.
FILLED_FIRST = {AccountKind.RECEIVABLE, AccountKind.PAYOUT_TRANSIT}


async def test_no_template_misses_an_account_of_who_is_live(desk):
    """All that do not open accounts; those of what was put somewhere before are there by then."""
    for kind, owners in LIVE:
        for owner in owners:
            await open_account(desk, Account(kind, owner, "CNY"))
    lives = [name for name, one in TEMPLATES.items() if not one.opens]
    for name in lives:
        event = posting(name, **PARTS)
        legs = {Account.of(side) for one in plan(event)[1] for side in (one.debit, one.credit)}
        missing = {one.kind for one in legs if await desk.accounts.ids(1, [one.name]) == [None]}
        assert missing <= FILLED_FIRST, name
        for kind in missing:
            fills = [other for other, one in TEMPLATES.items() if one.opens and any(
                kind in (leg.debit.kind, leg.credit.kind) for leg in one.legs)]  # fmt: skip
            assert fills, (name, kind)
