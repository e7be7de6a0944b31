"""Apply a result: whatever channel says, however often, in whatever order, beside whatever else."""

import asyncio
from itertools import permutations

import pytest

from payment.attempt import AttemptState
from payment.flow.apply_result import apply_result
from payment.states import PaymentState
from tests.service.payment.scene import (
    cases_of,
    holding,
    on_behalf_of,
    published,
    race,
    resolve,
    seed,
    the_payment,
    together,
    told,
    waiting,
    word,
)
from tongbao.payment.v1 import events_pb2, payment_pb2

HOLD = "SELECT 1 FROM payment WHERE payment_no = %s FOR UPDATE"


async def hear(desk, attempt, **named):
    """Apply a word as the consumer of channel's events does."""
    with on_behalf_of():
        return await apply_result(desk, attempt=attempt, **named)


OTHER = {"amount_minor": 90}
REPORTED = {"reported_minor": 90}
BOTH = {"amount_minor": 90, "reported_minor": 100}
DOLLARS = {"currency_code": "USD"}

# What stands, what is said, what stands then, the event, the case.
WORDS = [
    ("processing", "processing", {},         "processing", None,               None),
    ("processing", "succeeded",  {},         "succeeded",  "PaymentSucceeded", None),
    ("processing", "failed",     {},         "failed",     "PaymentFailed",    None),
    ("processing", "closed",     {},         "closed",     "PaymentFailed",    None),
    ("processing", "review",     REPORTED,   "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("processing", "review",     {},         "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("processing", "succeeded",  OTHER,      "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("processing", "succeeded",  REPORTED,   "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("processing", "succeeded",  BOTH,       "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("processing", "succeeded",  DOLLARS,    "review",     "PaymentReviewed",  "AMOUNT_MISMATCH"),
    ("failed",     "succeeded",  {},         "review",     "PaymentReviewed",  "LATE_SUCCESS"),
    ("failed",     "succeeded",  OTHER,      "review",     "PaymentReviewed",  "LATE_SUCCESS"),
    ("failed",     "review",     {},         "review",     "PaymentReviewed",  "LATE_SUCCESS"),
    ("failed",     "failed",     {},         "failed",     None,               None),
    ("failed",     "closed",     {},         "failed",     None,               None),
    ("failed",     "processing", {},         "failed",     None,               None),
    ("closed",     "succeeded",  {},         "review",     "PaymentReviewed",  "LATE_SUCCESS"),
    ("closed",     "review",     {},         "review",     "PaymentReviewed",  "LATE_SUCCESS"),
    ("closed",     "processing", {},         "closed",     None,               None),
    ("closed",     "failed",     {},         "closed",     None,               None),
    ("closed",     "closed",     {},         "closed",     None,               None),
    ("succeeded",  "succeeded",  {},         "succeeded",  None,               None),
    ("succeeded",  "processing", {},         "succeeded",  None,               None),
    ("succeeded",  "failed",     {},         "succeeded",  None,               None),
    ("succeeded",  "closed",     {},         "succeeded",  None,               None),
    ("succeeded",  "review",     {},         "review",     "PaymentReviewed",  "CHANNEL_REVERSED"),
    ("review",     "processing", {},         "review",     None,               None),
    ("review",     "succeeded",  {},         "review",     None,               None),
    ("review",     "failed",     {},         "review",     None,               None),
    ("review",     "closed",     {},         "review",     None,               None),
    ("review",     "review",     {},         "review",     None,               None),
    ("review",     "review",     REPORTED,   "review",     None,               None),
]  # fmt: skip


@pytest.mark.parametrize(("state", "said", "fields", "then", "event", "kind"), WORDS)
async def test_every_word_in_every_state(desk, state, said, fields, then, event, kind):
    """Row, answer, event and case agree; saying it again changes nothing more."""
    payment_no = await seed(desk, state=state)
    attempt = word(payment_no, said, **fields)

    answer = await hear(desk, attempt)
    again = await hear(desk, attempt)

    assert (answer.state, again.state) == (then, then)
    row = await the_payment(desk, payment_no)
    assert row.state == then
    assert (row.due_time is None) == (then != "processing")
    assert await told(desk, payment_no) == ([event] if event else [])
    assert await cases_of(desk, payment_no) == ([(kind, "open")] if kind else [])
    if kind:
        assert row.failure_reason == kind


def test_the_table_of_words_is_whole():
    """Every state a payment can be in when channel speaks meets everything channel can say."""
    heard = {(state, said) for state, said, fields, *_ in WORDS if not fields}
    states = {state.value for state in PaymentState} - {"created"}
    assert heard == {(state, said.value) for state in states for said in AttemptState}


async def test_a_success_takes_over_what_channel_knows(desk):
    """Cost and channel are in the event, from which the ledger books."""
    payment_no = await seed(
        desk, state="processing", channel_code="", attempt_no="", qr_code="tb://1"
    )

    await hear(desk, word(payment_no, "succeeded", channel_code="up", cost_minor=3))

    [(_, version, payload)] = await published(desk, payment_no)
    payment = events_pb2.PaymentSucceeded.FromString(payload).payment
    assert (version, payment.version) == (2, 2)
    assert (payment.channel_code, payment.cost_minor, payment.qr_code) == ("up", 3, "")
    assert payment.state == payment_pb2.Payment.STATE_SUCCEEDED


async def test_a_mismatch_keeps_what_the_channel_reports(desk):
    """The ledger books suspense at the channel's amount; a person sees both."""
    payment_no = await seed(desk, state="processing")

    await hear(desk, word(payment_no, "review", reported_minor=90, failure_reason="AMOUNT"))

    [(_, _, payload)] = await published(desk, payment_no)
    payment = events_pb2.PaymentReviewed.FromString(payload).payment
    assert (payment.amount.minor_units, payment.reported_minor) == (100, 90)
    [row] = await desk.db.rows(
        "SELECT facts, trace_no, deadline > now() AS later FROM exception_case"
    )
    assert row.facts["moved_minor"] == "90"
    assert row.facts["order_minor"] == "100"
    assert row.facts["attempt_reason"] == "AMOUNT"
    assert row.later


async def test_a_code_to_scan_is_kept_once(desk):
    """News for the payer is a new version without an event; the same news is none."""
    payment_no = await seed(desk, state="processing", attempt_no="")
    attempt = word(payment_no, "processing", qr_code="tb://1")

    first = await hear(desk, attempt)
    second = await hear(desk, attempt)

    assert (first.qr_code, first.version, second.version) == ("tb://1", 2, 2)
    assert await told(desk, payment_no) == []


async def test_a_second_charge_is_noticed(desk):
    """Another attempt of the same leg succeeds too: a case of its own, the payment stands."""
    payment_no = await seed(desk, state="succeeded")

    for attempt_no in ("A2", "A3", "A2"):
        await hear(desk, word(payment_no, "succeeded", attempt_no=attempt_no))

    assert (await the_payment(desk, payment_no)).state is PaymentState.SUCCEEDED
    assert await cases_of(desk, "A2") == [("DUPLICATE_SUCCESS", "open")]
    assert await cases_of(desk, "A3") == [("DUPLICATE_SUCCESS", "open")]
    assert await told(desk, payment_no) == []


@pytest.mark.parametrize(
    "wrong",
    [{"leg": "-2"}, {"app_id": "shop"}, {"number": "20261122PY0000000000000000"}],
    ids=str,
)
async def test_a_word_about_nothing_of_ours_is_a_bug(desk, wrong):
    """Another leg, another app, no payment: nothing moves, and the event will be set aside."""
    payment_no = await seed(desk, state="processing")
    leg_no = wrong.get("number", payment_no) + wrong.get("leg", "-1")
    attempt = word(payment_no, "succeeded", leg_no=leg_no, app_id=wrong.get("app_id", "mall"))

    with pytest.raises(AssertionError):
        await hear(desk, attempt)

    assert (await the_payment(desk, payment_no)).state is PaymentState.PROCESSING


ORDERS = [
    # What is said                          where it may lead
    (("processing", "succeeded", "succeeded"), {"succeeded"}),
    (("processing", "failed", "failed"),       {"failed"}),
    (("succeeded", "review"),                  {"review"}),
    (("succeeded", "failed"),                  {"succeeded", "review"}),
    (("failed", "review"),                     {"review"}),
    (("processing", "failed", "succeeded"),    {"succeeded", "review"}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "leads"), ORDERS)
async def test_order_does_not_lose_money(desk, said, leads):
    """In every order a charge ends as a success or in review with a case, never as a failure."""
    for order in set(permutations(said)):
        payment_no = await seed(desk, state="processing")
        for state in order:
            await hear(desk, word(payment_no, state))

        row = await the_payment(desk, payment_no)
        events = await told(desk, payment_no)
        assert row.state in leads, order
        assert len(events) == len(set(events)), order
        assert bool(await cases_of(desk, payment_no)) == (row.state == "review"), order


async def test_the_event_and_the_answer_at_once_move_it_once(replicas, dsn):
    """Ten words of the same success on ten replicas, all looking at the open payment."""
    desks = await replicas(10)
    payment_no = await seed(desks[0], state="processing")
    seen = await the_payment(desks[0], payment_no)
    calls = [hear(desk, word(payment_no, "succeeded"), seen=seen) for desk in desks]

    answers = await race(dsn, 10, calls, HOLD, payment_no)

    assert {answer.state for answer in answers} == {PaymentState.SUCCEEDED}
    assert {answer.version for answer in answers} == {2}
    assert await told(desks[0], payment_no) == ["PaymentSucceeded"]


FIRST = [
    # who is first          what the second one finds, and what was told
    ("succeeded", "failed", PaymentState.SUCCEEDED, ["PaymentSucceeded"]),
    ("failed", "succeeded", PaymentState.REVIEW, ["PaymentFailed", "PaymentReviewed"]),
]


@pytest.mark.parametrize(("first", "second", "then", "events"), FIRST)
async def test_whoever_loses_a_race_decides_anew(replicas, dsn, first, second, then, events):
    """Two replicas have read PROCESSING; locks are given in the order of asking."""
    desks = await replicas(2)
    payment_no = await seed(desks[0], state="processing")
    seen = await the_payment(desks[0], payment_no)
    calls = []
    async with holding(dsn, HOLD, payment_no):
        for desk, said in zip(desks, (first, second), strict=True):
            call = hear(desk, word(payment_no, said), seen=seen)
            calls.append(asyncio.create_task(call))
            await waiting(dsn, len(calls))
    winner, loser = await asyncio.gather(*calls)

    assert (winner.state, loser.state) == (first, then)
    row = await the_payment(desks[0], payment_no)
    assert (row.state, row.version) == (loser.state, loser.version)
    assert await told(desks[0], payment_no) == events
    kinds = [("LATE_SUCCESS", "open")] if then is PaymentState.REVIEW else []
    assert await cases_of(desks[0], payment_no) == kinds


async def test_a_late_success_after_a_refusal_to_submit_is_a_case(desk):
    """FAILED for NO_CHANNEL, and yet channel charged: nobody thought of an attempt before."""
    payment_no = await seed(desk, state="failed", attempt_no="", failure_reason="NO_CHANNEL")

    payment = await hear(desk, word(payment_no, "succeeded"))

    assert (payment.state, payment.reported_minor) == (PaymentState.REVIEW, 0)
    assert await cases_of(desk, payment_no) == [("LATE_SUCCESS", "open")]


async def test_the_same_conflict_again_opens_its_case_again(desk):
    """Resolved and given back, then another attempt succeeds too: never without a case."""
    payment_no = await seed(desk, state="closed")
    await hear(desk, word(payment_no, "succeeded"))
    await resolve(desk)
    sql = "UPDATE payment SET state = 'closed' WHERE payment_no = %(payment_no)s"
    await desk.db.rows(sql, payment_no=payment_no)

    await hear(desk, word(payment_no, "succeeded", attempt_no="A2"))

    assert await cases_of(desk, payment_no) == [("LATE_SUCCESS", "open")]


async def test_words_about_many_payments_share_a_statement(desk):
    """Each payment gets its own word, also from a crowded statement."""
    numbers = [await seed(desk, state="processing") for _ in range(40)]
    said = ["succeeded" if place % 2 else "failed" for place in range(40)]

    await together(*[hear(desk, word(n, s)) for n, s in zip(numbers, said, strict=True)])

    assert [(await the_payment(desk, n)).state.value for n in numbers] == said
    assert desk.db.sizes()["move_payment"] == {40: 1}
