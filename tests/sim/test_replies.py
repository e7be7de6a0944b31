"""Replies that the simulator spoils: everything was done, whatever is said."""

import asyncio
import errno
import json

import aiohttp
import pytest

from tests.simulator import Simulator, charge, new_number, open_inbox, sign, start_simulator
from tests.waiting import eventually

BAD_GATEWAY, REDIRECT, PROCESSED_RESET, HIDDEN = 7720, 7721, 7715, 7714


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


class Raw:
    """A reply as it came, and whether it is signed as it should be."""

    def __init__(self, reply: aiohttp.ClientResponse, body: bytes, secret: str, nonce: str):
        self.status, self.body, self.headers = reply.status, body, reply.headers
        self.timestamp = int(reply.headers.get("Sim-Timestamp", 0))
        expected = sign(secret, reply.status, self.timestamp, nonce, body=body)
        self.is_signed = reply.headers.get("Sim-Signature") == expected


async def raw(simulator: Simulator, asked: dict) -> Raw:
    """Make a charge and return the reply, whatever it is."""
    body, path, nonce = json.dumps(asked).encode(), "/v1/charges", new_number()
    now = int((await simulator.now()).timestamp())
    secret = simulator.secrets["sim-a"]
    headers = {
        "Sim-Account": "sim-a",
        "Sim-Timestamp": str(now),
        "Sim-Nonce": nonce,
        "Sim-Signature": sign(secret, "POST", path, now, nonce, body=body),
    }
    async with simulator.session.post(
        simulator.base_url() + path, data=body, headers=headers, allow_redirects=False
    ) as reply:
        return Raw(reply, await reply.read(), secret, nonce)


async def ends(simulator: Simulator, asked: dict) -> None:
    """Return when the charge has succeeded: it was made, whatever was said."""

    async def has() -> bool:
        _, now = await simulator.call("GET", f"/v1/charges/{asked['charge_no']}")
        return now.get("state") == "SUCCEEDED"

    await eventually(has)


@pytest.mark.parametrize(
    ("digits", "status", "signed"),
    [(99, 500, True), (7716, 409, True), (7717, 200, False), (7718, 200, True),
     (7719, 200, True), (BAD_GATEWAY, 502, False), (REDIRECT, 307, False), (7723, 200, True)],
)  # fmt: skip
async def test_a_spoilt_reply_hides_what_was_done(simulator, inbox, digits, status, signed):
    """Its status, and whether it is signed; the charge is there and is paid."""
    asked = charge(inbox, 100_000 + digits if digits < 100 else 10_000 + digits)
    said = await raw(simulator, asked)
    assert (said.status, said.is_signed) == (status, signed)
    await ends(simulator, asked)


async def test_each_spoilt_reply_is_spoilt_in_its_own_way(simulator, inbox):
    """Codes nobody knows, bodies that end too soon or never, a signature of ten minutes ago."""
    said = {
        digits: await raw(simulator, charge(inbox, 10_000 + digits))
        for digits in (7716, 7718, 7719, BAD_GATEWAY, REDIRECT, 7723)
    }
    assert json.loads(said[7716].body) == {"code": "ACCOUNT_IN_TRANSITION"}
    now = (await simulator.now()).timestamp()
    assert 590 < now - said[7718].timestamp < 700
    with pytest.raises(json.JSONDecodeError):
        json.loads(said[7719].body)
    assert said[BAD_GATEWAY].body.startswith(b"<html>")
    assert said[REDIRECT].headers["Location"]
    assert len(said[7723].body) > 2 * 1024 * 1024


async def test_a_dripping_reply_is_whole_but_for_its_end(simulator, inbox):
    """Head and first bytes are there at once; the rest takes longer than anybody waits."""
    asked = charge(inbox, 10_000 + 7722)
    dripping = asyncio.create_task(raw(simulator, asked))
    await ends(simulator, asked)
    assert not dripping.done()
    dripping.cancel()
    await asyncio.wait([dripping])


@pytest.mark.parametrize("digits", [PROCESSED_RESET, HIDDEN])
async def test_a_reset_can_come_after_everything_was_done(simulator, inbox, digits):
    """The charge is there; a hidden one only from the third question on, and without a callback."""
    asked = charge(inbox, 10_000 + digits)
    with pytest.raises(aiohttp.ClientOSError) as failed:
        await raw(simulator, asked)
    assert failed.value.errno == errno.ECONNRESET
    for _ in range(2 if digits == HIDDEN else 0):
        path = f"/v1/charges/{asked['charge_no']}"
        assert await simulator.call("GET", path) == (404, {"code": "NOT_FOUND"})
    await ends(simulator, asked)
    later = charge(inbox)
    await simulator.call("POST", "/v1/charges", later)
    await inbox.wait_for(lambda: inbox.about(later["charge_no"]))
    assert bool(inbox.about(asked["charge_no"])) == (digits == PROCESSED_RESET)


async def test_a_question_can_be_told_that_there_is_nothing(simulator, inbox):
    """Once, by rule; the next one is answered. A rule about questions hides no charge."""
    asked = charge(inbox)
    await simulator.call("POST", "/v1/charges", asked)
    await simulator.rule("hidden", op="query", number=asked["charge_no"])
    path = f"/v1/charges/{asked['charge_no']}"
    assert await simulator.call("GET", path) == (404, {"code": "NOT_FOUND"})
    assert (await simulator.call("GET", path))[0] == 200


async def test_a_system_error_strikes_a_number_once(simulator, inbox):
    """Nothing was done; sent again it comes through."""
    asked = charge(inbox, 10_000 + 7724)
    assert await simulator.call("POST", "/v1/charges", asked) == (500, {"code": "SYSTEM_ERROR"})
    assert (await simulator.call("GET", f"/v1/charges/{asked['charge_no']}"))[0] == 404
    assert (await simulator.call("POST", "/v1/charges", asked))[0] == 200
