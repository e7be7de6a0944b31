"""Release: two persons let money go on that its account had refused; once, and nothing is lost."""

from dataclasses import replace
from itertools import count

import pytest

from mesh.batch import NotExecuted
from mesh.context import Acting, acting_as, within
from mesh.errors import Refused
from mesh.numbers import payment_of
from payment.case import RefusedPosting, Resolution, Subject, release_no
from payment.flow._acts import Request
from payment.flow.approve_resolution import approve_resolution
from payment.flow.propose_resolution import propose_resolution
from payment.flow.record_posting_refused import record_posting_refused
from payment.flow.release import release
from payment.flow.resolve_case import resolve_case
from payment.flow.resume_case import resume_case
from payment.states import CaseState
from payment.store.case import find_case, list_cases, list_notes
from tests.service.payment.scene import (
    TRACE,
    on_behalf_of,
    refund,
    refund_item,
    seed,
    seed_refund,
    the_payment,
    told,
)

ACCEPT, GIVE_BACK = Resolution.ACCEPT, Resolution.GIVE_BACK
_requests = count(1)


async def refused_case(desk, number, template, *, amount_minor=100):
    """Return the case of money that its account refused when it was to be booked by `template`."""
    refused = RefusedPosting(
        template=template, source_no=number, app_id="mall", trace_no=TRACE, channel_code="sim",
        currency_code="CNY", amount_minor=amount_minor, refusal="CREDIT_ACCOUNT_BLOCKED",
    )  # fmt: skip
    with on_behalf_of():
        assert await record_posting_refused(desk, refused=refused)
    sql = "SELECT case_id FROM exception_case WHERE number = %(number)s"
    [row] = await desk.db.rows(sql, number=number)
    return await find_case(desk.db, row.case_id)


def request(case):
    """A new request of an operator about the case."""
    number = f"r-{next(_requests)}"
    return Request(request_id=number, fingerprint=b"x", case_id=case.case_id, text="they asked")


async def by(caller, work):
    """Do the work as that operator."""
    with acting_as(Acting(caller=caller, trace_no=TRACE)), within(10.0):
        return (await work)[0]


async def decide(desk, case, resolution=ACCEPT):
    """Propose by one operator, approve by another; return the case after that."""
    proposed = await by("li", propose_resolution(desk, request(case), resolution=resolution))
    return await by("mo", approve_resolution(desk, request(case), version=proposed.version))


async def silent(desk, neighbours, case, step):
    """Decide while the ledger gives no answer that says anything, however often it is asked."""
    neighbours.ledger.then(*[step] * 9)
    case = await decide(desk, case)
    neighbours.ledger.script.clear()
    assert case.state is CaseState.EXECUTING
    return case


def asked(neighbours):
    """What the ledger was asked to book: template, number, amount, fee, cost."""
    return [
        (one.template, one.source_no, one.amount.minor_units, one.fee_minor, one.cost_minor)
        for item in neighbours.ledger.asked
        for one in item.postings
    ]


def number_of(payment_no, round_no):
    return release_no(payment_no, subject=Subject.PAYMENT, round_no=round_no)


# What its account refused, what the payment was, how the money leaves suspense, with which cost.
REFUSED = [
    ("COLLECTED", {}, "SUSPENSE_COLLECTED", 0),
    ("SUSPENSE_COLLECTED", {"from_suspense": True}, "SUSPENSE_COLLECTED", 2),
    ("SUSPENSE_RESTORED", {"review_kind": "CHANNEL_REVERSED"}, "SUSPENSE_COLLECTED", 0),
    ("SUSPENSE_RESTORED", {"review_kind": "CHANNEL_REVERSED", "from_suspense": True},
     "SUSPENSE_COLLECTED", 2),
    ("COLLECT_RESTORED", {"review_kind": "CHANNEL_REVERSED"}, "SUSPENSE_COLLECTED", 0),
    ("RECHARGED", {"trade_type": "RECHARGE"}, "SUSPENSE_RECHARGED", 0),
    ("SUSPENSE_RECHARGED", {"trade_type": "RECHARGE", "from_suspense": True},
     "SUSPENSE_RECHARGED", 2),
    ("RECHARGE_RESTORED", {"trade_type": "RECHARGE", "review_kind": "CHANNEL_REVERSED",
                           "from_suspense": True}, "SUSPENSE_RECHARGED", 0),
]  # fmt: skip


@pytest.mark.parametrize(("template", "columns", "booked", "cost_minor"), REFUSED)
async def test_two_persons_let_the_money_go_on(
    desk, neighbours, template, columns, booked, cost_minor
):
    """In full, with what was not booked yet; the payment is as it was, and nobody is told anew."""
    payment_no = await seed(desk, cost_minor=2, user_no="u1", **columns)
    case = await refused_case(desk, payment_no, template)
    assert (case.parked_on, case.parked_minor, case.channel_code) == ("suspense", 100, "sim")

    case = await decide(desk, case)

    assert (case.state, case.rounds) == (CaseState.RESOLVED, 1)
    assert asked(neighbours) == [(booked, number_of(payment_no, 1), 100, 1, cost_minor)]
    assert neighbours.ledger.asked[0].context.app_id == "mall"
    payment = await the_payment(desk, payment_no)
    restored = payment.review_kind == "CHANNEL_REVERSED"  # No channel takes it back once more.
    assert payment.release_no == ("" if restored else number_of(payment_no, 1))
    assert await told(desk, payment_no) == []
    events = [(note.event, note.actor) for note in await list_notes(desk.db, case.case_id)]
    assert events == [
        ("opened", "payment"), ("propose", "op:li"), ("approve", "op:mo"), ("finish", "payment"),
    ]  # fmt: skip


async def test_a_refund_that_failed_goes_to_the_merchant_and_to_our_fees(desk, neighbours):
    """As the ask had taken it."""
    refund_no = await seed_refund(desk, await seed(desk), state="failed", fee_minor=3)
    case = await refused_case(desk, refund_no, "REFUND_FAILED", amount_minor=60)

    case = await decide(desk, case)

    assert case.state is CaseState.RESOLVED
    number = release_no(refund_no, subject=Subject.REFUND, round_no=1)
    assert asked(neighbours) == [("REFUND_RETURN_CREDITED", number, 60, 3, 0)]


async def test_nobody_does_it_alone_and_it_does_not_go_back(desk, neighbours):
    """The order has ended: who paid it is refunded as everybody is."""
    case = await refused_case(desk, await seed(desk), "COLLECTED")

    with pytest.raises(Refused) as alone:
        await by("li", resolve_case(desk, request(case), resolution=ACCEPT))
    with pytest.raises(Refused) as back:
        await by("li", propose_resolution(desk, request(case), resolution=GIVE_BACK))
    assert alone.value.reason == "SECOND_PERSON_NEEDED"
    assert back.value.reason == "RESOLUTION_NOT_ALLOWED"
    assert asked(neighbours) == []


async def test_what_is_refused_again_opens_its_case_again(desk, neighbours):
    """The money stays where it is; the next round has a number that nobody has refused."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    neighbours.ledger.then(neighbours.ledger.refuses)

    case = await decide(desk, case)

    assert (case.state, case.resolution) == (CaseState.OPEN, Resolution.NONE)
    first, second = number_of(payment_no, 1), number_of(payment_no, 2)
    assert payment_of(first) == payment_of(second) == payment_of(payment_no) == payment_no
    [*_, note] = await list_notes(desk.db, case.case_id)
    assert note.text == f"release {first} was refused: CREDIT_ACCOUNT_BLOCKED"

    case = await decide(desk, case)

    assert case.state is CaseState.RESOLVED
    assert [number for _, number, *_ in asked(neighbours)] == [first, second]
    assert (await the_payment(desk, payment_no)).release_no == second


@pytest.mark.parametrize("silence", ["breaks", "breaks_after", "declines"])
async def test_silence_ends_nothing_and_the_timer_asks_under_the_same_number(
    desk, neighbours, silence
):
    """Whether it was booked or not, it is booked once."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")

    case = await silent(desk, neighbours, case, getattr(neighbours.ledger, silence))
    for _ in range(2):
        await resume_case(desk, case_id=case.case_id)

    after = await find_case(desk.db, case.case_id)
    assert after.state is CaseState.RESOLVED
    assert {number for _, number, *_ in asked(neighbours)} == {number_of(payment_no, 1)}
    assert len(neighbours.ledger.effects) == 1


@pytest.mark.parametrize("state", ["review", "closed"])
async def test_what_a_channel_has_taken_back_is_not_let_go(desk, neighbours, state):
    """Its money left suspense with it, so the ledger is not asked."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    for one in ("review", state):
        await desk.db.rows("UPDATE payment SET state = %(state)s", state=one)

    case = await decide(desk, case)

    assert (case.state, case.rounds) == (CaseState.OPEN, 0)
    assert asked(neighbours) == []
    [*_, note] = await list_notes(desk.db, case.case_id)
    assert note.text == f"payment {payment_no} is {state.upper()}"


async def test_a_round_that_was_not_begun_leaves_its_number_to_the_next(desk, neighbours):
    """Who was to carry it out and comes late, after all was restored, books nothing of his own."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    await desk.db.rows("UPDATE payment SET state = 'review'")
    opened = await decide(desk, case)
    late = replace(opened, state=CaseState.EXECUTING, rounds=1, resolution=ACCEPT)
    sql = "UPDATE payment SET state = 'succeeded', review_kind = 'CHANNEL_REVERSED'"
    await desk.db.rows(sql)

    case = await decide(desk, opened)
    with on_behalf_of():
        await release(desk, case=late)

    assert case.state is CaseState.RESOLVED
    assert {number for _, number, *_ in asked(neighbours)} == {number_of(payment_no, 1)}
    assert len(neighbours.ledger.effects) == 1


@pytest.mark.parametrize("state", ["review", "succeeded"])
async def test_a_refund_that_its_payer_has_after_all_is_not_let_go(desk, neighbours, state):
    """It went out late: what waited in suspense for the merchant is gone from there."""
    refund_no = await seed_refund(desk, await seed(desk), state="failed")
    case = await refused_case(desk, refund_no, "REFUND_FAILED", amount_minor=60)
    for one in ("review", state):
        await desk.db.rows("UPDATE refund SET state = %(state)s", state=one)

    case = await decide(desk, case)

    assert (case.state, case.rounds) == (CaseState.OPEN, 0)
    assert asked(neighbours) == []


async def test_what_was_refused_as_often_as_it_may_be_says_so(desk):
    """When it is proposed, not when the second person has come; it can be closed as it is."""
    case = await refused_case(desk, await seed(desk), "COLLECTED")
    await desk.db.rows("UPDATE exception_case SET rounds = 24")

    with pytest.raises(Refused, match="24 times"):
        await by("li", propose_resolution(desk, request(case), resolution=ACCEPT))
    as_is = Resolution.CLOSE_AS_IS
    closed = await by("li", resolve_case(desk, request(case), resolution=as_is))

    assert closed.state is CaseState.RESOLVED


async def test_what_comes_back_to_suspense_waits_for_what_is_being_let_go(desk, neighbours):
    """The case is opened again when it is known what became of that, not before."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    case = await silent(desk, neighbours, case, neighbours.ledger.breaks)

    with pytest.raises(NotExecuted):
        await refused_case(desk, payment_no, "SUSPENSE_RESTORED")
    with pytest.raises(AssertionError):  # The first one, brought anew, opens nothing.
        await refused_case(desk, payment_no, "COLLECTED")
    await resume_case(desk, case_id=case.case_id)
    assert (await find_case(desk.db, case.case_id)).state is CaseState.RESOLVED
    again = await refused_case(desk, payment_no, "SUSPENSE_RESTORED")

    assert (again.case_id, again.state, again.rounds) == (case.case_id, CaseState.OPEN, 1)


async def test_what_comes_back_while_a_release_ends_opens_its_case_again(
    desk, neighbours, monkeypatch
):
    """It was being carried out at the first look, and is over at the second: nothing is lost."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    case = await silent(desk, neighbours, case, neighbours.ledger.breaks)

    async def end_and_list(*arguments, **named):
        await resume_case(desk, case_id=case.case_id)
        return await list_cases(*arguments, **named)

    monkeypatch.setattr("payment.flow.record_posting_refused.list_cases", end_and_list)
    again = await refused_case(desk, payment_no, "SUSPENSE_RESTORED")

    assert (again.case_id, again.state, again.rounds) == (case.case_id, CaseState.OPEN, 1)


async def test_what_was_begun_is_asked_for_when_the_channel_takes_it_back_meanwhile(
    desk, neighbours
):
    """The event of the reversal has the number: it is booked by now, or refused for good."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    case = await silent(desk, neighbours, case, neighbours.ledger.breaks)
    await desk.db.rows("UPDATE payment SET state = 'review', version = version + 1")

    await resume_case(desk, case_id=case.case_id)

    assert (await find_case(desk.db, case.case_id)).state is CaseState.RESOLVED
    assert len(neighbours.ledger.effects) == 1


async def test_who_is_late_does_not_bring_an_older_number_back(desk, neighbours):
    """It still carries out the first round when the second one is over."""
    payment_no = await seed(desk)
    case = await refused_case(desk, payment_no, "COLLECTED")
    neighbours.ledger.then(neighbours.ledger.refuses)
    case = await decide(desk, await decide(desk, case))
    assert case.state is CaseState.RESOLVED

    with on_behalf_of():
        problem = await release(desk, case=replace(case, rounds=1))

    assert problem.endswith("CREDIT_ACCOUNT_BLOCKED")
    assert (await the_payment(desk, payment_no)).release_no == number_of(payment_no, 2)


async def test_the_refund_of_a_payment_out_of_suspense_brings_it_from_there(desk, neighbours):
    """Booked as the event books it, so that the money is not booked in twice."""
    payment_no = await seed(desk, from_suspense=True, cost_minor=2)

    await refund(desk, refund_item(payment_no, 60))

    [item] = neighbours.ledger.asked
    assert [(one.template, one.source_no) for one in item.postings[:2]] == [
        ("MISMATCH_SUSPENDED", "A1"),
        ("SUSPENSE_COLLECTED", payment_no),
    ]
    assert [one.template for one in item.postings[2:]] == ["REFUND_ASKED"]
