"""Accounts that were blocked, capped or closed meanwhile: nothing is lost, stuck or done twice."""

import pytest

from ledger.flow._orders import settled
from ledger.flow.book_payment import book_payment
from ledger.flow.book_refund_failed import book_refund_failed
from ledger.flow.book_refund_review import book_refund_review
from ledger.flow.book_review import book_review
from ledger.flow.prove_book import prove_book
from ledger.model import CUSTOMERS, Account, AccountKind
from ledger.postings import TEMPLATES
from mesh.numbers import Kind
from tests.service.ledger.effects import ANSWERED, EFFECTS, OTHERWISE, PARTS
from tests.service.ledger.events import (
    NUMBERS,
    PENDING,
    SUSPENSE,
    WALLET,
    booked,
    open_all,
    payment,
    posting,
    published,
    refund,
    standing,
)
from tests.service.ledger.test_templates import change, credits, fill
from tongbao.common.v1 import kinds_pb2
from tongbao.ledger.v1 import events_pb2
from tongbao.payment.v1 import payment_pb2

RECHARGE = kinds_pb2.TRADE_TYPE_RECHARGE
# What is done to an account meanwhile, and why it refuses to be credited then.
MEANWHILE = {
    "blocked": ("status = 2", "CREDIT_ACCOUNT_BLOCKED"),
    "closed": ("status = 4", "CREDIT_ACCOUNT_BLOCKED"),
    "full": ("cap = normal * (credit - debit)", "EXCEEDS_CAP"),
}
meanwhile = pytest.mark.parametrize("how", MEANWHILE)
both = pytest.mark.parametrize(("trade_type", "owner"), [
    (kinds_pb2.TRADE_TYPE_COLLECT, PENDING), (RECHARGE, WALLET),
])  # fmt: skip


async def done_to(desk, sql, *kinds):
    """Do it to all accounts of these kinds."""
    await desk.db.rows(
        f"UPDATE balance SET {sql} WHERE account_id IN (SELECT account_id FROM account"
        " WHERE kind = ANY(%(kinds)s))",
        kinds=[str(kind) for kind in kinds],
    )


async def opened_again(desk):
    """Unblock all accounts, and take their caps away."""
    await desk.db.rows("UPDATE balance SET status = 0, cap = 4000000000000000000")


async def vouchers(desk):
    """Return the templates of all vouchers, in order."""
    return [row.template for row in await desk.db.rows("SELECT template FROM voucher ORDER BY seq")]


async def refusals(desk):
    """Return template and reason of what PostingRefused told."""
    told = await published(desk, events_pb2.PostingRefused)
    return [(one.posting.template, one.refusal) for one in told]


async def proved(desk):
    assert (await prove_book(desk)).findings == []


def touched(name, kinds=CUSTOMERS):
    """Return the kinds of customers' accounts that a template names, as debited and as credited."""
    legs = TEMPLATES[name].legs
    debits, credited = {leg.debit.kind for leg in legs}, {leg.credit.kind for leg in legs}
    return debits & kinds, credited & kinds


def test_every_template_that_names_a_customers_account_says_what_becomes_of_a_refusal():
    """By hand: what has moved is booked otherwise, what has not is refused for good."""
    assert {name: one.otherwise for name, one in TEMPLATES.items() if one.otherwise} == OTHERWISE
    named = {name for name in TEMPLATES if any(touched(name))}
    assert named == {*OTHERWISE} | ANSWERED
    assert not {*OTHERWISE} & ANSWERED


@pytest.mark.parametrize("name", sorted(OTHERWISE))
def test_what_is_booked_otherwise_cannot_be_refused_for_the_same(name):
    """It names no customer's account, opens what it misses, and asks for no other fact.

    What a channel, transit or escrow gets of it is the same.
    """
    instead = OTHERWISE[name]
    assert not any(touched(instead))
    # What does not open them is only booked after what did.
    assert TEMPLATES[instead].opens or instead == "SUSPENSE_RESTORED"
    assert {*TEMPLATES[instead].facts()} <= {*TEMPLATES[name].facts()}
    same = ("clearing", "refund_transit", "payout_transit", "escrow", "channel_cost")
    moved, otherwise = (
        {key: much for key, much in EFFECTS[one].change.items() if key.startswith(same)}
        for one in (name, instead)
    )
    assert moved == otherwise


@pytest.mark.parametrize("how", ["blocked", "closed", "full"])
async def test_every_template_with_a_fall_back_is_booked_all_the_same(desk, how):
    """All of them in one book: once, however often they are sent, and PostingRefused is told."""
    await fill(desk)
    for name in ("COLLECT_REVERSED_DRAWN", "RECHARGE_REVERSED_OWED"):  # They open receivables.
        assert await booked(desk, posting(name, **PARTS)) == ["posted"]
    for name, instead in OTHERWISE.items():
        paid, credited = touched(name)
        if how == "full" and not credited:
            continue
        sql = "status = 3" if how == "blocked" else MEANWHILE[how][0]
        await done_to(desk, sql, *paid, *credited)
        before, event = await credits(desk), posting(name, **PARTS)

        assert [await settled(desk, event) for _ in range(3)] == [False] * 3, name

        assert change(before, await credits(desk)) == EFFECTS[instead].change, name
        assert (await vouchers(desk))[-1] == instead
        assert [template for template, _ in await refusals(desk)].count(name) == 1
        await opened_again(desk)
        assert await booked(desk, event) != ["posted"], name
    await proved(desk)


def reviewed(one, kind):
    """The same payment under review."""
    after = payment_pb2.Payment()
    after.CopyFrom(one)
    after.review_kind, after.state = kind, payment_pb2.Payment.STATE_REVIEW
    return after


def accepted(one, kind):
    """The same payment, accepted by a person."""
    after = reviewed(one, kind)
    after.state = payment_pb2.Payment.STATE_SUCCEEDED
    after.from_suspense |= kind != "CHANNEL_REVERSED"
    return after


def paid(trade_type):
    """A payment of that type."""
    fields = {"fee_minor": 0, "merchant_id": ""} if trade_type == RECHARGE else {}
    return payment(trade_type, attempt_no=NUMBERS.next(Kind.ATTEMPT), **fields)


async def let_go(desk, one, template):
    """Release what waits, under a number of its own; the cost was not booked yet."""
    fresh = posting(
        template, source_no=NUMBERS.next(Kind.PAYMENT), trace_no=one.trace_no,
        fee_minor=one.fee_minor, merchant_id=one.merchant_id,
    )  # fmt: skip
    assert await booked(desk, fresh) == ["posted"]


@both
@meanwhile
async def test_money_of_a_case_that_its_owner_may_not_have_stays_in_suspense(
    desk, trade_type, owner, how
):
    """A person accepts it, and the account is blocked by then; another one is called."""
    await open_all(desk)
    one = paid(trade_type)
    await book_review(desk, reviewed(one, "LATE_SUCCESS"))
    sql, reason = MEANWHILE[how]
    await done_to(desk, sql, owner.kind)
    before = await standing(desk)

    for _ in range(3):
        await book_payment(desk, accepted(one, "LATE_SUCCESS"))
    await opened_again(desk)
    await book_payment(desk, accepted(one, "LATE_SUCCESS"))

    template = "SUSPENSE_RECHARGED" if trade_type == RECHARGE else "SUSPENSE_COLLECTED"
    assert await standing(desk) == before
    assert before[SUSPENSE.name] == 10_000
    assert await refusals(desk) == [(template, reason)]
    assert await vouchers(desk) == ["MISMATCH_SUSPENDED"]

    await let_go(desk, one, template)
    assert (await standing(desk))[owner.name] == 10_000 - one.fee_minor
    assert SUSPENSE.name not in await standing(desk)
    await proved(desk)


@both
@meanwhile
async def test_a_success_that_stands_after_all_goes_to_suspense(desk, trade_type, owner, how):
    """Taken back, accepted again, and the account takes nothing by then."""
    await open_all(desk)
    one = paid(trade_type)
    await book_payment(desk, one)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}
    sql, reason = MEANWHILE[how]
    await done_to(desk, sql, owner.kind)

    for _ in range(3):
        await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    await opened_again(desk)
    await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))

    assert await standing(desk) == {
        "clearing:sim:CNY": 9_962, SUSPENSE.name: 10_000, "channel_cost::CNY": 38,
    }  # fmt: skip
    [(template, told)] = await refusals(desk)
    assert (template[-9:], told) == ("_RESTORED", reason)
    await proved(desk)


@both
async def test_what_its_owner_could_not_accept_is_taken_back_from_suspense(desk, trade_type, owner):
    """It never left it, and its cost was never booked; it may stand there again."""
    await open_all(desk)
    one = paid(trade_type)
    await done_to(desk, "status = 2", owner.kind)
    parked, late = reviewed(one, "LATE_SUCCESS"), accepted(one, "LATE_SUCCESS")
    await book_review(desk, parked)
    await book_payment(desk, late)
    before = await standing(desk)

    for _ in range(2):
        await book_review(desk, reviewed(late, "CHANNEL_REVERSED"))
    assert await standing(desk) == {}

    for _ in range(2):
        await book_payment(desk, accepted(late, "CHANNEL_REVERSED"))
    assert await standing(desk) == before
    assert len(await refusals(desk)) == 2  # A person may be done with it when it comes back.
    await proved(desk)


@both
@pytest.mark.parametrize("status", [1, 4])
async def test_what_a_channel_takes_from_a_blocked_account_is_owed(desk, trade_type, owner, status):
    """止付 keeps the money where it is; the channel has taken it all the same."""
    await open_all(desk)
    one = paid(trade_type)
    await book_payment(desk, one)
    await done_to(desk, f"status = {status}", owner.kind)

    for _ in range(2):
        await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))
    await opened_again(desk)
    await book_review(desk, reviewed(one, "CHANNEL_REVERSED"))

    net = 10_000 - one.fee_minor
    assert await standing(desk) == {owner.name: net, f"receivable:{owner.owner}:CNY": net}
    assert await refusals(desk) == []  # The case of the review says so already.
    await book_payment(desk, accepted(one, "CHANNEL_REVERSED"))
    assert f"receivable:{owner.owner}:CNY" not in await standing(desk)
    await proved(desk)


@meanwhile
async def test_a_failed_refund_that_its_merchant_may_not_have_is_told(desk, how):
    """Out of transit into suspense, once; let go into what is pending, under a new number."""
    await open_all(desk)
    one = refund(failure_reason="CHANNEL_REFUSED")
    whole = {"amount_minor": 5_000, "fee_minor": 30}
    asked = posting("REFUND_ASKED", source_no=one.refund_no, **whole)
    await booked(desk, posting("COLLECTED"), asked)
    sql, reason = MEANWHILE[how]
    await done_to(desk, sql, PENDING.kind)

    for _ in range(3):
        await book_refund_failed(desk, one)
    await opened_again(desk)
    await book_refund_failed(desk, one)

    assert await refusals(desk) == [("REFUND_FAILED", reason)]
    assert (await vouchers(desk))[2:] == ["REFUND_FAILED_SUSPENDED"]
    stands = await standing(desk)
    assert (stands[SUSPENSE.name], stands[PENDING.name]) == (5_000, 9_940 - 4_970)
    assert await booked(desk, posting("REFUND_RETURN_CREDITED", **whole)) == ["posted"]
    assert (await standing(desk))[PENDING.name] == 9_940
    await proved(desk)


@meanwhile
async def test_a_refund_that_came_back_and_its_merchant_may_not_have_is_told(desk, how):
    """退票: it stands in suspense already, and stays there."""
    await open_all(desk)
    one = refund()
    whole = {"amount_minor": 5_000, "fee_minor": 30}
    asked = posting("REFUND_ASKED", source_no=one.refund_no, **whole)
    arrived = posting("REFUND_SUCCEEDED", source_no=one.refund_no, **whole)
    await booked(desk, posting("COLLECTED"), asked, arrived)
    one.review_kind = "CHANNEL_REVERSED"
    await book_refund_review(desk, one)
    before = await standing(desk)
    sql, reason = MEANWHILE[how]
    await done_to(desk, sql, PENDING.kind)

    for _ in range(3):
        await book_refund_failed(desk, one)

    assert await standing(desk) == before
    assert before[SUSPENSE.name] == 5_000
    assert await refusals(desk) == [("REFUND_RETURN_CREDITED", reason)]
    await proved(desk)


async def test_money_for_accounts_that_nobody_opened_stands_in_suspense(desk):
    """A currency that nobody foresaw: the payment succeeded, so it is not lost."""
    await open_all(desk)
    one = paid(kinds_pb2.TRADE_TYPE_COLLECT)
    one.amount.currency_code = "USD"

    for _ in range(2):
        await book_payment(desk, one)

    assert await standing(desk) == {
        "clearing:sim:USD": 9_962, "suspense::USD": 10_000, "channel_cost::USD": 38,
    }  # fmt: skip
    assert await refusals(desk) == [("COLLECTED", "DEBIT_ACCOUNT_NOT_FOUND")]


async def test_a_merchant_may_be_paid_from_suspense_on_any_of_its_accounts(desk):
    """What waited for what is available, reserve and debt is let go by one template."""
    await fill(desk)
    assert await booked(desk, posting("COLLECT_REVERSED_DRAWN", **PARTS)) == ["posted"]
    await done_to(desk, "status = 2", AccountKind.MERCHANT_AVAILABLE)
    asked = posting("PAYOUT_ASKED")
    failed = posting("PAYOUT_FAILED", source_no=asked.source_no)
    assert await booked(desk, asked) == ["posted"]
    assert not await settled(desk, failed)
    await opened_again(desk)
    before = await credits(desk)

    got = await booked(desk, posting("SUSPENSE_CREDITED", available_minor=10_000, fee_minor=0))

    assert got == ["posted"]
    available = Account(AccountKind.MERCHANT_AVAILABLE, "mer_1", "CNY").name
    assert change(before, await credits(desk)) == {SUSPENSE.name: -10_000, available: 10_000}
    await proved(desk)
