"""Lists: accounts by what they are and how they stand, an owner's, and holds."""

import pytest

from ledger.flow.block_account import block_account
from ledger.flow.close_account import close_account
from ledger.flow.list_accounts import list_accounts
from ledger.flow.list_holds import list_holds
from ledger.flow.list_owner_accounts import list_owner_accounts
from ledger.flow.open_account import open_account
from ledger.model import Account, AccountKind
from ledger.store.account_view import CREDIT_BLOCKED, DEBIT_BLOCKED, Wish
from ledger.store.holds_view import HoldState
from mesh.context import Acting, acting_as
from tests.service.ledger.account_world import WALLETS, asked, ids_of, named, page_of, pages
from tests.service.ledger.books import (
    PARTIAL,
    PENDING,
    POST,
    VOID,
    connect,
    post,
    resolve,
    transfer,
)
from tests.service.ledger.events import CLEARING, WALLET, booked, open_all, posting
from tests.service.ledger.events import PENDING as MERCHANT

DOLLARS = Account(AccountKind.WALLET, "MALL/u1", "USD")
DEBT = Account(AccountKind.RECEIVABLE, "MALL/u1", "CNY")


async def listed(desk, size=50, **wish):
    views = await pages(lambda page: list_accounts(desk, wish=Wish(**wish), page=page), size)
    return [view.account for view in views]


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_accounts_are_found_by_what_they_are(desk, size):
    """The newest first, each once."""
    for account in (*WALLETS, DOLLARS, MERCHANT):
        await open_account(desk, account)

    assert await listed(desk, size, kind="wallet") == [DOLLARS, *WALLETS[::-1]]
    assert await listed(desk, size, kind="wallet", currency_code="CNY") == WALLETS[::-1]
    assert await listed(desk, size, owner="MALL/u1") == [DOLLARS, WALLETS[1]]
    assert await listed(desk, size, owner="mer_1", kind="wallet") == []
    [count] = await desk.db.rows("SELECT count(*) AS n FROM account")
    everything = await listed(desk, size)
    assert len(set(everything)) == len(everything) == count.n


@pytest.mark.parametrize("size", [1, 50])
async def test_accounts_are_found_by_how_they_stand(desk, size):
    """Blocked for either side, closed, or as they should be."""
    for account in WALLETS:
        await open_account(desk, account)
    with acting_as(Acting(caller="admin")):
        await block_account(desk, asked(WALLETS[0]), marks=DEBIT_BLOCKED)
        await block_account(desk, asked(WALLETS[1]), marks=CREDIT_BLOCKED)
        await block_account(desk, asked(WALLETS[2]), marks=DEBIT_BLOCKED | CREDIT_BLOCKED)
        await close_account(desk, asked(WALLETS[3]))
    debits = {"statuses": (1, 3, 5, 7), "marked": True}
    credit = {"statuses": (2, 3, 6, 7), "marked": True}

    assert await listed(desk, size, **debits) == [WALLETS[2], WALLETS[0]]
    assert await listed(desk, size, **credit) == [WALLETS[2], WALLETS[1]]
    assert await listed(desk, size, statuses=(4, 5, 6, 7), marked=True) == [WALLETS[3]]
    active = await listed(desk, size, statuses=(0,), kind="wallet")
    assert active == [WALLETS[5], WALLETS[4]]


async def test_an_owner_sees_all_that_is_theirs(desk):
    """Wallets and debts of a person, what a merchant is owed; not a channel of that name."""
    await open_all(desk)
    for account in (DOLLARS, DEBT, Account(AccountKind.CLEARING, "mer_1", "CNY")):
        await open_account(desk, account)
    assert await booked(desk, posting("COLLECTED"), posting("RECHARGED")) == ["posted"] * 2

    views = await list_owner_accounts(desk, owner="MALL/u1")

    assert [view.account for view in views] == [DEBT, WALLET, DOLLARS]
    assert [view.posted_minor for view in views] == [0, 10_000, 0]
    views = await list_owner_accounts(desk, owner="MALL/u1", currency_code="USD")
    assert [view.account for view in views] == [DOLLARS]
    [pending] = await list_owner_accounts(desk, owner="mer_1")
    assert (pending.account, pending.available_minor) == (MERCHANT, 9_940)
    assert await list_owner_accounts(desk, owner="mer_2") == []
    assert await list_owner_accounts(desk, owner="") == []


@pytest.mark.parametrize("size", [1, 2, 50])
async def test_holds_of_an_account_are_listed(desk, dsn, size):
    """On either side, in any state, the newest first; of others nothing."""
    bank, anne, ben = await ids_of(desk, CLEARING, WALLETS[1], WALLETS[2])
    with connect(dsn) as connection:
        post(connection, transfer(bank, anne, 100))
        ins, out, part, other, gone = (
            transfer(bank, anne, 10, PENDING),
            transfer(anne, ben, 20, PENDING, ttl=3_600),
            transfer(anne, bank, 30, PENDING),
            transfer(bank, ben, 40, PENDING),
            transfer(bank, anne, 50, PENDING),
        )
        assert post(connection, ins, out, part, other, gone) == [0] * 5
        resolved = resolve(ins, POST), resolve(part, POST | PARTIAL, 12), resolve(gone, VOID)
        assert post(connection, *resolved) == [0, 0, 0]
        order = sorted([ins, out, part, gone], key=lambda one: one.id, reverse=True)

    async def holds(*states):
        return await pages(
            lambda page: list_holds(desk, named(WALLETS[1]), states=states, page=page), size
        )

    found = {hold.id: hold for hold in await holds()}
    assert list(found) == [one.id for one in order]
    assert {
        key: (one.state, one.amount_minor, one.remaining_minor) for key, one in found.items()
    } == {
        ins.id: (HoldState.CAPTURED, 10, 0),
        out.id: (HoldState.OPEN, 20, 20),
        part.id: (HoldState.OPEN, 30, 18),
        gone.id: (HoldState.RELEASED, 50, 0),
    }
    assert (found[out.id].debit, found[out.id].credit) == (WALLETS[1], WALLETS[2])
    assert found[out.id].expire_time > found[out.id].create_time
    assert found[ins.id].expire_time is None
    assert {hold.id for hold in await holds(HoldState.OPEN)} == {out.id, part.id}
    assert await holds(HoldState.EXPIRED) == []


async def test_an_account_without_holds_has_none(desk):
    """An empty page, and none behind it."""
    await open_all(desk)
    assert await list_holds(desk, named(WALLET), states=(), page=page_of(5)) == ([], "")
