"""Evaluating payments: the deny list, the limit, the same answer for ever."""

import asyncio
import random
from datetime import date, timedelta

import pytest

from tests.service.risk.asking import (
    APP,
    BLOCK,
    PASS,
    decisions,
    evaluate,
    new_number,
    payment,
    put_deny_entry,
    put_limit,
    state_of,
    used,
)
from tests.services import holding

EXCEEDED, DENIED = (BLOCK, "LIMIT_EXCEEDED"), (BLOCK, "DENY_LIST")
PASSED = (PASS, "")
ONE_ROW = "SELECT 1 FROM limit_use WHERE user_no = 'u1' FOR UPDATE"


async def test_what_fits_passes_and_is_reserved(risk):
    """Also when it takes the limit to its last unit."""
    await put_limit(risk, 100)
    first, second = payment(60), payment(40)
    assert await decisions(risk, first) == [PASSED]
    assert await decisions(risk, second) == [PASSED]
    assert used(risk) == [100]
    assert state_of(risk, first) == state_of(risk, second) == "reserved"


async def test_what_does_not_fit_is_blocked_and_reserves_nothing(risk):
    """Neither as the first payment of the day nor as a later one."""
    await put_limit(risk, 100)
    assert await decisions(risk, payment(101)) == [EXCEEDED]
    assert used(risk) == []
    await decisions(risk, payment(60))
    late = payment(41)
    assert await decisions(risk, late) == [EXCEEDED]
    assert used(risk) == [60]
    assert state_of(risk, late) == "none"


async def test_a_batch_answers_as_the_same_calls_one_by_one_would(risk):
    """Sixty payments of three users, one of no limited app and one of nobody, mixed."""
    await put_limit(risk, 1_000)
    await put_deny_entry(risk, "u3")
    draw = random.Random(20261122)
    left = {"u1": 1_000, "u2": 1_000}
    items, expected = [], []
    for _ in range(60):
        user_no = draw.choice(["u1", "u1", "u2", "u3", ""])
        app_id = draw.choice([APP, APP, APP, "kiosk"])
        item = payment(draw.randrange(20, 300), user_no=user_no, app_id=app_id)
        items.append(item)
        amount = item.amount.minor_units
        if app_id == APP and user_no == "u3":
            expected.append(DENIED)
        elif app_id == APP and user_no in left and amount > left[user_no]:
            expected.append(EXCEEDED)
        else:
            expected.append(PASSED)
            if app_id == APP and user_no in left:
                left[user_no] -= amount
    assert {PASSED, EXCEEDED, DENIED} == set(expected)
    assert await decisions(risk, *items) == expected
    assert [used(risk, user_no) for user_no in left] == [[1_000 - rest] for rest in left.values()]


@pytest.mark.parametrize(
    ("before", "after"), [([], [60]), ([payment(30)], [90])], ids=["first", "later"]
)
async def test_two_replicas_never_exceed_a_limit(ground, risk, before, after):
    """Each payment fits alone; both wait for the user's row at once; one of them passes."""
    await put_limit(risk, 100)
    await decisions(risk, *before, payment(1, user_no="other"))
    key = "INSERT INTO limit_use VALUES ('mall', 'u1', 'CNY', %(day)s, 0)"
    lock = (ONE_ROW, {}) if before else (key, {"day": risk.runtime.clock.local().date()})
    async with ground.run("risk", replica=1) as other, asyncio.TaskGroup() as group:
        async with holding(risk.dsn, lock[0], **lock[1]):
            calls = [group.create_task(decisions(one, payment(60))) for one in (risk, other)]
            await risk.blocked(2)
        said = [await call for call in calls]
    assert sorted(said) == sorted([[PASSED], [EXCEEDED]])
    assert used(risk) == after


@pytest.mark.parametrize("neighbours", [0, 9])
async def test_a_payment_evaluated_twice_at_once_is_counted_once(ground, risk, neighbours):
    """Two replicas hold the same payment; both answer alike and one amount is reserved.

    The second one's statement is undone as a whole, its neighbours' part with it, and redone.
    """
    await put_limit(risk, 1_000)
    await decisions(risk, payment(10))
    same, others = payment(60), [payment(5, user_no=f"v{n}") for n in range(neighbours)]
    async with ground.run("risk", replica=1) as other, asyncio.TaskGroup() as group:
        async with holding(risk.dsn, ONE_ROW):
            first = group.create_task(decisions(risk, same))
            await risk.blocked(1)
            second = group.create_task(decisions(other, *others, same))
            await risk.blocked(2)
        assert await first == [PASSED]
        assert await second == [PASSED] * (neighbours + 1)
    assert used(risk) == [70]
    assert [used(risk, f"v{n}") for n in range(neighbours)] == [[5]] * neighbours


async def test_a_payment_evaluated_again_gets_the_same_decision(risk):
    """Whatever has changed since: the limit, the deny list."""
    await put_limit(risk, 100)
    passed, blocked = payment(60), payment(200)
    await decisions(risk, passed, blocked)
    await put_deny_entry(risk)
    await put_limit(risk, 1_000)
    assert await decisions(risk, passed, blocked, passed) == [PASSED, EXCEEDED, PASSED]
    assert used(risk) == [60]


@pytest.mark.parametrize("change", [{"minor_units": 61}, {"user_no": "u2"}, {"app_id": "kiosk"}])
async def test_a_number_that_stands_for_other_content_is_refused(risk, change):
    """Other amount, other payer, other app; the other items of the batch are answered."""
    await put_limit(risk, 100)
    number = new_number()
    await decisions(risk, payment(60, payment_no=number))
    other, fine = payment(**({"minor_units": 60} | change), payment_no=number), payment(7)
    refused, passed = await evaluate(risk, other, fine)
    assert (refused.status.reason, refused.decision) == ("REQUEST_REUSED", 0)
    assert dict(refused.status.metadata) == {"field": "payment_no", "number": number}
    assert passed.decision == PASS
    assert used(risk) == [67]


async def test_nobody_is_limited_without_a_limit(risk):
    """No row of the app and currency, or no user number."""
    await put_limit(risk, 1, currency="USD")
    await put_limit(risk, 1, app_id="kiosk")
    items = [payment(10**9), payment(10**9, user_no="", currency="USD")]
    assert await decisions(risk, *items) == [PASSED, PASSED]
    assert risk.rows("SELECT used_minor FROM limit_use") == []
    assert state_of(risk, items[0]) == "none"


async def test_a_limit_of_zero_lets_nothing_through(risk):
    """Zero is a limit, not the absence of one."""
    await put_limit(risk, 0)
    assert await decisions(risk, payment(1)) == [EXCEEDED]


async def test_a_lowered_limit_counts_for_the_next_payment(risk):
    """What was reserved under the old one stays."""
    await put_limit(risk, 100)
    await decisions(risk, payment(60))
    await put_limit(risk, 50)
    assert await decisions(risk, payment(1)) == [EXCEEDED]
    assert used(risk) == [60]


async def test_a_denied_user_is_blocked_until_lifted(risk):
    """The deny list comes before the limit and takes nothing from it."""
    await put_limit(risk, 100)
    await put_deny_entry(risk)
    assert await decisions(risk, payment(200), payment(60)) == [DENIED, DENIED]
    assert await decisions(risk, payment(60, user_no="u2")) == [PASSED]
    assert await decisions(risk, payment(60, app_id="kiosk")) == [PASSED]
    assert used(risk) == []
    await put_deny_entry(risk, lifted=True)
    assert await decisions(risk, payment(60)) == [PASSED]


async def test_a_new_business_date_brings_a_new_limit(risk):
    """Midnight in the business time zone, by the shifted clock, not midnight in UTC."""
    await put_limit(risk, 100)
    local = risk.runtime.clock.local()
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    await risk.shift(f"{(midnight - local).total_seconds() - 30:.0f} seconds")
    assert await decisions(risk, payment(60), payment(60)) == [PASSED, EXCEEDED]
    await risk.shift("60 seconds")
    assert await decisions(risk, payment(60), payment(60)) == [PASSED, EXCEEDED]
    assert used(risk) == [60, 60]
    days = risk.rows("SELECT business_date FROM limit_use ORDER BY business_date")
    assert days == [(local.date(),), (midnight.date(),)]
    assert isinstance(days[0][0], date)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (payment(0), "amount.minor_units: must be positive"),
        (payment(-5), "amount.minor_units: must be positive"),
        (payment(payment_no="no number"), "payment_no: "),
        (payment(app_id=""), "context.app_id: "),
    ],
)
async def test_an_item_that_breaks_its_rules_does_not_touch_its_neighbours(risk, broken, text):
    """It alone is refused, and takes nothing."""
    await put_limit(risk, 100)
    refused, passed = await evaluate(risk, broken, payment(60))
    assert refused.status.reason == "INVALID_FIELDS"
    assert text in refused.status.message
    assert passed.decision == PASS
    assert used(risk) == [60]
