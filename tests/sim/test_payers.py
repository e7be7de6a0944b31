"""What payers and their banks do wrong: late, never, twice, and taken back."""

import pytest

from tests.simulator import Simulator, charge, new_number, open_inbox, start_simulator
from tests.waiting import eventually

PAYER_PAYING, NEVER_PAID, PAID_AFTER_CLOSE, PAID_TWICE = 7701, 7702, 7703, 7704
REVERSED, REVERSED_FIRST, WRONG_CURRENCY = 7705, 7706, 7707
PAYS_LATE = 93


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def made(simulator: Simulator, inbox, amount_minor: int, **other) -> str:
    asked = charge(inbox, amount_minor, **other)
    status, said = await simulator.call("POST", "/v1/charges", asked)
    assert (status, said["state"]) == (200, "PENDING")
    return asked["charge_no"]


async def state(simulator: Simulator, number: str) -> str:
    return (await simulator.call("GET", f"/v1/charges/{number}"))[1]["state"]


async def becomes(simulator: Simulator, number: str, wanted: str) -> None:
    async def has() -> bool:
        return await state(simulator, number) == wanted

    await eventually(has)


async def close(simulator: Simulator, number: str) -> tuple[int, str]:
    status, said = await simulator.call("POST", f"/v1/charges/{number}/close")
    return status, said.get("code") or said["state"]


async def after_others(simulator: Simulator, inbox) -> None:
    """Return when a charge made now has been told about."""
    sign = charge(inbox)
    await simulator.call("POST", "/v1/charges", sign)
    await inbox.wait_for(lambda: inbox.about(sign["charge_no"]))


async def rows(simulator: Simulator, number: str) -> list[dict]:
    return [row for row in await simulator.truth() if number in (row["number"], row["of"])]


async def test_a_payer_who_never_comes_leaves_it_open_until_it_is_closed(simulator, inbox):
    """Not by another day either."""
    number = await made(simulator, inbox, 10_000 + NEVER_PAID)
    await after_others(simulator, inbox)
    await simulator.advance(days=1)
    assert await state(simulator, number) == "PENDING"
    assert await close(simulator, number) == (200, "CLOSED")
    await after_others(simulator, inbox)
    assert await state(simulator, number) == "CLOSED"


async def test_a_close_can_meet_a_payer_who_is_paying(simulator, inbox):
    """Refused, and then he has paid; before that nothing happened."""
    number = await made(simulator, inbox, 10_000 + PAYER_PAYING)
    await after_others(simulator, inbox)
    assert await state(simulator, number) == "PENDING"
    assert await close(simulator, number) == (409, "PAYER_IS_PAYING")
    await becomes(simulator, number, "SUCCEEDED")
    assert await close(simulator, number) == (409, "ALREADY_PAID")


async def test_a_close_can_be_refused_so_by_rule(simulator, inbox):
    """And nobody paid after all: closed again, it is closed."""
    number = await made(simulator, inbox, 10_000 + NEVER_PAID)
    await simulator.rule("payer_paying", op="close", number=number)
    assert await close(simulator, number) == (409, "PAYER_IS_PAYING")
    assert await close(simulator, number) == (200, "CLOSED")


async def test_a_closed_charge_can_be_paid_all_the_same(simulator, inbox):
    """CLOSED was said, and the money comes."""
    number = await made(simulator, inbox, 10_000 + PAID_AFTER_CLOSE)
    assert await close(simulator, number) == (200, "CLOSED")
    await becomes(simulator, number, "SUCCEEDED")
    await inbox.wait_for(lambda: inbox.about(number))
    [row] = await rows(simulator, number)
    assert (row["state"], row["moved_minor"]) == ("SUCCEEDED", 10_000 + PAID_AFTER_CLOSE)


async def test_a_payer_can_be_late_by_a_minute_or_by_what_a_rule_says(simulator, inbox):
    """In virtual time, to the moment."""
    number = await made(simulator, inbox, 1000 + PAYS_LATE)
    await simulator.rule("pays_late", op="charge", after_s=7200)
    later = await made(simulator, inbox, 1000)
    await simulator.advance(seconds=61)
    assert await state(simulator, number) == "SUCCEEDED"
    assert await state(simulator, later) == "PENDING"
    await simulator.advance(hours=2)
    assert await state(simulator, later) == "SUCCEEDED"


async def test_a_payer_can_pay_twice(simulator, inbox):
    """Under two of our numbers; two callbacks, two rows, and both can be given back."""
    amount = 10_000 + PAID_TWICE
    number = await made(simulator, inbox, amount)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    first, second = inbox.about(number)
    assert first["state"] == second["state"] == "SUCCEEDED"
    assert first["provider_no"] != second["provider_no"]
    assert first["event_id"] != second["event_id"]
    charged, again = await rows(simulator, number)
    assert (charged["kind"], charged["moved_minor"]) == ("charge", amount)
    assert (again["kind"], again["moved_minor"], again["of"]) == ("second_charge", amount, number)
    assert again["number"] == second["provider_no"]
    for given_back, status in ((2 * amount + 1, 409), (2 * amount, 200)):
        refund = {
            "refund_no": new_number("RF"),
            "charge_no": number,
            "amount_minor": given_back,
            "currency": "CNY",
            "notify_url": inbox.url,
        }
        assert (await simulator.call("POST", "/v1/refunds", refund))[0] == status


@pytest.mark.parametrize("digits", [REVERSED, REVERSED_FIRST])
async def test_a_success_can_be_taken_back(simulator, inbox, digits):
    """Two callbacks, in time or not; nothing has moved, and nothing can be given back."""
    number = await made(simulator, inbox, 10_000 + digits)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    told = [said["state"] for said in inbox.about(number)]
    in_time = ["SUCCEEDED", "REVERSED"]
    assert told == (in_time if digits == REVERSED else in_time[::-1])
    [row] = await rows(simulator, number)
    assert (row["state"], row["moved_minor"]) == ("REVERSED", 0)
    refund = {
        "refund_no": new_number("RF"),
        "charge_no": number,
        "amount_minor": 1,
        "currency": "CNY",
        "notify_url": inbox.url,
    }
    said = await simulator.call("POST", "/v1/refunds", refund)
    assert said == (409, {"code": "REFUND_EXCEEDS"})


async def test_a_refund_can_come_back_and_be_made_anew(simulator, inbox):
    """The money counts as the merchant's again."""
    number = await made(simulator, inbox, 1000)
    await inbox.wait_for(lambda: inbox.about(number))
    await simulator.rule("reversed", op="refund", after_s=86_400)
    whole = {
        "refund_no": new_number("RF"),
        "charge_no": number,
        "amount_minor": 1000,
        "currency": "CNY",
        "notify_url": inbox.url,
    }
    again = whole | {"refund_no": new_number("RF")}
    await simulator.call("POST", "/v1/refunds", whole)
    await inbox.wait_for(lambda: inbox.about(whole["refund_no"]))
    assert (await simulator.call("POST", "/v1/refunds", again))[0] == 409
    await simulator.advance(days=1)
    await inbox.wait_for(lambda: len(inbox.about(whole["refund_no"])) == 2)
    assert (await simulator.call("POST", "/v1/refunds", again))[0] == 200


@pytest.mark.parametrize(("asked", "moved"), [("CNY", "USD"), ("USD", "CNY")])
async def test_another_currency_can_be_what_really_moved(simulator, inbox, asked, moved):
    """Callback, query and truth say so, and it is what can be given back."""
    number = await made(simulator, inbox, 10_000 + WRONG_CURRENCY, currency=asked)
    await inbox.wait_for(lambda: inbox.about(number))
    assert inbox.about(number)[0]["currency"] == moved
    assert (await simulator.call("GET", f"/v1/charges/{number}"))[1]["currency"] == moved
    [row] = await rows(simulator, number)
    assert (row["currency"], row["moved_currency"]) == (asked, moved)
    back = {
        "refund_no": new_number("RF"),
        "charge_no": number,
        "amount_minor": 10_000 + WRONG_CURRENCY,
        "notify_url": inbox.url,
    }
    for currency, status in ((asked, 400), (moved, 200)):
        ask = back | {"currency": currency}
        assert (await simulator.call("POST", "/v1/refunds", ask))[0] == status


async def test_what_is_to_come_survives_a_kill(tmp_path, inbox):
    """A payer an hour late, a reversal a day later, a charge paid after its close."""
    async with start_simulator(tmp_path, pay_delay_ms=5) as simulator:
        late = await made(simulator, inbox, 1000 + PAYS_LATE)
        await simulator.rule("reversed", op="charge", after_s=86_400)
        back = await made(simulator, inbox, 1000)
        await inbox.wait_for(lambda: inbox.about(back))
        closed = await made(simulator, inbox, 10_000 + PAID_AFTER_CLOSE)
        await close(simulator, closed)
        await simulator.restart()
        await becomes(simulator, closed, "SUCCEEDED")
        assert await state(simulator, late) == "PENDING"
        await simulator.advance(days=1, seconds=1)
        assert await state(simulator, late) == "SUCCEEDED"
        assert await state(simulator, back) == "REVERSED"
        before = await simulator.truth()
        await simulator.restart()
        assert await simulator.truth() == before
        assert (await simulator.told("clock"))[0]["shift_seconds"] == 86_401
