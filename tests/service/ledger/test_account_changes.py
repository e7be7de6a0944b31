"""Block, unblock, close, set limits: once per request, on record, and every posting obeys."""

import asyncio
from functools import partial

import psycopg
import pytest

from ledger.flow.block_account import block_account
from ledger.flow.close_account import close_account
from ledger.flow.get_account import get_account
from ledger.flow.open_account import open_account
from ledger.flow.set_account_limits import set_account_limits
from ledger.flow.unblock_account import unblock_account
from ledger.model import CUSTOMERS, NATURES, Account, AccountKind
from ledger.store.account_change import Terms
from ledger.store.account_view import (
    CAP_NONE,
    CLOSED,
    CREDIT_BLOCKED,
    DEBIT_BLOCKED,
    FLOOR_NONE,
    Named,
)
from mesh.context import Acting, acting_as
from mesh.errors import Refused
from tests.service.ledger.account_world import asked, ids_of, named
from tests.service.ledger.books import PENDING, POST, connect, post, resolve, transfer, waiting
from tests.service.ledger.events import CLEARING, WALLET, booked, open_all, posting

BEN = Account(AccountKind.WALLET, "MALL/u2", "CNY")


@pytest.fixture(autouse=True)
def operator():
    """Who does it."""
    with acting_as(Acting(app_id="mall", caller="admin")):
        yield


async def test_a_blocked_account_refuses_its_side(desk):
    """No debits, no credits, both; and nothing any more when it is unblocked."""
    await open_all(desk)
    assert await booked(desk, posting("RECHARGED")) == ["posted"]

    async def both():
        pay = posting("WALLET_PAID", amount_minor=1)
        return [await booked(desk, one) for one in (pay, posting("RECHARGED", amount_minor=1))]

    view, _ = await block_account(desk, asked(WALLET), marks=DEBIT_BLOCKED)
    assert view.status == DEBIT_BLOCKED
    assert await both() == [["refused DEBIT_ACCOUNT_BLOCKED"], ["posted"]]
    view, _ = await block_account(desk, asked(WALLET), marks=CREDIT_BLOCKED)
    assert view.status == DEBIT_BLOCKED | CREDIT_BLOCKED
    assert await both() == [["refused DEBIT_ACCOUNT_BLOCKED"], ["refused CREDIT_ACCOUNT_BLOCKED"]]
    view, _ = await unblock_account(desk, asked(WALLET), marks=DEBIT_BLOCKED)
    assert view.status == CREDIT_BLOCKED
    assert await both() == [["posted"], ["refused CREDIT_ACCOUNT_BLOCKED"]]
    view, _ = await unblock_account(desk, asked(WALLET), marks=CREDIT_BLOCKED)
    assert view.status == 0
    assert await both() == [["posted"], ["posted"]]


async def test_a_posting_that_waits_meets_the_block(desk, dsn):
    """The block has the book first: whoever posts at the same time is refused."""
    await open_all(desk)
    assert await booked(desk, posting("RECHARGED")) == ["posted"]
    with connect(dsn) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM book FOR UPDATE")
        blocking = asyncio.create_task(block_account(desk, asked(WALLET), marks=DEBIT_BLOCKED))
        await waiting(dsn, 1)
        paying = asyncio.create_task(booked(desk, posting("WALLET_PAID", amount_minor=1)))
        await waiting(dsn, 2)
        holder.execute("COMMIT")
    await blocking

    assert await paying == ["refused DEBIT_ACCOUNT_BLOCKED"]


async def test_a_posting_that_was_first_is_booked(desk, dsn):
    """And the account is not closed under it: it is looked at when the book is ours."""
    await open_all(desk)
    with connect(dsn) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM book FOR UPDATE")
        paying = asyncio.create_task(booked(desk, posting("RECHARGED")))
        await waiting(dsn, 1)
        closing = asyncio.create_task(close_account(desk, asked(WALLET)))
        await waiting(dsn, 2)
        holder.execute("COMMIT")

    assert await paying == ["posted"]
    with pytest.raises(Refused, match=r"account not empty.*posted_minor=10000"):
        await closing


async def test_what_is_on_hold_is_captured_through_a_block(desk, dsn):
    """It was promised before."""
    bank, anne = await ids_of(desk, CLEARING, WALLET)
    with connect(dsn) as connection:
        hold = transfer(bank, anne, 5, PENDING)
        post(connection, hold)
        await block_account(desk, asked(WALLET), marks=CREDIT_BLOCKED)
        assert post(connection, resolve(hold, POST), transfer(bank, anne, 1)) == [0, 23]


async def test_a_request_is_carried_out_once(desk):
    """Again with the same content: known. With other content: refused. Another operator: new."""
    await open_all(desk)
    request = asked(WALLET, request_id="r1", fingerprint=b"one")
    _, known = await block_account(desk, request, marks=DEBIT_BLOCKED)
    assert not known
    await unblock_account(desk, asked(WALLET), marks=DEBIT_BLOCKED)

    view, known = await block_account(desk, request, marks=DEBIT_BLOCKED)

    assert (known, view.status) == (True, 0)
    other = asked(WALLET, request_id="r1", fingerprint=b"two")
    with pytest.raises(Refused) as refused:
        await block_account(desk, other, marks=DEBIT_BLOCKED)
    assert refused.value.reason == "REQUEST_REUSED"
    with pytest.raises(Refused) as refused:  # The verb is a part of the content.
        await unblock_account(desk, request, marks=DEBIT_BLOCKED)
    assert refused.value.reason == "REQUEST_REUSED"
    with acting_as(Acting(caller="another")):
        _, known = await block_account(desk, request, marks=DEBIT_BLOCKED)
    assert not known


async def test_one_request_at_once_for_accounts_of_two_books(desk, dsn):
    """Their locks differ, so their turn is the request id's."""
    await open_all(desk)
    with connect(dsn) as connection:
        connection.execute("INSERT INTO book (book_id, name) VALUES (2, 'ride')")
        connection.execute("INSERT INTO book_of (business_code, book_id) VALUES ('RIDE', 2)")
    there = Account(AccountKind.WALLET, "RIDE/u1", "CNY")
    await open_account(desk, there)
    with connect(dsn) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM book FOR UPDATE")
        tasks = [
            asyncio.create_task(
                block_account(
                    desk, asked(one, request_id="r1", fingerprint=one.name.encode()), marks=1
                )
            )
            for one in (WALLET, there)
        ]
        await waiting(dsn, 2)
        holder.execute("COMMIT")
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert sorted(getattr(one, "reason", "done") for one in results) == ["REQUEST_REUSED", "done"]


async def test_history_says_who_why_and_what(desk, dsn):
    """The newest first; a refused request is not in it; nobody edits it."""
    await open_all(desk)
    await block_account(desk, asked(WALLET, request_id="r1", cause="police"), marks=DEBIT_BLOCKED)
    with acting_as(Acting(caller="eve")):
        await set_account_limits(
            desk, asked(WALLET, request_id="r2", cause="limit"), floor_minor=None, cap_minor=900
        )
    with pytest.raises(Refused):
        await set_account_limits(desk, asked(WALLET), floor_minor=1, cap_minor=None)

    view, history = await get_account(desk, named(WALLET))

    assert (view.status, view.floor_minor, view.cap_minor) == (DEBIT_BLOCKED, 0, 900)
    assert [(one.verb, one.actor, one.cause, one.request_id) for one in history] == [
        ("SET_LIMITS", "op:eve", "limit", "r2"),
        ("BLOCK", "op:admin", "police", "r1"),
    ]
    blocked = Terms(status=DEBIT_BLOCKED, floor_minor=0, cap_minor=None)
    assert history[1].before == Terms(status=0, floor_minor=0, cap_minor=None)
    assert history[1].after == history[0].before == blocked
    assert history[0].after == Terms(status=DEBIT_BLOCKED, floor_minor=0, cap_minor=900)
    assert view.create_time < history[1].create_time < history[0].create_time
    with connect(dsn) as connection:
        for verb in ("UPDATE {} SET actor = ''", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                connection.execute(verb.format("account_change"))


async def test_an_account_closes_when_it_is_empty_and_for_good(desk, dsn):
    """Not with money on it, not with money on hold; then never to be opened again."""
    bank, anne = await ids_of(desk, CLEARING, WALLET)
    with connect(dsn) as connection:
        hold = transfer(bank, anne, 5, PENDING)
        post(connection, hold)
        with pytest.raises(Refused, match=r"account not empty: .*pending_in_minor=5"):
            await close_account(desk, asked(WALLET))
        post(connection, resolve(hold, POST))
        with pytest.raises(Refused, match=r"account not empty: .*posted_minor=5"):
            await close_account(desk, asked(WALLET))
        post(connection, transfer(anne, bank, 5))

        view, _ = await close_account(desk, asked(WALLET))

        assert view.status == CLOSED
        assert post(connection, transfer(bank, anne, 1)) == [23]
    await open_account(desk, WALLET)
    assert await booked(desk, posting("RECHARGED")) == ["refused CREDIT_ACCOUNT_BLOCKED"]
    for again in (
        close_account(desk, asked(WALLET)),
        block_account(desk, asked(WALLET), marks=1),
        unblock_account(desk, asked(WALLET), marks=2),
        set_account_limits(desk, asked(WALLET), floor_minor=None, cap_minor=5),
    ):
        with pytest.raises(Refused, match="account closed"):
            await again


async def test_what_everybody_needs_is_never_closed_blocked_or_limited(desk):
    """Events of others name it: they would be refused, and for ever. Of every such kind."""
    wallets = Account(AccountKind.CLEARING, "balance", "CNY")
    others = [
        Account(kind, "mer_1" if nature.owned else "", "CNY")
        for kind, nature in NATURES.items()
        if kind not in CUSTOMERS
    ]
    assert {one.kind for one in others} == {*AccountKind} - {
        AccountKind.WALLET, AccountKind.MERCHANT_PENDING, AccountKind.MERCHANT_AVAILABLE,
        AccountKind.MERCHANT_RESERVE,
    }  # fmt: skip
    for account in (wallets, *others):
        await open_account(desk, account)
        for verb in (
            close_account,
            partial(block_account, marks=DEBIT_BLOCKED),
            partial(set_account_limits, floor_minor=None, cap_minor=9),
        ):
            with pytest.raises(Refused, match="account indispensable"):
                await verb(desk, asked(account))


async def test_limits_count_what_is_on_hold(desk, dsn):
    """Against a limit that is set, and in postings afterwards."""
    bank, anne = await ids_of(desk, CLEARING, WALLET)
    with connect(dsn) as connection:
        post(connection, transfer(bank, anne, 100), transfer(anne, bank, 30, PENDING))
        post(connection, transfer(bank, anne, 20, PENDING))

        async def limits(floor=None, cap=None, **more):
            return await set_account_limits(
                desk, asked(WALLET), floor_minor=floor, cap_minor=cap, **more
            )

        with pytest.raises(Refused, match="limit=floor, limit_minor=71, stands_minor=70"):
            await limits(floor=71)
        with pytest.raises(Refused, match="limit=cap, limit_minor=119, stands_minor=120"):
            await limits(cap=119)
        with pytest.raises(Refused, match="limits crossed: .*floor_minor=70, cap_minor=69"):
            await limits(floor=70, cap=69)
        view, _ = await limits(floor=60, cap=125)
        assert (view.floor_minor, view.cap_minor, view.available_minor) == (60, 125, 70)
        assert (view.posted_minor, view.pending_in_minor, view.pending_out_minor) == (100, 20, 30)

        assert post(connection, transfer(anne, bank, 11)) == [40]
        assert post(connection, transfer(bank, anne, 6)) == [41]
        assert post(connection, transfer(anne, bank, 10), transfer(bank, anne, 15)) == [0, 0]
        assert (await limits(cap=CAP_NONE))[0].cap_minor is None
        assert post(connection, transfer(bank, anne, 1_000)) == [0]


async def test_a_breach_that_is_allowed_only_heals(desk, dsn):
    """What brings the account back passes, what takes it further out does not."""
    bank, anne = await ids_of(desk, CLEARING, WALLET)
    with connect(dsn) as connection:
        post(connection, transfer(bank, anne, 100))
        view, _ = await set_account_limits(
            desk, asked(WALLET), floor_minor=None, cap_minor=40, allow_breach=True
        )
        assert (view.cap_minor, view.posted_minor) == (40, 100)
        assert post(connection, transfer(bank, anne, 1)) == [41]
        assert post(connection, transfer(anne, bank, 50)) == [0]
        assert post(connection, transfer(bank, anne, 1)) == [41]


async def test_who_never_goes_below_zero_has_a_floor(desk):
    """A wallet's may be raised and lowered to zero; its cap may go away."""
    await open_all(desk)
    for floor in (-1, FLOOR_NONE):
        with pytest.raises(Refused, match="floor too low: .*kind=WALLET"):
            await set_account_limits(desk, asked(WALLET), floor_minor=floor, cap_minor=None)
    view, _ = await set_account_limits(desk, asked(WALLET), floor_minor=0, cap_minor=5_000)
    assert (view.floor_minor, view.cap_minor) == (0, 5_000)
    view, _ = await set_account_limits(desk, asked(WALLET), floor_minor=None, cap_minor=CAP_NONE)
    assert (view.floor_minor, view.cap_minor) == (0, None)


async def test_what_is_not_there_cannot_be_changed(desk):
    """By name, by id, in a book that nobody keeps."""
    await open_all(desk)
    with pytest.raises(Refused, match=f"account not found: account={BEN.name}"):
        await block_account(desk, asked(BEN), marks=1)
    with pytest.raises(Refused, match="account not found: account=99"):
        await get_account(desk, Named(account_id=99))
    await desk.db.rows("DELETE FROM book_of")
    with pytest.raises(Refused, match="book unknown: business_code=OTHER"):
        await get_account(desk, Named(account=BEN, business_code="OTHER"))
