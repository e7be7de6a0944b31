"""The provider simulator as a black box: its API, its payer, its callbacks."""

import asyncio
import secrets
import time

import aiohttp
import pytest

from tests.simulator import Inbox, Simulator, charge, new_number, open_inbox, sign, start_simulator


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory):
    """One simulator for the tests of this file; each makes orders of its own."""
    async with start_simulator(tmp_path_factory.mktemp("sim"), pay_delay_ms=5) as running:
        yield running


@pytest.fixture(scope="module")
async def patient(tmp_path_factory):
    """One whose payers take an hour, so that what is not paid stays so."""
    folder = tmp_path_factory.mktemp("patient")
    async with start_simulator(folder, pay_delay_ms=3_600_000) as running:
        yield running


@pytest.fixture(scope="module")
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def truth_of(simulator: Simulator, number: str) -> dict | None:
    return next((row for row in await simulator.truth() if row["number"] == number), None)


async def paid_charge(simulator: Simulator, inbox: Inbox, amount_minor: int = 1000) -> dict:
    """A charge whose payer has paid and whose callback has come."""
    asked = charge(inbox, amount_minor)
    assert (await simulator.call("POST", "/v1/charges", asked))[0] == 200
    await inbox.wait_for(lambda: inbox.about(asked["charge_no"]))
    return asked


def refund(inbox: Inbox, paid: dict, amount_minor: int, **other: object) -> dict:
    return {
        "refund_no": new_number("RF"),
        "charge_no": paid["charge_no"],
        "amount_minor": amount_minor,
        "currency": paid["currency"],
        "notify_url": inbox.url,
    } | other


async def test_a_charge_is_paid_and_told_about(simulator, inbox):
    """Reply, callback, query and truth say the same."""
    asked = charge(inbox, 1234)
    status, made = await simulator.call("POST", "/v1/charges", asked)
    assert (status, made["state"], made["amount_minor"]) == (200, "PENDING", 1234)
    assert made["charge_no"] == asked["charge_no"]
    assert made["qr_code"]

    await inbox.wait_for(lambda: inbox.about(asked["charge_no"]))
    [said] = inbox.about(asked["charge_no"])
    assert said["event_id"]
    assert said["time"].endswith("Z")
    expected = {"kind": "charge", "state": "SUCCEEDED", "amount_minor": 1234, "currency": "CNY"}
    assert said.items() >= (expected | {"provider_no": made["provider_no"]}).items()

    _, now = await simulator.call("GET", f"/v1/charges/{asked['charge_no']}")
    assert now == made | {"state": "SUCCEEDED"}
    row = await truth_of(simulator, asked["charge_no"])
    assert (row["state"], row["amount_minor"], row["moved_minor"]) == ("SUCCEEDED", 1234, 1234)
    assert (row["acquirer"], row["of"], row["currency"]) == ("sim-a", "", "CNY")


async def test_a_callback_is_signed_over_its_path_and_body(simulator, inbox):
    """With the account's secret; the query part of the target included."""
    asked = await paid_charge(simulator, inbox)
    [(body, headers)] = [
        (body, headers)
        for said, body, headers in inbox.came
        if said["number"] == asked["charge_no"]
    ]
    expected = sign(
        simulator.secrets["sim-a"],
        "POST",
        "/callbacks/sim?via=test",
        headers["Sim-Timestamp"],
        headers["Sim-Nonce"],
        body=body,
    )
    assert headers["Sim-Signature"] == expected
    assert headers["Sim-Account"] == "sim-a"
    assert abs(int(headers["Sim-Timestamp"]) - time.time()) < 60


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "not the secret of anybody"},
        {"account": "sim-b"},
        {"timestamp": lambda: int(time.time()) - 301},
        {"timestamp": lambda: int(time.time()) + 400},
        {"timestamp": "soon"},
        {"nonce": ""},
        {"nonce": "n" * 65},
    ],
    ids=lambda wrong: "-".join(wrong),
)
async def test_a_bad_signature_is_refused_unsigned(simulator, inbox, wrong):
    """A signed refusal could be passed off as the reply to a request that was processed."""
    asked = charge(inbox)
    # Times are taken now: the whole suite may have run since this list was made.
    said = {name: value() if callable(value) else value for name, value in wrong.items()}
    assert await simulator.call("POST", "/v1/charges", asked, **said) == (
        401,
        {"code": "BAD_SIGNATURE"},
    )
    url = f"{simulator.base_url()}/v1/charges/{asked['charge_no']}"
    async with simulator.session.get(url, headers={"Sim-Nonce": "n"}) as reply:
        assert reply.status == 401
        assert "Sim-Signature" not in reply.headers
    assert await truth_of(simulator, asked["charge_no"]) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charge_no", "with space"),
        ("charge_no", None),
        ("amount_minor", 0),
        ("amount_minor", True),
        ("amount_minor", 10.0),
        ("amount_minor", "10"),
        ("amount_minor", 10**15 + 1),
        ("currency", "cny"),
        ("subject", ""),
        ("subject", "x" * 129),
        ("notify_url", "ftp://127.0.0.1/"),
        ("notify_url", "nowhere"),
        ("notify_url", "http://[::1"),
        ("colour", "blue"),
    ],
)
async def test_a_wrong_field_is_named(simulator, inbox, field, value):
    """Also one that is not known."""
    asked = charge(inbox, **{field: value})
    status, said = await simulator.call("POST", "/v1/charges", asked)
    assert (status, said) == (400, {"code": "INVALID_PARAMETER", "field": field})


async def test_every_field_is_needed(simulator, inbox):
    """There are no defaults."""
    for field in charge(inbox):
        asked = charge(inbox)
        del asked[field]
        said = await simulator.call("POST", "/v1/charges", asked)
        assert said == (400, {"code": "INVALID_PARAMETER", "field": field})


async def test_what_is_not_there_is_not_found(simulator, inbox):
    """A number, a verb, and another acquirer's number are three different things."""
    asked = await paid_charge(simulator, inbox)
    no = new_number()
    path = f"/v1/charges/{asked['charge_no']}"
    not_found = (404, {"code": "NOT_FOUND"})
    assert await simulator.call("GET", f"/v1/charges/{no}") == not_found
    assert await simulator.call("POST", f"/v1/charges/{no}/close") == not_found
    assert await simulator.call("GET", f"/v1/refunds/{asked['charge_no']}") == not_found
    assert await simulator.call("GET", path, acquirer="sim-b") == not_found
    unknown = (404, {"code": "UNKNOWN_PATH"})
    assert await simulator.call("GET", "/v1/charges") == unknown
    assert await simulator.call("GET", path + "?x=1") == unknown


async def test_the_same_charge_again_is_the_same_charge(simulator, inbox):
    """As it is by then; other content under its number is refused."""
    asked = await paid_charge(simulator, inbox)
    status, again = await simulator.call("POST", "/v1/charges", asked)
    assert (status, again["state"]) == (200, "SUCCEEDED")
    for other in ({"amount_minor": 1001}, {"currency": "USD"}, {"subject": "Coffee"}):
        said = await simulator.call("POST", "/v1/charges", asked | other)
        assert said == (409, {"code": "CHARGE_EXISTS"})
    numbers = [row["number"] for row in await simulator.truth()]
    assert numbers.count(asked["charge_no"]) == 1
    assert len(inbox.about(asked["charge_no"])) == 1


async def test_ten_same_charges_at_once_are_one(patient, inbox):
    """Whoever is first makes it, all see it."""
    asked = charge(inbox)
    said = await asyncio.gather(*[patient.call("POST", "/v1/charges", asked) for _ in range(10)])
    assert said == [said[0]] * 10
    numbers = [row["number"] for row in await patient.truth()]
    assert numbers.count(asked["charge_no"]) == 1


async def test_a_closed_charge_cannot_be_paid(patient, inbox):
    """Closing it again changes nothing."""
    asked = charge(inbox)
    await patient.call("POST", "/v1/charges", asked)
    for _ in range(2):
        status, now = await patient.call("POST", f"/v1/charges/{asked['charge_no']}/close")
        assert (status, now["state"]) == (200, "CLOSED")
    row = await truth_of(patient, asked["charge_no"])
    assert (row["state"], row["moved_minor"]) == ("CLOSED", 0)


async def test_a_paid_charge_cannot_be_closed(simulator, inbox):
    """The payer was quicker."""
    asked = await paid_charge(simulator, inbox)
    said = await simulator.call("POST", f"/v1/charges/{asked['charge_no']}/close")
    assert said == (409, {"code": "ALREADY_PAID"})


async def test_a_charge_is_refunded_in_parts_up_to_what_was_paid(simulator, inbox):
    """Each part is told about; the last one too much is refused; the same again is the same."""
    paid = await paid_charge(simulator, inbox, 1000)
    parts = [refund(inbox, paid, 600), refund(inbox, paid, 400)]
    for part in parts:
        status, made = await simulator.call("POST", "/v1/refunds", part)
        assert (status, made["state"], made["amount_minor"]) == (
            200,
            "PENDING",
            part["amount_minor"],
        )
        await inbox.wait_for(lambda no=part["refund_no"]: inbox.about(no))
        [said] = inbox.about(part["refund_no"])
        assert (said["kind"], said["state"]) == ("refund", "SUCCEEDED")
        _, now = await simulator.call("GET", f"/v1/refunds/{part['refund_no']}")
        assert now == made | {"state": "SUCCEEDED"}

    exceeds = (409, {"code": "REFUND_EXCEEDS"})
    assert await simulator.call("POST", "/v1/refunds", refund(inbox, paid, 1)) == exceeds
    _, again = await simulator.call("POST", "/v1/refunds", parts[0])
    assert again["state"] == "SUCCEEDED"
    said = await simulator.call("POST", "/v1/refunds", parts[0] | {"amount_minor": 599})
    assert said == (409, {"code": "REFUND_EXISTS"})
    row = await truth_of(simulator, parts[1]["refund_no"])
    assert (row["kind"], row["of"], row["moved_minor"]) == ("refund", paid["charge_no"], 400)


async def test_refunds_that_race_never_exceed_the_charge(simulator, inbox):
    """Ten of 300 from 1000: three pass."""
    paid = await paid_charge(simulator, inbox, 1000)
    asked = [refund(inbox, paid, 300) for _ in range(10)]
    said = await asyncio.gather(*[simulator.call("POST", "/v1/refunds", one) for one in asked])
    assert sorted(status for status, _ in said) == [200] * 3 + [409] * 7


async def test_a_refund_needs_a_paid_charge_of_its_currency(patient, simulator, inbox):
    """In order: known, same currency, paid."""
    nothing = {"charge_no": new_number(), "currency": "CNY"}
    said = await simulator.call("POST", "/v1/refunds", refund(inbox, nothing, 1))
    assert said == (404, {"code": "NOT_FOUND"})
    paid = await paid_charge(simulator, inbox)
    said = await simulator.call("POST", "/v1/refunds", refund(inbox, paid, 1, currency="USD"))
    assert said == (400, {"code": "INVALID_PARAMETER", "field": "currency"})
    unpaid = charge(inbox)
    await patient.call("POST", "/v1/charges", unpaid)
    said = await patient.call("POST", "/v1/refunds", refund(inbox, unpaid, 1))
    assert said == (409, {"code": "REFUND_EXCEEDS"})


async def test_a_callback_is_repeated_until_it_is_taken(simulator, inbox):
    """As the same event; "OK" with another status does not count."""
    inbox.refusals = 1
    asked = await paid_charge(simulator, inbox)
    await inbox.wait_for(lambda: len(inbox.about(asked["charge_no"])) == 2)
    first, second = inbox.about(asked["charge_no"])
    assert first == second


async def test_an_outage_refuses_connects_until_it_is_over(simulator, inbox):
    """Kept-alive connections are cut, the other acquirer is not touched, twice is once."""
    asked = await paid_charge(simulator, inbox)
    path = f"/v1/charges/{asked['charge_no']}"
    for _ in range(2):
        await simulator.outage(on=True)
    with pytest.raises(aiohttp.ClientConnectorError):
        await simulator.call("GET", path)
    status, _ = await simulator.call("POST", "/v1/charges", charge(inbox), acquirer="sim-b")
    assert status == 200

    for _ in range(2):
        await simulator.outage(on=False)
    assert (await simulator.call("GET", path))[1]["state"] == "SUCCEEDED"


async def test_a_hang_swallows_every_request_of_one_acquirer(simulator, inbox):
    """Nothing is processed, not even after the hang is over."""
    await simulator.hang(on=True)
    asked = charge(inbox)
    hung = [
        asyncio.create_task(simulator.call("POST", "/v1/charges", asked)),
        asyncio.create_task(simulator.call("GET", f"/v1/charges/{asked['charge_no']}")),
    ]
    for _ in range(5):  # Long after the two have come in, the neighbour still answers.
        other = await simulator.call("POST", "/v1/charges", charge(inbox), acquirer="sim-b")
        assert other[0] == 200
    await simulator.hang(on=False)
    assert (await simulator.call("GET", f"/v1/charges/{asked['charge_no']}"))[0] == 404
    assert not any(task.done() for task in hung)
    for task in hung:
        task.cancel()
    await asyncio.wait(hung)
    assert await truth_of(simulator, asked["charge_no"]) is None


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("outage", {"acquirer": "sim-x", "on": True}),
        ("outage", {"acquirer": "sim-a", "on": "yes"}),
        ("hang", {"acquirer": "sim-a"}),
        ("rules", {"match": {"acquirer": "sim-a", "op": "charge"}, "then": {"fault": "hang"}}),
        (
            "rules",
            {"match": {"acquirer": "sim-a", "op": "pay"}, "then": {"fault": "hang", "times": 1}},
        ),
        (
            "rules",
            {
                "match": {"acquirer": "sim-a", "op": "query"},
                "then": {"fault": "wrong_amount", "times": 1},
            },
        ),
        (
            "rules",
            {
                "match": {"acquirer": "sim-a", "op": "query", "amount": 1},
                "then": {"fault": "hang", "times": 1},
            },
        ),
    ],
)
async def test_the_control_port_does_not_guess(simulator, verb, said):
    """An experiment that is not what it seems is worse than none."""
    assert "not understood" in await simulator.control(verb, said, expect=400)


async def test_the_control_port_wants_its_own_secret(simulator):
    """An acquirer's secret is not it."""
    url = f"http://127.0.0.1:{simulator.control_port}/_ctl/truth"
    for secret in ("", simulator.secrets["sim-a"], secrets.token_hex(16)):
        headers = {"Authorization": f"Bearer {secret}"}
        async with simulator.session.get(url, headers=headers) as reply:
            assert reply.status == 401


async def test_the_truth_is_whole_when_it_is_long(patient, inbox):
    """More rows than one write carries."""
    before = len(await patient.truth())
    asked = [charge(inbox) for _ in range(1100)]
    for start in range(0, len(asked), 100):
        part = asked[start : start + 100]
        await asyncio.gather(*[patient.call("POST", "/v1/charges", one) for one in part])
    rows = await patient.truth()
    assert len(rows) == before + len(asked)
    assert {one["charge_no"] for one in asked} <= {row["number"] for row in rows}
