"""The table of templates: whole, balanced, and every name in it means something."""

from collections import Counter

import pytest

from ledger.model import NATURES, AccountKind, Posting
from ledger.postings import AMOUNT, COST, FEE, NET, TEMPLATES, plan
from mesh.errors import Refused
from mesh.numbers import derived_id
from tests.service.ledger.events import posting
from tongbao.ledger.v1 import ledger_pb2

each_template = pytest.mark.parametrize("name", TEMPLATES)


def sides(name):
    return [side for leg in TEMPLATES[name].legs for side in (leg.debit, leg.credit)]


def moved(name, **facts):
    """Return what each account gets: credits positive."""
    change = Counter()
    for entry in plan(posting(name, **facts))[1]:
        change[entry.debit] -= entry.amount_minor
        change[entry.credit] += entry.amount_minor
    return {account: amount for account, amount in change.items() if amount}


def test_the_kinds_are_those_of_the_contract():
    """Every kind has a nature, and the contract knows no other."""
    values = ledger_pb2.AccountKind.DESCRIPTOR.values
    named = {value.name.removeprefix("ACCOUNT_KIND_").lower() for value in values}

    assert named == {*AccountKind} | {"unspecified"}
    assert {*NATURES} == {*AccountKind}


def test_codes_are_unique():
    """A leg is known by its code for ever, so no two may share one."""
    assert len({template.code for template in TEMPLATES.values()}) == len(TEMPLATES)
    assert all(1 <= len(template.legs) <= 9 for template in TEMPLATES.values())


@each_template
def test_every_name_in_a_template_resolves(name):
    """Accounts are of known kinds and owned as their kind is; facts are fields of the event."""
    event, fields = posting(name), ledger_pb2.Posting.DESCRIPTOR.fields_by_name

    for side in sides(name):
        kind, owner, currency = side.name(event).split(":")
        assert kind == side.kind
        assert bool(owner) == NATURES[side.kind].owned
        assert currency == "CNY"
    for fact in TEMPLATES[name].facts():
        assert fact in fields
        assert fact in Posting.__dataclass_fields__
    assert len(name) <= 40


@each_template
def test_the_legs_of_a_template_make_up_its_amount(name):
    """Whole, or net and fee; a cost comes on top. No amount twice, or their ids would clash."""
    amounts = [leg.amount for leg in TEMPLATES[name].legs]

    assert len(set(amounts)) == len(amounts)
    assert [one for one in amounts if one is not COST] in ([AMOUNT], [NET, FEE])


@each_template
def test_what_is_booked_is_balanced(name):
    """What one account gets the others give; no leg goes in a circle."""
    assert sum(moved(name).values()) == 0
    assert all(leg.debit is not leg.credit for leg in TEMPLATES[name].legs)


MIRRORS = [
    ("REFUND_ASKED", "REFUND_FAILED"),
    ("WALLET_PAID", "WALLET_REFUNDED"),
    ("COLLECTED", "COLLECT_REVERSED"),
    ("COLLECT_REVERSED", "COLLECT_RESTORED"),
    ("COLLECT_REVERSED_OWED", "COLLECT_RESTORED_OWED"),
    ("RECHARGED", "RECHARGE_REVERSED"),
    ("RECHARGE_REVERSED", "RECHARGE_RESTORED"),
    ("RECHARGE_REVERSED_OWED", "RECHARGE_RESTORED_OWED"),
    ("COLLECT_SUSPENDED", "SUSPENSE_REVERSED"),
    ("SUSPENSE_REVERSED", "SUSPENSE_RESTORED"),
    ("SUSPENSE_RETURN_ASKED", "SUSPENSE_RETURN_FAILED"),
    ("DUPLICATE_RETURN_ASKED", "DUPLICATE_RETURN_FAILED"),
    ("REFUND_RETURNED", "REFUND_RETURN_UNDONE"),
]


@pytest.mark.parametrize(("there", "back"), MIRRORS)
def test_what_is_undone_leaves_nothing(there, back):
    """The second undoes the first to the last cent, whatever the fee."""
    for fee_minor in (0, 60, 10_000):
        gone, returned = moved(there, fee_minor=fee_minor), moved(back, fee_minor=fee_minor)
        assert returned == {account: -amount for account, amount in gone.items()}


# The whole table once more, by its effect: credits positive.
EFFECTS = [
    ("WALLET_PAID", {"wallet:MALL/u1:CNY": -10_000, "clearing:balance:CNY": 10_000}),
    ("WALLET_REFUNDED", {"clearing:balance:CNY": -10_000, "wallet:MALL/u1:CNY": 10_000}),
    (
        "COLLECTED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "merchant_pending:mer_1:CNY": 9_940,
            "fee_income::CNY": 60,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "RECHARGED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "wallet:MALL/u1:CNY": 10_000,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "REFUND_ASKED",
        {
            "merchant_pending:mer_1:CNY": -9_940,
            "fee_income::CNY": -60,
            "refund_transit::CNY": 10_000,
        },
    ),
    ("REFUND_SUCCEEDED", {"refund_transit::CNY": -10_000, "clearing:sim:CNY": 10_000}),
    (
        "REFUND_FAILED",
        {
            "refund_transit::CNY": -10_000,
            "merchant_pending:mer_1:CNY": 9_940,
            "fee_income::CNY": 60,
        },
    ),
    ("MISMATCH_SUSPENDED", {"clearing:sim:CNY": -10_000, "suspense::CNY": 10_000}),
    (
        "COLLECT_SUSPENDED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "suspense::CNY": 10_000,
            "channel_cost::CNY": -38,
        },
    ),
    ("DUPLICATE_PARKED", {"clearing:sim:CNY": -10_000, "duplicate::CNY": 10_000}),
    ("SUSPENSE_RETURN_ASKED", {"suspense::CNY": -10_000, "refund_transit::CNY": 10_000}),
    ("DUPLICATE_RETURN_ASKED", {"duplicate::CNY": -10_000, "refund_transit::CNY": 10_000}),
    ("SUSPENSE_RETURN_FAILED", {"refund_transit::CNY": -10_000, "suspense::CNY": 10_000}),
    ("DUPLICATE_RETURN_FAILED", {"refund_transit::CNY": -10_000, "duplicate::CNY": 10_000}),
    (
        "SUSPENSE_COLLECTED",
        {
            "suspense::CNY": -10_000,
            "merchant_pending:mer_1:CNY": 9_940,
            "fee_income::CNY": 60,
            "channel_cost::CNY": -38,
            "clearing:sim:CNY": 38,
        },
    ),
    (
        "SUSPENSE_RECHARGED",
        {
            "suspense::CNY": -10_000,
            "wallet:MALL/u1:CNY": 10_000,
            "channel_cost::CNY": -38,
            "clearing:sim:CNY": 38,
        },
    ),
    (
        "COLLECT_REVERSED",
        {
            "clearing:sim:CNY": 10_000 - 38,
            "merchant_pending:mer_1:CNY": -9_940,
            "fee_income::CNY": -60,
            "channel_cost::CNY": 38,
        },
    ),
    (
        "RECHARGE_REVERSED",
        {
            "clearing:sim:CNY": 10_000 - 38,
            "wallet:MALL/u1:CNY": -10_000,
            "channel_cost::CNY": 38,
        },
    ),
    (
        "COLLECT_REVERSED_OWED",
        {
            "clearing:sim:CNY": 10_000 - 38,
            "receivable:mer_1:CNY": -9_940,
            "fee_income::CNY": -60,
            "channel_cost::CNY": 38,
        },
    ),
    (
        "RECHARGE_REVERSED_OWED",
        {
            "clearing:sim:CNY": 10_000 - 38,
            "receivable:MALL/u1:CNY": -10_000,
            "channel_cost::CNY": 38,
        },
    ),
    (
        "SUSPENSE_REVERSED",
        {"clearing:sim:CNY": 10_000 - 38, "suspense::CNY": -10_000, "channel_cost::CNY": 38},
    ),
    (
        "COLLECT_RESTORED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "merchant_pending:mer_1:CNY": 9_940,
            "fee_income::CNY": 60,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "RECHARGE_RESTORED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "wallet:MALL/u1:CNY": 10_000,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "COLLECT_RESTORED_OWED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "receivable:mer_1:CNY": 9_940,
            "fee_income::CNY": 60,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "RECHARGE_RESTORED_OWED",
        {
            "clearing:sim:CNY": -10_000 + 38,
            "receivable:MALL/u1:CNY": 10_000,
            "channel_cost::CNY": -38,
        },
    ),
    (
        "SUSPENSE_RESTORED",
        {"clearing:sim:CNY": -10_000 + 38, "suspense::CNY": 10_000, "channel_cost::CNY": -38},
    ),
    ("REFUND_RETURNED", {"clearing:sim:CNY": -10_000, "suspense::CNY": 10_000}),
    (
        "REFUND_RETURN_CREDITED",
        {"suspense::CNY": -10_000, "merchant_pending:mer_1:CNY": 9_940, "fee_income::CNY": 60},
    ),
    ("REFUND_RETURN_UNDONE", {"suspense::CNY": -10_000, "clearing:sim:CNY": 10_000}),
    ("REFUND_SUSPENDED", {"suspense::CNY": -10_000, "clearing:sim:CNY": 10_000}),
]


@pytest.mark.parametrize(("name", "effect"), EFFECTS)
def test_the_table_says_what_accounting_says(name, effect):
    """Nothing else moves, and nothing by another amount."""
    assert moved(name) == effect


def test_every_template_is_accounted_for():
    """A new one comes with its effect."""
    assert [name for name, _ in EFFECTS] == [*TEMPLATES]


def test_legs_of_zero_are_left_out():
    """No fee, no cost: one entry. All of it a fee: the merchant gets none."""
    [only] = plan(posting("COLLECTED", fee_minor=0, cost_minor=0))[1]
    assert (only.credit, only.amount_minor) == ("merchant_pending:mer_1:CNY", 10_000)

    [only] = plan(posting("COLLECTED", fee_minor=10_000, cost_minor=0))[1]
    assert (only.credit, only.amount_minor) == ("fee_income::CNY", 10_000)


def test_ids_follow_from_number_template_and_leg():
    """Whoever books the event comes to the same ids; nobody else does."""
    event = posting("COLLECTED")
    txn, entries = plan(event)

    assert txn == derived_id(event.source_no, "COLLECTED")
    assert [(entry.id, entry.code) for entry in entries] == [
        (derived_id(event.source_no, "COLLECTED", leg), code)
        for leg, code in [("net", 31), ("fee", 32), ("cost", 33)]
    ]
    assert plan(posting("COLLECTED", source_no=event.source_no, fee_minor=1))[0] == txn
    assert plan(posting("RECHARGED", source_no=event.source_no))[0] != txn


# By precedence: each row is also wrong in every way that follows it.
WRONG = [
    ("TEMPLATE_UNKNOWN", None, dict(template="GIVEN_AWAY", amount_minor=0, channel_code="")),
    ("FACT_MISSING", "amount", dict(amount_minor=0, channel_code="", merchant_id="")),
    ("FACT_MISSING", "amount", dict(amount_minor=-1, channel_code="", merchant_id="")),
    ("FACT_MISSING", "channel_code", dict(channel_code="", merchant_id="", source_no="X" * 26)),
    ("FACT_MISSING", "merchant_id", dict(merchant_id="", source_no="X" * 26)),
    ("FACT_MISSING", "source_no", dict(source_no="X" * 26)),
]


@pytest.mark.parametrize(("reason", "field", "wrong"), WRONG)
def test_refusals_come_in_order_of_precedence(reason, field, wrong):
    """The first reason that applies wins, and says which fact."""
    event = posting(**{"template": "COLLECTED"} | wrong)

    with pytest.raises(Refused) as refused:
        plan(event)

    assert (refused.value.domain, refused.value.reason) == ("ledger.tongbao", reason)
    assert refused.value.facts.get("field") == field


def test_a_template_asks_for_no_more_than_it_needs():
    """A payment by wallet has neither channel nor merchant."""
    txn, entries = plan(posting("WALLET_PAID", channel_code="", merchant_id=""))
    assert len(entries) == 1
