"""What the simulator does wrong on purpose: by the amount's last digits and by rule."""

import asyncio
import errno

import aiohttp
import pytest

from sim.faults import MAGIC, OPS, Fault, Op
from tests.simulator import ROOT, Inbox, Simulator, charge, new_number, open_inbox, start_simulator
from tests.waiting import eventually

LOST_CALLBACK, PROCESSED_HANG, RESET, REFUSED, TRIPLE, WRONG_AMOUNT, HANG = (
    90,
    91,
    92,
    94,
    95,
    96,
    97,
)


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def make(simulator: Simulator, inbox: Inbox, kind: str, amount_minor: int) -> dict:
    """What to ask for a charge or, of a charge that was paid, a refund."""
    if kind == "charge":
        return charge(inbox, amount_minor)
    paid = charge(inbox, 100_000)
    await simulator.call("POST", "/v1/charges", paid)
    await inbox.wait_for(lambda: inbox.about(paid["charge_no"]))
    return {
        "refund_no": new_number("RF"),
        "charge_no": paid["charge_no"],
        "amount_minor": amount_minor,
        "currency": "CNY",
        "notify_url": inbox.url,
    }


def number_of(asked: dict) -> str:
    return asked.get("refund_no", asked["charge_no"])


async def post(simulator: Simulator, kind: str, asked: dict) -> tuple[int, dict]:
    return await simulator.call("POST", f"/v1/{kind}s", asked)


async def look(simulator: Simulator, kind: str, asked: dict) -> tuple[int, dict]:
    return await simulator.call("GET", f"/v1/{kind}s/{number_of(asked)}")


async def has_ended(simulator: Simulator, kind: str, asked: dict) -> bool:
    status, now = await look(simulator, kind, asked)
    return status == 200 and now["state"] != "PENDING"


async def a_later_callback(simulator: Simulator, inbox: Inbox) -> None:
    """Return when a charge made now has been told about: what was due before it has come."""
    sign = charge(inbox)
    await post(simulator, "charge", sign)
    await inbox.wait_for(lambda: inbox.about(sign["charge_no"]))


each_kind = pytest.mark.parametrize("kind", ["charge", "refund"])


@each_kind
async def test_a_lost_callback_never_comes(simulator, inbox, kind):
    """Only the query tells."""
    asked = await make(simulator, inbox, kind, 1000 + LOST_CALLBACK)
    assert (await post(simulator, kind, asked))[0] == 200
    await eventually(lambda: has_ended(simulator, kind, asked))
    await a_later_callback(simulator, inbox)
    assert (await look(simulator, kind, asked))[1]["state"] == "SUCCEEDED"
    assert not inbox.about(number_of(asked))


@each_kind
async def test_a_processed_hang_is_silent_but_done(simulator, inbox, kind):
    """No reply, no callback; asked again under its number it answers."""
    asked = await make(simulator, inbox, kind, 1000 + PROCESSED_HANG)
    hung = asyncio.create_task(post(simulator, kind, asked))
    await eventually(lambda: has_ended(simulator, kind, asked))
    await a_later_callback(simulator, inbox)
    assert not hung.done()
    assert not inbox.about(number_of(asked))
    status, again = await post(simulator, kind, asked)
    assert (status, again["state"]) == (200, "SUCCEEDED")
    hung.cancel()
    await asyncio.wait([hung])


@each_kind
async def test_a_reset_comes_before_processing(simulator, inbox, kind):
    """Once for each number: sent again, it comes through."""
    for _ in range(2):
        asked = await make(simulator, inbox, kind, 1000 + RESET)
        with pytest.raises(aiohttp.ClientOSError) as failed:
            await post(simulator, kind, asked)
        assert failed.value.errno == errno.ECONNRESET
        assert (await look(simulator, kind, asked))[0] == 404
        assert (await post(simulator, kind, asked))[0] == 200


@each_kind
async def test_the_payers_bank_refuses_later(simulator, inbox, kind):
    """First accepted, then FAILED; nothing moved; a refund that failed can be made anew."""
    asked = await make(simulator, inbox, kind, 1000 + REFUSED)
    assert (await post(simulator, kind, asked))[1]["state"] == "PENDING"
    await inbox.wait_for(lambda: inbox.about(number_of(asked)))
    [said] = inbox.about(number_of(asked))
    assert (said["state"], said["amount_minor"]) == ("FAILED", asked["amount_minor"])
    assert (await look(simulator, kind, asked))[1]["state"] == "FAILED"
    [row] = [row for row in await simulator.truth() if row["number"] == number_of(asked)]
    assert (row["state"], row["moved_minor"]) == ("FAILED", 0)
    if kind == "refund":
        whole = asked | {"refund_no": new_number("RF"), "amount_minor": 100_000}
        assert (await post(simulator, kind, whole))[0] == 200


@each_kind
async def test_a_triple_callback_comes_three_times_at_once(simulator, inbox, kind):
    """The same event each time; the first is not answered before the others are there."""
    asked = await make(simulator, inbox, kind, 1000 + TRIPLE)
    inbox.hold(3, about=number_of(asked))
    await post(simulator, kind, asked)
    await inbox.wait_for(lambda: len(inbox.about(number_of(asked))) == 3)
    first, second, third = inbox.about(number_of(asked))
    assert first == second == third


async def test_a_wrong_amount_is_what_really_moved(simulator, inbox):
    """Callback, query and truth say so; as much can be given back."""
    asked = await make(simulator, inbox, "charge", 1000 + WRONG_AMOUNT)
    assert (await post(simulator, "charge", asked))[1]["amount_minor"] == 1096
    await inbox.wait_for(lambda: inbox.about(asked["charge_no"]))
    assert inbox.about(asked["charge_no"])[0]["amount_minor"] == 1097
    assert (await look(simulator, "charge", asked))[1]["amount_minor"] == 1097
    [row] = [row for row in await simulator.truth() if row["number"] == asked["charge_no"]]
    assert (row["amount_minor"], row["moved_minor"]) == (1096, 1097)


async def test_a_refund_gives_back_what_was_asked_whatever_its_digits(simulator, inbox):
    """A bank that gives back more would be our own mistake."""
    asked = await make(simulator, inbox, "refund", 1000 + WRONG_AMOUNT)
    await post(simulator, "refund", asked)
    await inbox.wait_for(lambda: inbox.about(asked["refund_no"]))
    assert inbox.about(asked["refund_no"])[0]["amount_minor"] == 1096


@each_kind
async def test_a_hang_is_silent_and_nothing_is_done(simulator, inbox, kind):
    """The query says NOT_FOUND."""
    asked = await make(simulator, inbox, kind, 1000 + HANG)
    hung = asyncio.create_task(post(simulator, kind, asked))
    await a_later_callback(simulator, inbox)
    assert not hung.done()
    hung.cancel()
    await asyncio.wait([hung])
    assert await look(simulator, kind, asked) == (404, {"code": "NOT_FOUND"})


async def test_a_rule_wins_over_the_amount_as_often_as_it_says(simulator, inbox):
    """The first rule that matches, in the order in which they came."""
    asked = charge(inbox, 2000 + RESET)
    number = {"number": asked["charge_no"]}
    await simulator.rule("system_error", op="charge", times=2, **number)
    await simulator.rule("none", op="charge", **number)
    for _ in range(2):
        said = await post(simulator, "charge", asked)
        assert said == (500, {"code": "SYSTEM_ERROR"})
    assert (await look(simulator, "charge", asked))[0] == 404
    assert (await post(simulator, "charge", asked))[0] == 200


async def test_a_rule_strikes_only_what_it_names(simulator, inbox):
    """Acquirer, operation, amount, number."""
    struck = charge(inbox, 3131)
    await simulator.rule("reset", op="charge", amount_minor=3131)
    await simulator.rule("reset", op="close", number=struck["charge_no"])
    assert (await post(simulator, "charge", charge(inbox, 3132)))[0] == 200
    said = await simulator.call("POST", "/v1/charges", charge(inbox, 3131), acquirer="sim-b")
    assert said[0] == 200
    with pytest.raises(aiohttp.ClientOSError):
        await post(simulator, "charge", struck)
    assert (await post(simulator, "charge", struck))[0] == 200
    close = f"/v1/charges/{struck['charge_no']}/close"
    with pytest.raises(aiohttp.ClientOSError):
        await simulator.call("POST", close)
    assert (await simulator.call("POST", close))[0] in (200, 409)


async def test_a_rule_can_spoil_the_signature_of_a_reply(simulator, inbox):
    """The request is processed all the same."""
    asked = charge(inbox)
    await simulator.rule("bad_signature", op="charge", number=asked["charge_no"])
    with pytest.raises(AssertionError, match="bad reply signature"):
        await post(simulator, "charge", asked)
    assert (await look(simulator, "charge", asked))[0] == 200


async def test_a_hang_can_have_its_callback_late(tmp_path, inbox):
    """When the simulator is told to."""
    options = {"pay_delay_ms": 5, "hang_callback_after_ms": 50}
    async with start_simulator(tmp_path, **options) as simulator:
        asked = charge(inbox, 1000 + PROCESSED_HANG)
        hung = asyncio.create_task(post(simulator, "charge", asked))
        await inbox.wait_for(lambda: inbox.about(asked["charge_no"]))
        assert not hung.done()
        hung.cancel()
        await asyncio.wait([hung])


def test_the_readme_has_every_fault():
    """Digits and name beside each other."""
    readme = (ROOT / "sim" / "README.md").read_text("utf-8")
    digits = {fault: f"{magic}" for magic, fault in MAGIC.items()}
    for fault in set(Fault) - {Fault.NONE}:
        assert f"| {digits.get(fault, '–')} | `{fault}` |" in readme
        assert OPS[fault] <= set(Op)
