"""Cases end by a rule or by two persons; whatever money moves, moves once."""

import asyncio

import grpc
import pytest

from mesh.numbers import Kind
from payment.case import give_back_no
from tests.service.payment.neighbours import Neighbours
from tests.service.payment.office import Office, request_id
from tests.service.payment.scene import NUMBERS
from tests.services import info_of
from tongbao.channel.v1 import attempt_pb2
from tongbao.payment.v1 import case_pb2, events_pb2
from tongbao.payment.v1 import payment_ops_service_pb2 as ops

SUCCEEDED = attempt_pb2.Attempt.STATE_SUCCEEDED
FAILED = attempt_pb2.Attempt.STATE_FAILED
REVIEW = attempt_pb2.Attempt.STATE_REVIEW
ACCEPT, GIVE_BACK = case_pb2.RESOLUTION_ACCEPT, case_pb2.RESOLUTION_GIVE_BACK
AS_IS = case_pb2.RESOLUTION_CLOSE_AS_IS


@pytest.fixture
async def neighbours(ground):
    async with Neighbours(ground.settings("payment").socket_dir) as all_three:
        yield all_three


@pytest.fixture
async def office(ground, neighbours):
    async with ground.run("payment") as handle:
        yield Office(ground, handle)


def templates(neighbours):
    """What the ledger was asked to book, in order."""
    return [p.template for item in neighbours.ledger.asked for p in item.postings]


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return info_of(caught.value).reason


async def test_a_late_success_is_given_back_by_two_persons(office, neighbours):
    """Proposed by one, approved by another: one refund by the original route, then CLOSED."""
    payment_no = office.seed()
    [[attempt_no]] = office.handle.rows("SELECT attempt_no FROM payment")
    await office.says(payment_no, SUCCEEDED)
    case = await office.only_case(kinds=["LATE_SUCCESS"])
    assert (case.parked_on, case.parked.minor_units) == ("SUSPENSE", 100)
    assert case.state == case_pb2.Case.STATE_OPEN

    case = await office.decide(case, GIVE_BACK)

    assert case.state == case_pb2.Case.STATE_RESOLVED
    await office.until(payment_no, "closed")
    number = give_back_no(attempt_no, round_no=1)
    [leg] = neighbours.channel.asked
    assert (leg.leg_no, leg.original_leg_no) == (f"{number}-1", f"{payment_no}-1")
    assert (leg.original_attempt_no, leg.amount.minor_units) == (attempt_no, 100)
    assert templates(neighbours) == ["MISMATCH_SUSPENDED", "SUSPENSE_RETURN_ASKED"]
    told = office.handle.published(events_pb2.GiveBackSucceeded)
    assert [one.give_back.give_back_no for one in told] == [number]
    [ended] = office.handle.published(events_pb2.PaymentFailed)
    assert ended.payment.review_kind == "LATE_SUCCESS"
    found = await office.maker.GetCase(ops.GetCaseRequest(case_id=case.case_id))
    assert [(note.event, note.actor) for note in found.notes] == [
        ("OPENED", "payment"),
        ("PROPOSE", "op:admin"),
        ("APPROVE", "op:second"),
        ("FINISH", "payment"),
    ]
    assert found.notes[1].text == "the bank's letter of today"
    assert {entry.kind for entry in found.entries} == {"payment", "case", "give_back"}


async def test_a_late_success_that_is_accepted_succeeds(office):
    """The same money as was asked for: the payment has succeeded, and says why it was late."""
    payment_no = office.seed()
    await office.says(payment_no, SUCCEEDED)

    case = await office.decide(await office.only_case(), ACCEPT)

    assert case.state == case_pb2.Case.STATE_RESOLVED
    [won] = office.handle.published(events_pb2.PaymentSucceeded)
    assert (won.payment.payment_no, won.payment.review_kind) == (payment_no, "LATE_SUCCESS")
    assert won.payment.failure_reason == ""


async def test_another_amount_can_only_be_given_back(office, neighbours):
    """Nobody is paid with 90 for 100; the channel's amount is what goes back."""
    payment_no = office.seed(state="processing", due_time="2100-01-01")
    await office.says(payment_no, REVIEW, reported_minor=90, failure_reason="AMOUNT_MISMATCH")
    case = await office.only_case(kinds=["AMOUNT_MISMATCH"])

    assert await refused(office.decide(case, ACCEPT)) == "RESOLUTION_NOT_ALLOWED"
    await office.decide(case, GIVE_BACK)

    await office.until(payment_no, "closed")
    assert neighbours.channel.asked[-1].amount.minor_units == 90


async def test_another_currency_goes_back_in_that_currency(office, neighbours):
    """100 dollars for 100 yuan look equal, and are not."""
    payment_no = office.seed(state="processing", due_time="2100-01-01")
    await office.says(
        payment_no, REVIEW, reported_minor=100, reported_currency_code="USD",
        failure_reason="CURRENCY_MISMATCH",
    )  # fmt: skip
    case = await office.only_case()
    assert (case.parked.currency_code, case.parked.minor_units) == ("USD", 100)

    assert await refused(office.decide(case, ACCEPT)) == "RESOLUTION_NOT_ALLOWED"
    await office.decide(case, GIVE_BACK)

    assert neighbours.channel.asked[-1].amount.currency_code == "USD"


async def test_a_rule_gives_a_late_success_back_by_itself(office, neighbours):
    """AUTO_REFUND of the product: nobody is asked; other products wait for a person."""
    rule = ops.PutCaseRuleRequest(
        rule_id="tea", kind="LATE_SUCCESS", product_code="TEA", owner="finance",
        action=case_pb2.CASE_ACTION_AUTO_REFUND, deadline_seconds=3600,
    )  # fmt: skip
    await office.maker.PutCaseRule(rule)
    tea, coffee = office.seed(), office.seed(product_code="COFFEE")
    await office.says(tea, SUCCEEDED)
    await office.says(coffee, SUCCEEDED)

    await office.until(tea, "closed")

    cases = (await office.maker.ListCases(ops.ListCasesRequest())).cases
    assert [(one.number, one.rule, one.owner) for one in cases] == [
        (tea, "tea:1", "finance"),
        (coffee, "default_late_success:1", ""),
    ]
    done = await office.resolved(cases[0])
    assert [note.actor for note in done.notes] == ["payment", "rule:tea:1", "payment"]
    await office.until(coffee, "review")
    assert len(neighbours.channel.asked) == 1


async def test_a_second_success_of_a_trade_never_wins(office):
    """Two tries of one trade: the first one late, the second one paid. The winner stays."""
    trade_no = NUMBERS.next(Kind.TRADE)
    late = office.seed(trade_no=trade_no)
    won = office.seed(trade_no=trade_no, state="processing", due_time="2100-01-01")
    await office.says(won, SUCCEEDED)

    await office.says(late, SUCCEEDED)

    case = await office.only_case()
    assert (case.kind, case.number, case.parked_on) == ("DUPLICATE_SUCCESS", late, "DUPLICATE")
    assert await refused(office.decide(case, ACCEPT)) == "RESOLUTION_NOT_ALLOWED"
    await office.decide(case, GIVE_BACK)
    await office.until(late, "closed")
    await office.until(won, "succeeded")


async def test_an_accepted_late_success_beats_the_try_that_follows(office):
    """At most one payment of a trade wins, whoever comes first: the other is a duplicate."""
    trade_no = NUMBERS.next(Kind.TRADE)
    late = office.seed(trade_no=trade_no)
    later = office.seed(trade_no=trade_no, state="processing", due_time="2100-01-01")
    await office.says(late, SUCCEEDED)
    await office.decide(await office.only_case(), ACCEPT)

    await office.says(later, SUCCEEDED)

    await office.until(later, "review")
    case = await office.only_case(kinds=["DUPLICATE_SUCCESS"])
    assert (case.number, case.parked_on) == (later, "DUPLICATE")
    assert office.handle.rows("SELECT payment_no FROM winner") == [(late,)]


async def test_a_further_charge_of_a_payment_is_parked_and_given_back(office, neighbours):
    """Another attempt, or a second success under the same number: a case beside the payment."""
    payment_no = office.seed(state="succeeded")
    other = NUMBERS.next(Kind.ATTEMPT)
    for _ in range(2):
        await office.says(payment_no, SUCCEEDED, attempt_no=other)
    case = await office.only_case()
    [told] = office.handle.published(events_pb2.ChargeDuplicated)
    assert (case.kind, case.number) == ("DUPLICATE_SUCCESS", other)
    assert (told.attempt_no, told.amount.minor_units) == (other, 100)

    case = await office.decide(case, GIVE_BACK)

    assert case.state == case_pb2.Case.STATE_RESOLVED
    assert templates(neighbours) == ["DUPLICATE_PARKED", "DUPLICATE_RETURN_ASKED"]
    assert neighbours.channel.asked[-1].original_attempt_no == other
    await office.until(payment_no, "succeeded")


async def test_a_second_success_under_the_same_number_is_noticed_in_any_order(office):
    """Channel says it of the attempt itself; the payment succeeds once and has one case."""
    payment_no = office.seed(state="processing", due_time="2100-01-01")
    await office.says(payment_no, REVIEW, failure_reason="DUPLICATE_SUCCESS")
    await office.says(payment_no, SUCCEEDED)

    await office.until(payment_no, "succeeded")
    case = await office.only_case()
    assert (case.kind, case.parked_on) == ("DUPLICATE_SUCCESS", "DUPLICATE")
    assert len(office.handle.published(events_pb2.ChargeDuplicated)) == 1


@pytest.mark.parametrize(
    ("resolution", "then"), [(ACCEPT, "succeeded"), (GIVE_BACK, "closed")], ids=str
)
async def test_a_success_that_is_taken_back_is_decided(office, neighbours, resolution, then):
    """No money is at the channel, so none is given back there; a person says what counts."""
    payment_no = office.seed(state="succeeded")
    await office.says(payment_no, REVIEW, failure_reason="CHANNEL_REVERSED")
    case = await office.only_case(kinds=["CHANNEL_REVERSED"])
    assert case.parked_on == ""

    case = await office.decide(case, resolution)

    assert case.state == case_pb2.Case.STATE_RESOLVED
    await office.until(payment_no, then)
    assert neighbours.channel.asked == []


@pytest.mark.parametrize(
    ("resolution", "then", "taken"), [(ACCEPT, "succeeded", 60), (GIVE_BACK, "failed", 0)], ids=str
)
async def test_a_refund_that_came_back_is_decided(office, resolution, then, taken):
    """退票: the payer kept it, or the merchant has it again and may refund anew."""
    payment_no = office.seed(state="succeeded", refunded_minor=60)
    refund_no = office.seed_refund(payment_no)
    await office.says(refund_no, REVIEW, amount_minor=60, failure_reason="CHANNEL_REVERSED")
    [told] = office.handle.published(events_pb2.RefundReviewed)
    assert told.refund.review_kind == "CHANNEL_REVERSED"

    await office.decide(await office.only_case(), resolution)

    await office.until(refund_no, then, table="refund")
    assert office.handle.rows("SELECT refunded_minor FROM payment") == [(taken,)]


async def test_a_give_back_that_fails_opens_its_case_again(office, neighbours):
    """Nothing is lost: a second round has a number of its own, and the money is where it was."""
    payment_no = office.seed()
    await office.says(payment_no, SUCCEEDED)
    neighbours.channel.then(neighbours.channel.says(FAILED, failure_reason="REFUND_NOT_ALLOWED"))
    case = await office.only_case()

    case = await office.decide(case, GIVE_BACK)

    assert (case.state, case.action) == (case_pb2.Case.STATE_OPEN, case_pb2.CASE_ACTION_MANUAL)
    assert len(office.handle.published(events_pb2.GiveBackFailed)) == 1
    blocked = await office.only_case(kinds=["REFUND_BLOCKED"])
    assert blocked.facts["problem"] == "REFUND_NOT_ALLOWED"
    await office.until(payment_no, "review")

    case = await office.decide(case, GIVE_BACK)

    assert case.state == case_pb2.Case.STATE_RESOLVED
    first, second = [leg.leg_no[8:10] for leg in neighbours.channel.asked]
    assert (first, second) == ("GB", "GC")
    await office.until(payment_no, "closed")


async def test_silence_ends_nothing_and_the_timer_goes_on(office, neighbours):
    """The channel's answer is lost; its event comes later and ends the case."""
    payment_no = office.seed()
    await office.says(payment_no, SUCCEEDED)
    neighbours.channel.then(neighbours.channel.says(attempt_pb2.Attempt.STATE_PROCESSING))

    case = await office.decide(await office.only_case(), GIVE_BACK)

    assert case.state == case_pb2.Case.STATE_EXECUTING
    assert case.HasField("due_time")
    number = neighbours.channel.asked[0].leg_no[:26]
    await office.says(number, SUCCEEDED, attempt_no=NUMBERS.next(Kind.ATTEMPT))
    await office.resolved(case)
    await office.until(payment_no, "closed")


async def test_who_proposes_cannot_approve(office):
    """Four eyes, and what was seen is what is approved."""
    await office.says(office.seed(), SUCCEEDED)
    case = await office.decide(await office.only_case(), GIVE_BACK, approved=False)

    def approve(version):
        return ops.ApproveResolutionRequest(
            request_id=request_id(), case_id=case.case_id, version=version
        )

    own = approve(case.version)
    assert await refused(office.maker.ApproveResolution(own)) == "SECOND_PERSON_NEEDED"
    stale = approve(case.version - 1)
    assert await refused(office.checker.ApproveResolution(stale)) == "CASE_NOT_READY"
    alone = ops.ResolveCaseRequest(
        request_id=request_id(), case_id=case.case_id, resolution=GIVE_BACK, evidence="x"
    )
    assert await refused(office.maker.ResolveCase(alone)) == "CASE_NOT_READY"
    reject = ops.RejectResolutionRequest(
        request_id=request_id(), case_id=case.case_id, version=case.version, text="no letter"
    )
    case = (await office.checker.RejectResolution(reject)).case
    assert (case.state, case.proposed_by) == (case_pb2.Case.STATE_OPEN, "")
    assert await refused(office.maker.ResolveCase(alone)) == "SECOND_PERSON_NEEDED"


async def test_two_approvals_at_once_make_one_refund(office, neighbours):
    """Whoever is second finds the case decided."""
    await office.says(office.seed(), SUCCEEDED)
    case = await office.decide(await office.only_case(), GIVE_BACK, approved=False)

    async def approve():
        request = ops.ApproveResolutionRequest(
            request_id=request_id(), case_id=case.case_id, version=case.version
        )
        return await office.checker.ApproveResolution(request)

    results = await asyncio.gather(*(approve() for _ in range(8)), return_exceptions=True)

    won = [one for one in results if not isinstance(one, grpc.aio.AioRpcError)]
    assert len(won) == 1
    assert {leg.leg_no for leg in neighbours.channel.asked} == {neighbours.channel.asked[0].leg_no}


async def test_a_repeated_request_does_nothing_twice(office):
    """The same id and content is answered with the case as it is; other content is refused."""
    await office.says(office.seed(), SUCCEEDED)
    case = await office.only_case()
    request = ops.AssignCaseRequest(request_id="a-1", case_id=case.case_id, owner="lin")
    first = (await office.maker.AssignCase(request)).case
    again = (await office.maker.AssignCase(request)).case
    assert (first.version, again.version, again.owner) == (2, 2, "lin")
    other = ops.AssignCaseRequest(request_id="a-1", case_id=case.case_id, owner="mo")
    assert await refused(office.maker.AssignCase(other)) == "REQUEST_REUSED"
    assert (await office.only_case(owner="lin")).case_id == case.case_id


async def test_the_history_cannot_be_changed(office):
    """Not by the service's own role either."""
    await office.says(office.seed(), SUCCEEDED)
    for sql in ("UPDATE case_note SET text = 'x'", "DELETE FROM case_note"):
        with pytest.raises(Exception, match="append-only"):
            office.handle.rows(sql)


async def test_cases_are_listed_in_pages(office):
    """Oldest first, each once, narrowed by kind and state."""
    for _ in range(5):
        await office.says(office.seed(), SUCCEEDED)
    seen, token = [], ""
    while True:
        request = ops.ListCasesRequest(page_size=2, page_token=token, kinds=["LATE_SUCCESS"])
        page = await office.maker.ListCases(request)
        seen += [case.case_id for case in page.cases]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 5
    first = await office.maker.ListCases(ops.ListCasesRequest(page_size=2))
    for strange in (first.next_page_token, f"{10**20 - 1}-cas_{'a' * 26}"):
        request = ops.ListCasesRequest(page_token=strange, overdue=True)
        assert await refused(office.maker.ListCases(request)) == "PAGE_TOKEN_INVALID"
    resolved = ops.ListCasesRequest(states=[case_pb2.Case.STATE_RESOLVED])
    assert (await office.maker.ListCases(resolved)).cases == []
    assert (await office.maker.ListCases(ops.ListCasesRequest(overdue=True))).cases == []
    await office.handle.shift("2 days")
    late = (await office.maker.ListCases(ops.ListCasesRequest(overdue=True))).cases
    assert len(late) == 5


async def test_what_nobody_can_say_is_a_case_and_stays_open(office, neighbours):
    """The channel's horizon has passed: a case, once, and never a failure; asked again by hand."""
    payment_no = office.seed(state="processing", due_time="2026-01-01")
    lost = neighbours.channel.says(attempt_pb2.Attempt.STATE_PROCESSING, is_past_horizon=True)
    neighbours.channel.then(lost)
    case = await office.case_of(payment_no)
    assert (case.kind, case.parked_on) == ("INQUIRY_EXHAUSTED", "")
    await office.until(payment_no, "processing")
    assert await refused(office.decide(case, GIVE_BACK)) == "RESOLUTION_NOT_ALLOWED"

    number = next(iter(neighbours.channel.effects))
    neighbours.channel.effects[number].state = SUCCEEDED
    neighbours.channel.effects[number].is_past_horizon = False
    again = ops.ResolveCaseRequest(
        request_id=request_id(), case_id=case.case_id, evidence="they say it is there now",
        resolution=case_pb2.RESOLUTION_RESEND,
    )  # fmt: skip
    case = (await office.maker.ResolveCase(again)).case

    assert case.state == case_pb2.Case.STATE_RESOLVED
    await office.until(payment_no, "succeeded")
