"""Callbacks that come late, early, in the wrong order, or from nobody who may be believed."""

import pytest

from tests.simulator import Simulator, charge, open_inbox, sign, start_simulator

LATE, EARLY, STALE, FORGED, WRONG_ACCOUNT, SHUFFLED = 7708, 7709, 7710, 7711, 7712, 7713


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def made(simulator: Simulator, inbox, amount_minor: int) -> str:
    asked = charge(inbox, amount_minor)
    assert (await simulator.call("POST", "/v1/charges", asked))[0] == 200
    return asked["charge_no"]


def seals(simulator: Simulator, inbox, number: str) -> list[tuple[str, bool, str]]:
    """Account, whether its own signature fits, and the state, of each callback that came."""
    found = []
    for said, body, headers in inbox.came:
        if said["number"] == number:
            account, timestamp = headers["Sim-Account"], headers["Sim-Timestamp"]
            head = ("POST", "/callbacks/sim?via=test", timestamp, headers["Sim-Nonce"])
            expected = sign(simulator.secrets[account], *head, body=body)
            found.append((account, headers["Sim-Signature"] == expected, said["state"]))
    return found


def ages(inbox, number: str) -> list[int]:
    """How old each signature was compared with that of the last one."""
    stamps = [int(headers["Sim-Timestamp"]) for said, _, headers in inbox.came
              if said["number"] == number]  # fmt: skip
    return [stamps[-1] - stamp for stamp in stamps]


async def test_a_late_callback_waits_for_the_clock(simulator, inbox):
    """Ten minutes of virtual time, unless a rule says otherwise."""
    number = await made(simulator, inbox, 10_000 + LATE)
    later = await made(simulator, inbox, 1000)
    await inbox.wait_for(lambda: inbox.about(later))
    assert not inbox.about(number)
    await simulator.advance(minutes=11)
    await inbox.wait_for(lambda: inbox.about(number))


async def test_an_early_callback_is_there_before_the_reply(simulator, inbox):
    """The reply was made up before: it says PENDING. Not taken, it comes again."""
    for refusals in (0, 1):
        inbox.refusals = refusals
        asked = charge(inbox, 10_000 + EARLY)
        status, said = await simulator.call("POST", "/v1/charges", asked)
        assert len(inbox.about(asked["charge_no"])) == 1
        assert (status, said["state"]) == (200, "PENDING")
        assert inbox.about(asked["charge_no"])[0]["state"] == "SUCCEEDED"
        await inbox.wait_for(
            lambda asked=asked, n=refusals + 1: len(inbox.about(asked["charge_no"])) == n
        )


async def test_a_stale_callback_comes_before_the_fresh_one(simulator, inbox):
    """Signed by the right secret ten minutes ago."""
    number = await made(simulator, inbox, 10_000 + STALE)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    assert seals(simulator, inbox, number) == [("sim-a", True, "SUCCEEDED")] * 2
    stale, fresh = ages(inbox, number)
    assert stale >= 600
    assert fresh == 0


async def test_a_forged_callback_says_the_opposite_of_what_happened(simulator, inbox):
    """Nobody's signature, and a success; then the truth, which is a failure."""
    number = await made(simulator, inbox, 10_000 + FORGED)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    assert seals(simulator, inbox, number) == [
        ("sim-a", False, "SUCCEEDED"),
        ("sim-a", True, "FAILED"),
    ]


async def test_a_callback_can_come_from_another_acquirer(simulator, inbox):
    """In that one's name and by its secret, about an order that it never had."""
    number = await made(simulator, inbox, 10_000 + WRONG_ACCOUNT)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    assert seals(simulator, inbox, number) == [
        ("sim-b", True, "SUCCEEDED"),
        ("sim-a", True, "SUCCEEDED"),
    ]


async def test_shuffled_callbacks_end_with_what_was_first(simulator, inbox):
    """PENDING, after SUCCEEDED, with the code that was to be scanned."""
    number = await made(simulator, inbox, 10_000 + SHUFFLED)
    await inbox.wait_for(lambda: len(inbox.about(number)) == 2)
    first, second = inbox.about(number)
    assert (first["state"], second["state"]) == ("SUCCEEDED", "PENDING")
    assert second["qr_code"]


async def test_callbacks_are_repeated_on_demand_and_counted_by_seal(simulator, inbox):
    """A refused forgery is sent; a forgery that is taken is a finding."""
    [before] = await simulator.told("counts")
    number = await made(simulator, inbox, 1000)
    await inbox.wait_for(lambda: inbox.about(number))
    for seal in ("true", "stale", "other"):
        replay = {"acquirer": "sim-a", "kind": "charge", "number": number, "seal": seal}
        await simulator.control("replay", replay)
    [after] = await simulator.told("counts")
    gained = {name: after[name] - before.get(name, 0) for name in after}
    assert (gained["true_sent"], gained["stale_taken"], gained["other_sent"]) == (2, 1, 1)
    assert seals(simulator, inbox, number)[3][0] == "sim-b"


@pytest.mark.parametrize("wrong", [{"number": "nobody's"}, {"seal": "wax"}, {"kind": "loan"}])
async def test_what_never_happened_is_not_repeated(simulator, inbox, wrong):
    """Nor told in a way that is not known."""
    number = await made(simulator, inbox, 1000)
    replay = {"acquirer": "sim-a", "kind": "charge", "number": number, "seal": "true"}
    await simulator.control("replay", replay | wrong, expect=400)


async def test_the_note_of_the_caller_stays_with_its_order(simulator, inbox):
    """Part of what a number stands for, and in the truth."""
    asked = charge(inbox, attach="MALL-1")
    await simulator.call("POST", "/v1/charges", asked)
    [row] = [row for row in await simulator.truth() if row["number"] == asked["charge_no"]]
    assert row["attach"] == "MALL-1"
    said = await simulator.call("POST", "/v1/charges", asked | {"attach": "MALL-2"})
    assert said == (409, {"code": "CHARGE_EXISTS"})
    for wrong in ("", "x" * 129, "no\nline", 1):
        said = await simulator.call("POST", "/v1/charges", charge(inbox, attach=wrong))
        assert said == (400, {"code": "INVALID_PARAMETER", "field": "attach"})
