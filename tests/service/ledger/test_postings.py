"""The table of templates: whole, balanced, and every name in it means something."""

import dataclasses
from collections import Counter

import pytest

from ledger.model import NATURES, Account, AccountKind, Posting
from ledger.postings import FAMILIES, TEMPLATES, plan
from ledger.templates.parts import COST
from ledger.wire import posting_from_proto, posting_to_proto
from mesh.errors import Refused
from mesh.numbers import derived_id
from tests.service.ledger.effects import EFFECTS, PAIRS, PARTS, Effect
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


# Which side a kind stands on, whether it never goes below zero, whether somebody owns it.
KINDS = {
    "wallet": (1, True, True),
    "merchant_pending": (1, True, True),
    "clearing": (-1, False, True),
    "refund_transit": (1, True, False),
    "suspense": (1, False, False),
    "fee_income": (1, False, False),
    "channel_cost": (-1, False, False),
    "duplicate": (1, False, False),
    "receivable": (-1, False, True),
    "merchant_available": (1, True, True),
    "merchant_reserve": (1, True, True),
    "payout_transit": (1, True, True),
    "cash": (-1, False, True),
    "escrow": (1, True, False),
    "surplus": (1, False, False),
    "shortage": (-1, False, False),
    "channel_receivable": (-1, False, True),
    "marketing_expense": (-1, False, False),
    "recon_gain": (1, False, False),
    "recon_loss": (-1, False, False),
    "rounding": (-1, False, False),
    "profit": (1, False, False),
}


def test_every_kind_is_of_its_nature():
    """As accountants say; the numbers of the contract are in this order, for ever."""
    natures = {kind: dataclasses.astuple(nature) for kind, nature in NATURES.items()}
    numbers = [ledger_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind.upper()}") for kind in KINDS]

    assert natures == KINDS
    assert numbers == [*range(1, len(KINDS) + 1)]


def test_accounts_of_a_wallet_are_in_the_book_of_its_line():
    """Also what is in transit or owed; a merchant's are in the book of all lines."""
    for kind in (AccountKind.WALLET, AccountKind.PAYOUT_TRANSIT, AccountKind.RECEIVABLE):
        assert Account(kind, "MALL/u1", "CNY").business_code == "MALL"
    for kind in (AccountKind.PAYOUT_TRANSIT, AccountKind.RECEIVABLE, AccountKind.CASH):
        assert Account(kind, "mer_1", "CNY").business_code == ""
    assert Account(AccountKind.CASH, "a/b", "CNY").business_code == ""


def test_a_posting_comes_through_the_wire_whole():
    """Every fact and every amount of it."""
    facts = {
        field.name: place if field.type == "int" else f"F{place}"
        for place, field in enumerate(dataclasses.fields(Posting), start=1)
    }
    event = Posting(**facts)

    assert posting_from_proto(posting_to_proto(event)) == event
    fields = ledger_pb2.Posting.DESCRIPTOR.fields
    assert len(fields) == len(facts) - 1  # The amount brings its currency.


def test_codes_are_unique():
    """A leg is known by its code for ever, so no two may share one."""
    assert len({template.code for template in TEMPLATES.values()}) == len(TEMPLATES)
    assert all(1 <= len(template.legs) <= 9 for template in TEMPLATES.values())
    assert all(template.about for template in TEMPLATES.values())


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
        with pytest.raises(Refused, match=f"fact missing: template={name}, field={fact}"):
            plan(posting(name, **{fact: ""}))
    assert len(name) <= 40


@each_template
def test_the_legs_of_a_template_make_up_its_amount(name):
    """Whole or in parts; a cost comes on top. No amount twice, or their ids would clash."""
    amounts = [leg.amount for leg in TEMPLATES[name].legs]
    event = posting(name, **PARTS)

    assert len({one.name for one in amounts}) == len(amounts)
    assert sum(one.of(event) for one in amounts if one is not COST) == event.amount_minor


@each_template
def test_what_opens_accounts_pays_nobody_else(name):
    """A customer's account that a template may open gets money only from that customer."""
    if TEMPLATES[name].opens:
        for leg in TEMPLATES[name].legs:
            if leg.credit.fact and NATURES[leg.credit.kind].floored:
                assert leg.debit.fact == leg.credit.fact
                assert NATURES[leg.debit.kind].floored


@each_template
def test_what_is_booked_is_balanced(name):
    """What one account gets the others give; no leg goes in a circle."""
    assert sum(moved(name).values()) == 0
    assert all(leg.debit is not leg.credit for leg in TEMPLATES[name].legs)


@pytest.mark.parametrize(("there", "back"), [pair[:2] for pair in PAIRS])
def test_what_is_undone_leaves_nothing(there, back):
    """The second undoes the first to the last cent, whatever the fee."""
    for fee_minor in (0, 60, 10_000):
        gone, returned = moved(there, fee_minor=fee_minor), moved(back, fee_minor=fee_minor)
        assert returned == {account: -amount for account, amount in gone.items()}


@each_template
def test_the_table_says_what_accounting_says(name):
    """Nothing else moves, and nothing by another amount; the code is the one it always had."""
    assert Effect(TEMPLATES[name].code, moved(name, **PARTS)) == EFFECTS[name]


def test_every_template_is_accounted_for():
    """A new one comes with its effect, an old one does not go."""
    assert {*EFFECTS} == {*TEMPLATES}
    assert sum(map(len, FAMILIES.values())) == len(TEMPLATES)


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
