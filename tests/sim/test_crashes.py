"""The simulator's memory: what was answered survives a kill, what was begun is finished."""

import asyncio
import signal
import sys

import aiohttp

from tests.simulator import ROOT, charge, new_number, open_inbox, start_simulator
from tests.waiting import eventually


async def states(simulator) -> dict[str, str]:
    return {row["number"]: row["state"] for row in await simulator.truth()}


async def test_what_was_answered_survives_a_kill(tmp_path):
    """Killed in the middle of the traffic, again and again; no charge is there twice."""
    answered = []

    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=1) as simulator:

        async def customer():
            while True:
                asked = charge(inbox)
                await simulator.call("POST", "/v1/charges", asked)
                answered.append(asked["charge_no"])

        for _ in range(3):
            wanted = len(answered) + 60
            customers = [asyncio.create_task(customer()) for _ in range(8)]
            await eventually(lambda wanted=wanted: len(answered) >= wanted)
            await simulator.stop(signal.SIGKILL)
            ended, _ = await asyncio.wait(customers)
            assert all(isinstance(task.exception(), aiohttp.ClientError) for task in ended)
            await simulator.start()

        async def all_are_paid():
            return set((await states(simulator)).values()) == {"SUCCEEDED"}

        await eventually(all_are_paid)
        numbers = [row["number"] for row in await simulator.truth()]
        assert len(numbers) == len(set(numbers))
        assert set(answered) <= set(numbers)
        await inbox.wait_for(lambda: all(inbox.about(number) for number in answered))


async def test_a_callback_that_was_not_taken_is_made_after_a_restart(tmp_path):
    """As the same event. One that was taken is not made again."""
    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=1) as simulator:
        taken, refused, later = (charge(inbox) for _ in range(3))
        await simulator.call("POST", "/v1/charges", taken)
        noted = f'{{"tell":["sim-a","charge","{taken["charge_no"]}"]'
        await eventually(lambda: noted in simulator.journal.read_text())
        inbox.refusals = 1
        await simulator.call("POST", "/v1/charges", refused)
        await inbox.wait_for(lambda: inbox.about(refused["charge_no"]))

        await simulator.restart()
        await inbox.wait_for(lambda: len(inbox.about(refused["charge_no"])) == 2)
        first, second = inbox.about(refused["charge_no"])
        assert first == second
        await simulator.call("POST", "/v1/charges", later)
        await inbox.wait_for(lambda: inbox.about(later["charge_no"]))
        assert len(inbox.about(taken["charge_no"])) == 1


async def test_everything_about_an_order_survives(tmp_path):
    """States, amounts, faults, what may still be given back; and the content of a number."""
    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=1) as simulator:
        wrong, lost = charge(inbox, 1096), charge(inbox, 1090)
        refund = {
            "refund_no": new_number("RF"),
            "charge_no": wrong["charge_no"],
            "amount_minor": 650,
            "currency": "CNY",
            "notify_url": inbox.url,
        }
        await simulator.call("POST", "/v1/charges", wrong)
        await inbox.wait_for(lambda: inbox.about(wrong["charge_no"]))
        await simulator.call("POST", "/v1/refunds", refund)
        await inbox.wait_for(lambda: inbox.about(refund["refund_no"]))
        await simulator.call("POST", "/v1/charges", lost)

        async def none_is_pending():
            return "PENDING" not in (await states(simulator)).values()

        await eventually(none_is_pending)
        before = await simulator.truth()
        await simulator.restart()
        assert await simulator.truth() == before
        again = refund | {"refund_no": new_number("RF"), "amount_minor": 448}
        assert (await simulator.call("POST", "/v1/refunds", again))[0] == 409
        again["amount_minor"] = 447
        assert (await simulator.call("POST", "/v1/refunds", again))[0] == 200
        await inbox.wait_for(lambda: inbox.about(again["refund_no"]))
        assert not inbox.about(lost["charge_no"])
        said = await simulator.call("POST", "/v1/charges", wrong | {"subject": "Coffee"})
        assert said == (409, {"code": "CHARGE_EXISTS"})
        _, old = await simulator.call("GET", f"/v1/charges/{wrong['charge_no']}")
        _, new = await simulator.call("POST", "/v1/charges", charge(inbox))
        assert new["provider_no"] > old["provider_no"], "numbers go on where they were"


async def test_a_torn_end_of_the_journal_is_no_obstacle(tmp_path):
    """The power went while it wrote; nobody was told of that line."""
    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=1) as simulator:
        first, second = charge(inbox), charge(inbox)
        await simulator.call("POST", "/v1/charges", first)
        await simulator.stop()
        with simulator.journal.open("ab") as journal:
            journal.write(b'{"open":{"kind":"cha')
        await simulator.start()
        await simulator.call("POST", "/v1/charges", second)
        await simulator.restart()
        assert set(await states(simulator)) == {first["charge_no"], second["charge_no"]}


async def test_what_is_answered_is_in_the_journal(tmp_path):
    """Not a moment later."""
    async with open_inbox() as inbox, start_simulator(tmp_path) as simulator:
        for _ in range(20):
            asked = charge(inbox)
            await simulator.call("POST", "/v1/charges", asked)
            assert asked["charge_no"] in simulator.journal.read_text()


async def test_a_closed_charge_is_neither_paid_nor_told_about(tmp_path):
    """Its payer comes too late; the payer of a charge made afterwards comes later still."""
    async with open_inbox() as inbox, start_simulator(tmp_path, pay_delay_ms=1000) as simulator:
        closed, later = charge(inbox), charge(inbox)
        await simulator.call("POST", "/v1/charges", closed)
        await simulator.call("POST", f"/v1/charges/{closed['charge_no']}/close")
        await simulator.call("POST", "/v1/charges", later)
        await inbox.wait_for(lambda: inbox.about(later["charge_no"]))
        assert (await states(simulator))[closed["charge_no"]] == "CLOSED"
        assert not inbox.about(closed["charge_no"])


async def test_it_leaves_when_told_to_even_while_requests_hang(tmp_path):
    """What hangs is cut, what was answered is kept, the exit code is 0."""
    async with open_inbox() as inbox, start_simulator(tmp_path) as simulator:
        asked = charge(inbox, 1091)
        hung = asyncio.create_task(simulator.call("POST", "/v1/charges", asked))

        async def is_known():
            return asked["charge_no"] in await states(simulator)

        await eventually(is_known)
        assert await simulator.stop() == 0
        [ended], _ = await asyncio.wait([hung])
        assert isinstance(ended.exception(), aiohttp.ClientError)
        await simulator.start()
        assert asked["charge_no"] in await states(simulator)


async def refusal(*arguments: object) -> str:
    """Start a simulator that cannot start, and return what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sim", *map(str, arguments), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    assert process.returncode == 1, said
    assert b"Traceback" not in said
    return said.decode()


async def test_it_says_why_it_cannot_start(tmp_path):
    """A secret file that others can read, a secret that is not there, a port, a journal."""
    async with start_simulator(tmp_path) as simulator:
        path = tmp_path / "secrets.json"
        common = ["--control-port=1", f"--secrets={path}"]
        other = [f"--journal={tmp_path / 'other'}", *common]
        taken = f"--acquirer=sim-a={simulator.ports['sim-a']}"
        assert "in use" in await refusal(f"--journal={simulator.journal}", taken, *common)
        assert "address already in use" in await refusal(*other, taken)
        assert "for sim-z" in await refusal(*other, "--acquirer=sim-z=1")
        path.chmod(0o644)
        assert "chmod 600" in await refusal(*other, taken)
