"""Templates on the books: every one is booked for real, in every kind of currency."""

from collections import Counter
from itertools import product
from string import ascii_uppercase

import pytest

from ledger.flow.open_account import open_account
from ledger.flow.prove_book import prove_book
from ledger.model import NATURES, Account, AccountKind
from ledger.postings import TEMPLATES, plan
from ledger.store.posting import Chain, post_chain
from mesh.money import DECIMALS, rate_of
from mesh.numbers import derived_id
from tests.service.ledger.books import uuid7
from tests.service.ledger.effects import EFFECTS, PAIRS, PARTS
from tests.service.ledger.events import (
    CLEARING,
    PENDING,
    SUSPENSE,
    WALLET,
    booked,
    open_all,
    posting,
    standing,
)

# What fills the accounts that never go below zero, in this order; by templates, as all is.
FILLS = [
    ("RECHARGED", 2, {}),
    ("RECHARGED", 2, {"user_no": "u2"}),
    ("COLLECTED", 5, {}),
    ("COLLECTED", 5, {"merchant_id": "mer_2"}),
    ("SETTLED", 3, {"reserve_minor": 10**6}),
    ("SETTLED", 3, {"merchant_id": "mer_2", "reserve_minor": 10**6}),
    ("PAYOUT_ASKED", 1, {}),
    ("WITHDRAWAL_ASKED", 1, {}),
    ("ESCROWED", 1, {}),
    ("GOODWILL_ASKED", 1, {}),
]


async def fill(desk, currency="CNY"):
    """Open what must be open before, and put a million or more on every account with a floor."""
    for kind, owner in [
        (AccountKind.WALLET, "MALL/u1"),
        (AccountKind.WALLET, "MALL/u2"),
        (AccountKind.MERCHANT_PENDING, "mer_1"),
        (AccountKind.MERCHANT_PENDING, "mer_2"),
        (AccountKind.CLEARING, "sim"),
    ]:
        await open_account(desk, Account(kind, owner, currency))
    plain = {"currency_code": currency, "fee_minor": 0, "cost_minor": 0}
    for template, millions, facts in FILLS:
        event = posting(template, amount_minor=millions * 10**6, **plain, **facts)
        assert await booked(desk, event) == ["posted"]
    floored = {kind for kind, nature in NATURES.items() if nature.floored}
    assert floored == {Account.of(name).kind for name in await standing(desk)} & floored


async def credits(desk):
    """Return what every account got in sum, by name; credits positive."""
    rows = await desk.db.rows(
        "SELECT name, credit - debit AS got FROM account JOIN balance USING (account_id)"
    )
    return Counter({row.name: row.got for row in rows})


def change(before, after):
    moved = {name: after[name] - before[name] for name in {*before, *after}}
    return {name: amount for name, amount in moved.items() if amount}


async def proved(desk):
    """The trial balance is zero in every currency, and nothing is wrong with any book."""
    sums = await desk.db.rows("""
        SELECT currency_code, sum(credit - debit)::bigint AS gap FROM balance
        GROUP BY 1 HAVING sum(credit - debit) <> 0
    """)
    assert sums == []
    assert (await prove_book(desk)).findings == []


async def test_every_template_books_what_the_table_says(desk):
    """All of them in one book, one after the other; then the book is proved."""
    await fill(desk)

    for name, effect in EFFECTS.items():
        before = await credits(desk)
        assert await booked(desk, posting(name, **PARTS)) == ["posted"], name
        assert change(before, await credits(desk)) == effect.change, name

    await proved(desk)


async def test_there_and_back_leaves_every_account_as_it_was(desk):
    """With a fee and without: asked and failed, reversed and restored, done and undone."""
    await fill(desk)
    start = await credits(desk)

    for there, back, _ in PAIRS:
        for fee_minor in (0, 60):
            events = [posting(name, fee_minor=fee_minor, **PARTS) for name in (there, back)]
            assert await booked(desk, *events) == ["posted", "posted"], (there, back)
            assert change(start, await credits(desk)) == {}, (there, back)

    await proved(desk)


@pytest.mark.parametrize("currency", ["JPY", "CNY", "KWD", "BHD"])
async def test_minor_units_are_exact_in_every_currency(desk, currency):
    """Yen have no decimals, dinars three: 12.345 of a currency to the last unit it knows."""
    await open_account(desk, Account(AccountKind.MERCHANT_PENDING, "mer_1", currency))
    await open_account(desk, Account(AccountKind.CLEARING, "sim", currency))
    paid = 12_345 // 10 ** (3 - DECIMALS[currency])
    fee = rate_of(paid, 6_000)
    assert (paid, fee) == {0: (12, 0), 2: (1_234, 7), 3: (12_345, 74)}[DECIMALS[currency]]
    plain = {"currency_code": currency, "cost_minor": 0}

    got = await booked(
        desk,
        posting("COLLECTED", amount_minor=paid, fee_minor=fee, **plain),
        posting("SETTLED", amount_minor=paid - fee, fee_minor=0, **plain),
        posting("PAYOUT_ASKED", amount_minor=paid - fee, fee_minor=0, **plain),
        posting("PAYOUT_SUCCEEDED", amount_minor=paid - fee, fee_minor=1, **plain),
        posting("FUND_IN_MATCHED", amount_minor=paid, **plain),
        posting("ROUNDED_DOWN", amount_minor=1, **plain),
    )

    assert got == ["posted"] * 6
    left = {
        f"cash:sim:{currency}": paid,
        f"clearing:sim:{currency}": fee - paid,  # One for rounding, one less paid out.
        f"fee_income::{currency}": fee + 1,
        f"rounding::{currency}": 1,
    }
    assert await standing(desk) == left
    await proved(desk)


async def test_every_template_books_in_currencies_without_and_with_three_decimals(desk):
    """The legs are the same, whatever a unit is worth."""
    for currency in ("JPY", "KWD"):
        await fill(desk, currency)
        for name, effect in EFFECTS.items():
            before = await credits(desk)
            event = posting(name, currency_code=currency, **PARTS)
            assert await booked(desk, event) == ["posted"], name
            got = change(before, await credits(desk))
            assert got == {f"{k[:-3]}{currency}": v for k, v in effect.change.items()}, name

    await proved(desk)


def takes_from_a_floor(name):
    """Whether an event takes from an account that never goes below zero."""
    _, entries = plan(posting(name, **PARTS))
    return any(NATURES[Account.of(one.debit).kind].floored for one in entries)


async def test_accounts_of_another_currency_are_not_found(desk):
    """An event names its accounts in its own currency, so it cannot meet those of another.

    It finds none, or opens new ones that are empty. What stood in yuan does not move.
    """
    await fill(desk)
    before = await credits(desk)
    foreign = map("".join, product("XYZ", ascii_uppercase, ascii_uppercase))

    for name, currency in zip(TEMPLATES, foreign, strict=False):
        [answer] = await booked(desk, posting(name, currency_code=currency, **PARTS))
        if TEMPLATES[name].opens:
            floored = "refused EXCEEDS_FLOOR"
            assert answer == (floored if takes_from_a_floor(name) else "posted"), name
        else:
            assert answer.endswith(" DEBIT_ACCOUNT_NOT_FOUND"), name

    moved = change(before, await credits(desk))
    assert [name for name in moved if name.endswith(":CNY") or name.startswith("wallet:")] == []
    await proved(desk)


async def test_a_leg_between_two_currencies_is_refused(desk):
    """No template can ask for it; who came past the table is refused CURRENCY_MISMATCH."""
    await open_all(desk)
    dollars = Account(AccountKind.SUSPENSE, "", "USD")
    await open_account(desk, Account(AccountKind.CLEARING, "sim", "USD"))
    debit, credit = await desk.accounts.ids(1, [CLEARING.name, dollars.name])
    event = posting("MISMATCH_SUSPENDED")
    chain = Chain(
        txn=derived_id(event.source_no, event.template),
        template=event.template,
        source_no=event.source_no,
        trace_no=event.trace_no,
        app_id="mall",
        amount_minor=event.amount_minor,
        currency_code="CNY",
        create_time=desk.clock.now(),
        event=b"",
        ids=[uuid7()],
        debits=[debit],
        credits=[credit],
        amounts=[event.amount_minor],
        codes=[81],
    )

    result = await post_chain(desk.db, chain, book_id=1)

    assert (str(result.outcome), result.refusal) == ("refused", "CURRENCY_MISMATCH")
    assert await standing(desk) == {}
    assert {PENDING.name, SUSPENSE.name, WALLET.name} <= {*await credits(desk)}


async def test_parts_beyond_the_amount_are_refused(desk):
    """A leg below zero is no entry: nothing of the event is booked."""
    await fill(desk)
    before = await credits(desk)
    events = [
        posting("SETTLED", reserve_minor=10_001),
        posting("REFUND_DRAWN_ASKED", available_minor=5_000, owed_minor=5_000),
        posting("PAYOUT_SUCCEEDED", fee_minor=10_001),
    ]

    assert await booked(desk, *events) == ["refused AMOUNT_OUT_OF_RANGE"] * 3
    assert change(before, await credits(desk)) == {}


async def test_what_a_merchant_has_not_is_refused(desk):
    """Each part has its own floor; only what is owed has none."""
    await fill(desk)
    more = {"amount_minor": 5 * 10**6, "fee_minor": 0, "cost_minor": 0}

    got = await booked(
        desk,
        posting("COLLECT_REVERSED_DRAWN", **more),
        posting("COLLECT_REVERSED_DRAWN", **more, reserve_minor=2 * 10**6, owed_minor=3 * 10**6),
        posting("COLLECT_REVERSED_DRAWN", **more, available_minor=3 * 10**6, owed_minor=2 * 10**6),
        posting("COLLECT_REVERSED_DRAWN", **more, owed_minor=5 * 10**6),
    )

    assert got == ["refused EXCEEDS_FLOOR"] * 3 + ["posted"]
    assert (await standing(desk))["receivable:mer_1:CNY"] == 5 * 10**6
