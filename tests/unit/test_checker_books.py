"""The checker's rules about the books, each seen to fail on a forged history."""

from dataclasses import replace

import pytest

from checker.money import fee, fee_returned, rate
from tests.unit.forgery import TEA, TERMS, altered, broken, changed, is_a, true_world, without

ZERO = "the trial balance is zero"
CLEARED = "clearing[balance] is zero: what wallets paid is what was booked of it"
TRANSIT = "nothing stands in refund transit when no refund is open"
PROVED = "the journal proves itself: hash chain, replay, double entry, vouchers"
EFFECTS = "ledger = what happened, account by account, in every trace"
ONCE = "every business event is booked once"
WALLETS = "every wallet holds what came in less what went out"
SUSPENSE = "suspense and duplicates are what nobody may keep yet, to the minor unit"
EXPLAINED = "whatever is parked has an open case that says so"
CLEARING = "every success and refund is cleared once, with the fee that was agreed"
SNAPSHOTS = "fee and cost are what contract and channel account say, everywhere"
SUMS = "the provider's truth = clearing, in sum at every acquirer"


def line(kind, owner=""):
    return lambda one: (one.kind, one.owner) == (kind, owner)


@pytest.fixture
def truth():
    return true_world()


def test_a_true_world_breaks_no_rule(truth):
    """Else every other test here would prove nothing."""
    assert broken(truth) == set()


def test_an_empty_world_passes_no_rule_that_must_see_something(truth):
    """Silence proves nothing."""
    empty = replace(truth, calls=(), movements=(), deliveries=(), traces={}, trades={},
                    refunds={}, wallets=(), trial=())  # fmt: skip
    assert {ZERO, CLEARED, EFFECTS, ONCE, WALLETS, SUMS} <= broken(empty)


def test_a_trial_balance_off_by_one_is_found(truth):
    """Fee income has no other rule over its sum."""
    credit = next(one.credit_minor for one in truth.trial if one.kind == "FEE_INCOME")
    forged = altered(truth.trial, line("FEE_INCOME"), credit_minor=credit + 1)
    assert broken(replace(truth, trial=forged)) == {ZERO}


def test_wallets_that_are_not_cleared_are_found(truth):
    """A debit moved from one clearing account to the other keeps the sum at zero."""
    a = next(one.debit_minor for one in truth.trial if one.owner == "sim-a")
    b = next(one.debit_minor for one in truth.trial if one.owner == "balance")
    forged = altered(truth.trial, line("CLEARING", "sim-a"), debit_minor=a - 1)
    forged = altered(forged, line("CLEARING", "balance"), debit_minor=b + 1)
    assert broken(replace(truth, trial=forged)) == {CLEARED, SUMS}


def test_money_that_stays_in_transit_is_found(truth):
    """Taken from the merchant, given to nobody."""
    transit = next(one for one in truth.trial if one.kind == "REFUND_TRANSIT")
    forged = altered(truth.trial, line("REFUND_TRANSIT"), credit_minor=transit.credit_minor + 5)
    assert broken(replace(truth, trial=forged)) == {ZERO, TRANSIT}


def test_what_the_book_finds_about_itself_is_passed_on(truth):
    """ProveBook's word counts."""
    assert broken(replace(truth, proof=("HASH_CHAIN block 3: differs",))) == {PROVED}


def test_a_missing_voucher_is_found(truth):
    """The payer was charged, and nobody was credited."""
    forged = changed(truth, "MALL-qr", is_a("ledger", "entry", debit="clearing:sim-a:CNY"), gone=1)
    assert broken(forged) == {EFFECTS}


def test_an_entry_of_another_amount_is_found(truth):
    """One minor unit is enough."""
    where = is_a("ledger", "entry", credit=f"merchant_pending:{TEA}:CNY")
    assert broken(changed(truth, "MALL-qr", where, amount_minor=9_941)) == {EFFECTS}


def test_money_credited_to_another_merchant_is_found(truth):
    """The sum is right, the owner is not."""
    where = is_a("ledger", "entry", credit=f"merchant_pending:{TEA}:CNY")
    forged = changed(truth, "MALL-failover", where, credit="merchant_pending:mch_books:CNY")
    assert broken(forged) == {EFFECTS}


def test_a_cost_at_the_wrong_channel_is_found(truth):
    """The payment failed over; the first channel earned nothing."""
    where = is_a("ledger", "entry", debit="channel_cost::CNY")
    forged = changed(truth, "MALL-failover", where, credit="clearing:sim-a:CNY")
    assert broken(forged) == {EFFECTS}


def test_a_payment_under_review_that_was_booked_to_the_merchant_is_found(truth):
    """Money in doubt belongs to nobody yet."""
    where = is_a("ledger", "entry", credit="suspense::CNY")
    forged = changed(truth, "MALL-review", where, credit=f"merchant_pending:{TEA}:CNY")
    assert broken(forged) == {EFFECTS, EXPLAINED}


def test_a_fee_share_beyond_rounding_is_found_beside_a_failed_refund(truth):
    """A refund that failed allows one minor unit between fee and merchant, and no more."""
    is_fee = is_a("ledger", "entry", credit="fee_income::CNY", debit="clearing:sim-a:CNY")
    is_net = is_a(
        "ledger", "entry", credit=f"merchant_pending:{TEA}:CNY", debit="clearing:sim-a:CNY"
    )
    for gap, expected in ((1, set()), (2, {EFFECTS})):
        forged = changed(truth, "MALL-refused", is_fee, amount_minor=36 - gap)
        forged = changed(forged, "MALL-refused", is_net, amount_minor=5964 + gap)
        assert broken(forged) == expected


def test_a_business_event_booked_twice_is_found(truth):
    """Two vouchers of one template and source."""
    voucher = next(one for one in truth.traces["MALL-qr"] if one.kind == "voucher")
    twice = (*truth.traces["MALL-qr"], replace(voucher, number="another"))
    assert broken(replace(truth, traces={**truth.traces, "MALL-qr": twice})) == {ONCE}


def test_an_entry_without_its_voucher_is_found(truth):
    """A line that nobody can explain."""
    forged = changed(truth, "MALL-fill", is_a("ledger", "voucher"), gone=1)
    assert broken(forged) == {ONCE}


def test_a_wallet_with_too_much_in_it_is_found(truth):
    """What GetWallet says is what the orders make of it."""
    forged = altered(truth.wallets, lambda one: one.owner == "MALL/u1", credit_minor=90_000)
    assert broken(replace(truth, wallets=forged)) == {WALLETS}


def test_suspense_that_nothing_explains_is_found(truth):
    """Both sides changed, so that only the explanation is missing."""
    suspense = next(one for one in truth.trial if one.kind == "SUSPENSE")
    forged = altered(truth.trial, line("SUSPENSE"), credit_minor=suspense.credit_minor + 7)
    cost = next(one for one in truth.trial if one.kind == "CHANNEL_COST")
    forged = altered(forged, line("CHANNEL_COST"), debit_minor=cost.debit_minor + 7)
    assert broken(replace(truth, trial=forged)) == {SUSPENSE}


@pytest.mark.parametrize(
    "facts",
    [{"fee_minor": 59, "net_minor": 9_941}, {"net_minor": 9_941}, {"cost_minor": 37},
     {"merchant_id": "mch_books"}, {"amount_minor": 10_001, "net_minor": 9_941}, {"gone": 1}],
)  # fmt: skip
def test_a_clearing_item_with_a_wrong_fact_is_found(truth, facts):
    """Gross, fee, cost, net and owner are each compared, and that it is there."""
    forged = changed(
        truth, "MALL-qr", is_a("settlement", "clearing_item", clears="payment"), **facts
    )
    assert broken(forged) == {CLEARING}


def test_a_refund_that_clears_another_fee_is_found(truth):
    """The share that goes back is fixed when the refund is asked for."""
    where = is_a("settlement", "clearing_item", clears="refund")
    forged = changed(truth, "MALL-wallet", where, fee_minor=1, net_minor=999)
    assert broken(forged) == {CLEARING}
    forged = changed(truth, "MALL-wallet", is_a("trade", "refund"), fee_minor=1)
    assert broken(forged) == {SNAPSHOTS}


@pytest.mark.parametrize("facts", [{"fee_minor": 61}, {"cost_minor": 37}])
def test_a_payment_that_notes_another_fee_or_cost_is_found(truth, facts):
    """Trade's snapshot of the contract, channel's of the route."""
    assert broken(changed(truth, "MALL-qr", is_a("payment", "payment"), **facts)) == {SNAPSHOTS}


def test_a_payment_cleared_twice_is_found(truth):
    """The merchant would be paid twice."""
    item = next(one for one in truth.traces["MALL-wallet"] if one.kind == "clearing_item")
    twice = (*truth.traces["MALL-wallet"], item)
    assert broken(replace(truth, traces={**truth.traces, "MALL-wallet": twice})) == {CLEARING}


def test_a_movement_that_we_never_booked_is_found(truth):
    """The provider charged somebody, and no order of ours knows it."""
    ghost = replace(truth.movements[0], number="GHOST", moved_minor=10_000)
    assert broken(replace(truth, movements=(*truth.movements, ghost))) == {SUMS}


def test_a_charge_that_the_provider_denies_is_found(truth):
    """We booked what never moved: order by order and in sum."""
    where = lambda one: one.moved_minor == 2_000  # noqa: E731
    forged = replace(truth, movements=altered(truth.movements, where, moved_minor=0))
    assert broken(forged) == {SUMS, "the provider's truth = our attempts, order by order"}


def test_without_the_provider_nothing_agrees(truth):
    """A lost journal of the provider is seen in every rule that asks it."""
    forged = replace(truth, movements=without(truth.movements, lambda one: True))
    assert SUMS in broken(forged)


def test_fees_are_rounded_half_up_and_shares_add_up():
    """By the words of the contract, on amounts where it matters."""
    assert [rate(amount, 6000) for amount in (83, 84, 250)] == [0, 1, 2]
    terms = replace(TERMS[TEA], least_minor=10)
    assert [fee(amount, terms) for amount in (5, 1_000, 10_000)] == [5, 10, 60]
    parts = [fee_returned(10_000, given, TERMS[TEA]) for given in (1, 3_333, 6_667, 10_000)]
    assert parts == [0, 20, 40, 60]
    assert fee_returned(10_000, 10_000, TERMS["mch_books"]) == 0
