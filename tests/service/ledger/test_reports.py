"""What can be read: balances, traces, the trial balance."""

import pytest

from ledger.flow.get_balance import get_balance
from ledger.flow.get_trial_balance import get_trial_balance
from ledger.flow.list_trace_entries import list_trace_entries
from ledger.flow.open_account import open_account
from ledger.model import Account, AccountKind
from mesh.context import Acting, acting_as
from mesh.errors import Refused
from tests.service.ledger.events import (
    CLEARING,
    COSTS,
    FEES,
    PENDING,
    WALLET,
    booked,
    open_all,
    posting,
)


async def test_a_balance_is_in_its_normal_direction(desk):
    """What we owe and what we are owed are both positive."""
    await open_all(desk)
    await booked(desk, posting("COLLECTED"))

    figures = [await get_balance(desk, one) for one in (CLEARING, PENDING, FEES, COSTS, WALLET)]

    assert figures == [9_962, 9_940, 60, 38, 0]


async def test_a_missing_account_has_no_balance(desk):
    """Not zero: it was never opened."""
    with pytest.raises(Refused, match=r"account not found: account=wallet:MALL/u1:CNY"):
        await get_balance(desk, WALLET)


async def test_a_trace_lists_vouchers_and_entries_as_booked(desk):
    """Each voucher, then its entries, with the accounts by name."""
    await open_all(desk)
    collected, asked = posting("COLLECTED"), posting("REFUND_ASKED", fee_minor=0)
    await booked(desk, collected, posting("COLLECTED", trace_no="MALL-2"), asked)

    listed = await list_trace_entries(desk, app_id="mall", trace_no="MALL-1")

    assert [(one.kind, one.amount.minor_units) for one in listed] == [
        ("voucher", 10_000),
        ("entry", 9_940),
        ("entry", 60),
        ("entry", 38),
        ("voucher", 10_000),
        ("entry", 10_000),
    ]
    assert [dict(one.facts) for one in listed if one.kind == "voucher"] == [
        {"template": "COLLECTED", "source_no": collected.source_no},
        {"template": "REFUND_ASKED", "source_no": asked.source_no},
    ]
    assert [(one.facts["debit"], one.facts["credit"]) for one in listed if one.kind == "entry"] == [
        ("clearing:sim:CNY", "merchant_pending:mer_1:CNY"),
        ("clearing:sim:CNY", "fee_income::CNY"),
        ("channel_cost::CNY", "clearing:sim:CNY"),
        ("merchant_pending:mer_1:CNY", "refund_transit::CNY"),
    ]
    assert {one.facts["voucher"] for one in listed[1:4]} == {listed[0].number}
    assert {one.service for one in listed} == {"ledger"}
    assert {one.state for one in listed} == {""}
    assert len({one.number for one in listed}) == 6
    assert all(one.create_time == one.update_time for one in listed)


async def test_a_trace_belongs_to_its_app(desk):
    """Another app's vouchers are not shown, under whatever trace number."""
    await open_all(desk)
    with acting_as(Acting(app_id="shop")):
        await booked(desk, posting("COLLECTED"))

    assert await list_trace_entries(desk, app_id="mall", trace_no="MALL-1") == []
    assert len(await list_trace_entries(desk, app_id="shop", trace_no="MALL-1")) == 4


async def test_the_trial_balance_is_even(desk):
    """By currency, kind and owner; wallets and merchants summed up, clearing one by one."""
    await open_all(desk)
    await open_account(desk, Account(AccountKind.WALLET, "MALL/u2", "CNY"))
    await open_account(desk, Account(AccountKind.CLEARING, "alipay", "USD"))
    await booked(desk, posting("COLLECTED"), posting("RECHARGED"), posting("WALLET_PAID"))

    totals = await get_trial_balance(desk)

    lines = [
        (one.currency_code, one.kind, one.owner, one.debit_minor, one.credit_minor, one.accounts)
        for one in totals
    ]
    assert lines[:11] == [
        ("CNY", "channel_cost", "", 76, 0, 1),
        ("CNY", "clearing", "balance", 0, 10_000, 1),
        ("CNY", "clearing", "sim", 20_000, 76, 1),
        ("CNY", "duplicate", "", 0, 0, 1),
        ("CNY", "escrow", "", 0, 0, 1),
        ("CNY", "fee_income", "", 0, 60, 1),
        ("CNY", "marketing_expense", "", 0, 0, 1),
        ("CNY", "merchant_pending", "", 0, 9_940, 1),
        ("CNY", "refund_transit", "", 0, 0, 1),
        ("CNY", "suspense", "", 0, 0, 1),
        ("CNY", "wallet", "", 10_000, 10_000, 2),
    ]
    assert [line[:3] for line in lines[11:]] == [
        ("USD", "channel_cost", ""),
        ("USD", "clearing", "alipay"),
        ("USD", "clearing", "balance"),
        ("USD", "duplicate", ""),
        ("USD", "escrow", ""),
        ("USD", "fee_income", ""),
        ("USD", "marketing_expense", ""),
        ("USD", "refund_transit", ""),
        ("USD", "suspense", ""),
    ]
    assert sum(line[3] for line in lines) == sum(line[4] for line in lines)
