"""Calls to neighbours: many items of many owners in one call, each with its own fate."""

import asyncio
import signal
from contextlib import asynccontextmanager

import grpc
import pytest

from mesh.batch import NotExecuted, Unknown
from mesh.call import BATCH_SECONDS, CHANNEL_OPTIONS, BatchLink, StreamLink
from mesh.context import Acting, acting, acting_as, remaining, within
from mesh.errors import Declined
from tests.mesh.toy import SCHEMA, SUBMITS, Script, playing, submit_item
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import channel_service_pb2 as pb
from tongbao.common.v1 import item_pb2, kinds_pb2, money_pb2
from tongbao.risk.v1 import risk_service_pb2 as risk_pb
from torture.relay import DOWN, FAIR, Weather
from torture.relay import Link as Relay

EVALUATES = "/tongbao.risk.v1.RiskService/BatchEvaluate"
MALL = Acting(app_id="mall", trace_no="MALL-1")


@asynccontextmanager
async def opened(ground, name, kind, **arguments):
    """A link of the service trade to `name`, whether that is running or not."""
    socket = ground.home / "run" / "sock" / f"{name}.sock"
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS) as channel:
        link = kind(channel, ground.signer("payment"), **arguments)
        try:
            yield link
        finally:
            await link.close()


def stream_to(ground):
    """A stream of legs to the toy."""
    pack = {"request": pb.StreamSubmitsRequest, "response": pb.StreamSubmitsResponse}
    return opened(ground, "channel", StreamLink, method=SUBMITS, **pack)


def batch_to_risk(ground):
    """Batches of evaluations to the real service."""
    pack = {"request": risk_pb.BatchEvaluateRequest, "response": risk_pb.BatchEvaluateResponse}
    return opened(ground, "risk", BatchLink, method=EVALUATES, rows_max=64, **pack)


def evaluation(place, **changes):
    """An evaluation whose owner the link fills in."""
    return risk_pb.EvaluateItem(
        **{
            "payment_no": f"20261122PY{place:016d}",
            "tool": kinds_pb2.TOOL_BALANCE,
            "amount": money_pb2.Money(currency_code="CNY", minor_units=10),
        }
        | changes
    )


async def ask(link, item, *, who=MALL, seconds=20):
    """The answer to one item, asked on behalf of `who`."""
    with acting_as(who), within(seconds):
        return await link.ask(item)


async def test_items_that_wait_together_travel_together(ground):
    """Sixty items of two owners: few calls, and every row under its own owner."""
    owners = [Acting(app_id=f"app{n % 2}", trace_no=f"T-{n}") for n in range(60)]
    async with ground.run("risk") as risk, batch_to_risk(ground) as link:
        asked = (ask(link, evaluation(n), who=who) for n, who in enumerate(owners))
        results = await asyncio.gather(*asked)
        assert {result.decision for result in results} == {risk_pb.DECISION_PASS}
        assert sum(link._coalescer.sizes.values()) <= 4
        rows = risk.rows("SELECT app_id, trace_no FROM decision ORDER BY payment_no")
    assert rows == [(who.app_id, who.trace_no) for who in owners]


async def test_a_refused_item_of_a_batch_is_refused_alone(ground):
    """Also when it breaks the contract: its neighbours in the same call are answered."""
    async with ground.run("risk"), batch_to_risk(ground) as link:
        broken = asyncio.create_task(ask(link, evaluation(1, user_no="u" * 65)))
        fine = [asyncio.create_task(ask(link, evaluation(n))) for n in range(2, 6)]
        with pytest.raises(Declined, match="INVALID_FIELDS: user_no"):
            await broken
        for task in fine:
            assert (await task).decision == risk_pb.DECISION_PASS
        assert link._coalescer.sizes == {5: 1}


async def test_what_never_reached_the_neighbour_is_sent_again(ground):
    """The caller does not notice that it came up later."""
    async with batch_to_risk(ground) as link:
        asked = asyncio.create_task(ask(link, evaluation(1)))
        await eventually(lambda: link._coalescer.sizes[1] > 1)
        async with ground.run("risk"):
            assert (await asked).decision == risk_pb.DECISION_PASS


@asynccontextmanager
async def cut_off(ground, risk, weather):
    """Evaluate once over a connection that breaks when it is done and nobody has been told.

    Yields the question; after the break there is `weather`.
    """
    folder = ground.home / "run" / "sock"
    way = Relay("trade>risk", listen=f"unix:{folder / 'far.sock'}",
                target=f"unix:{folder / 'risk.sock'}", seed="1")  # fmt: skip
    await way.open()
    pack = {"request": risk_pb.BatchEvaluateRequest, "response": risk_pb.BatchEvaluateResponse}
    try:
        async with opened(ground, "far", BatchLink, method=EVALUATES, rows_max=64, **pack) as link:
            await ask(link, evaluation(1))
            way.weather = Weather(held=(DOWN,))
            asked = asyncio.create_task(ask(link, evaluation(2)))
            await eventually(lambda: risk.rows("SELECT count(*) FROM decision") == [(2,)])
            way.reset()
            way.weather = weather
            yield asked
            assert risk.rows("SELECT count(*) FROM decision") == [(2,)]
    finally:
        await way.close()


async def test_a_batch_whose_connection_breaks_is_asked_about_again(ground):
    """It was done, nobody was told; the same batch once more is answered, and done once."""
    async with ground.run("risk") as risk, cut_off(ground, risk, FAIR) as asked:
        assert (await asked).decision == risk_pb.DECISION_PASS


async def test_a_batch_that_broke_is_unknown_when_the_neighbour_has_gone(ground):
    """Nothing more can be reached, but it is not said that nothing has happened."""
    gone = Weather(refusing=True)
    async with ground.run("risk") as risk, cut_off(ground, risk, gone) as asked:
        with pytest.raises(Unknown):
            await asked


async def test_without_the_neighbour_a_deadline_ends_in_not_executed(ground):
    """Certainly nothing happened, and that is what is said."""
    async with batch_to_risk(ground) as batches, stream_to(ground) as stream:
        for asked in (
            ask(batches, evaluation(1), seconds=0.5),
            ask(stream, submit_item(1), seconds=0.5),
        ):
            with pytest.raises(NotExecuted):
                await asked


async def test_the_owner_and_the_deadline_travel_with_the_item(ground, database):
    """The neighbour acts for the same app, on the same trace, with a little less time."""
    seen = []

    async def submit(_):
        seen.append((acting(), remaining()))
        return pb.SubmitResult()

    trace = f"00-{1:032x}-{2:016x}-00"  # Not kept: there is no span between us and it.
    who = Acting(app_id="mall", trace_no="MALL-7", traceparent=trace, locale="zh-CN")
    item = submit_item(1, context=None)
    async with playing(ground, database, Script(submit=submit)), stream_to(ground) as link:
        await ask(link, item, who=who, seconds=9)
    [(owner, seconds)] = seen
    assert (owner.app_id, owner.trace_no) == ("mall", "MALL-7")
    assert (owner.traceparent, owner.locale) == (trace, "zh-CN")
    assert 8 < seconds < 9


async def test_items_of_a_stream_are_answered_as_they_finish(ground, database):
    """The first one is slow; those behind it do not wait."""
    gates = {place: asyncio.Event() for place in range(5)}

    async def submit(item):
        place = int(item.leg_no[10:26])
        await gates[place].wait()
        return pb.SubmitResult(attempt=attempt_pb2.Attempt(leg_no=item.leg_no))

    async with playing(ground, database, Script(submit=submit)), stream_to(ground) as link:
        asked = [asyncio.create_task(ask(link, submit_item(place))) for place in gates]
        for place in (3, 1, 4, 0, 2):
            gates[place].set()
            answer = await asked[place]
            assert answer.attempt.leg_no == submit_item(place).leg_no
            assert sum(task.done() for task in asked) == list((3, 1, 4, 0, 2)).index(place) + 1


async def test_what_is_wrong_with_one_item_does_not_touch_the_others(ground, database):
    """A refusal, a bug, broken rules, a passed deadline: each is told to its own owner."""

    async def submit(item):
        if item.subject == "bug":
            raise ValueError("swordfish")
        if item.subject == "late":
            raise NotExecuted("not now")
        return pb.SubmitResult(attempt=attempt_pb2.Attempt(leg_no=item.leg_no))

    async with playing(ground, database, Script(submit=submit)), stream_to(ground) as link:
        with pytest.raises(Declined, match="INVALID_FIELDS: leg_no"):
            await ask(link, submit_item(1, leg_no="none"))
        fine = asyncio.gather(*(ask(link, submit_item(place)) for place in range(10, 20)))
        with pytest.raises(Unknown) as caught:
            await ask(link, submit_item(2, subject="bug"))
        assert "swordfish" not in str(caught.value)
        with pytest.raises(NotExecuted):
            await ask(link, submit_item(3, subject="late"), seconds=0.3)
        assert len(await fine) == 10


async def test_an_item_whose_deadline_passed_on_the_way_is_not_begun(ground, database):
    """It is answered NOT_EXECUTED: nobody waits for it any more."""
    begun = []

    async def submit(item):
        begun.append(item.leg_no)
        return pb.SubmitResult()

    item = submit_item(1, context=item_pb2.ItemContext(app_id="mall"))
    item.context.deadline.FromSeconds(1)
    async with playing(ground, database, Script(submit=submit)), stream_to(ground) as link:
        result = await link._send(item)
        assert result.status.reason == "NOT_EXECUTED"
        assert (await ask(link, submit_item(2))) is not None
    assert begun == [submit_item(2).leg_no]


async def test_after_a_deadline_a_sent_item_is_unknown_and_its_work_goes_on(ground, database):
    """The answer that comes later is nobody's; the stream stays as it is."""
    gate, ended = asyncio.Event(), asyncio.Event()

    async def submit(item):
        if item.subject == "slow":
            await gate.wait()
            ended.set()
        return pb.SubmitResult()

    async with playing(ground, database, Script(submit=submit)), stream_to(ground) as link:
        await ask(link, submit_item(1))
        with pytest.raises(Unknown):
            await ask(link, submit_item(2, subject="slow"), seconds=0.5)
        gate.set()
        async with asyncio.timeout(5):
            await ended.wait()
        await ask(link, submit_item(3))


async def test_a_killed_neighbour_leaves_sent_items_unknown_and_gets_the_others_later(
    ground, database
):
    """kill -9: nobody can say what became of the one; the other was never sent."""
    settings = {"module": "tests.mesh.toy", "database_dsn": database("channel", folder=SCHEMA)}
    async with stream_to(ground) as link:
        async with ground.spawn("channel", **settings) as toy:
            await ask(link, submit_item(1))
            sent = asyncio.create_task(ask(link, submit_item(2, subject="hang")))
            await eventually(lambda: any(waiting.sent for waiting in link._waiting.values()))
            toy.process.send(signal.SIGKILL)
            with pytest.raises(Unknown):
                await sent
            await toy.process.wait(within=10)
        unsent = asyncio.create_task(ask(link, submit_item(3)))
        await eventually(lambda: link._queue)
        async with ground.spawn("channel", **settings):
            assert (await unsent).attempt.leg_no == submit_item(3).leg_no


async def test_a_neighbour_that_drains_answers_what_was_sent_and_gets_nothing_more(
    ground, database
):
    """A restart in good order: no item is unknown, the next ones reach the next process."""
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(item):
        begun.set()
        await gate.wait()
        return pb.SubmitResult(attempt=attempt_pb2.Attempt(attempt_no="first"))

    async def quick(item):
        return pb.SubmitResult(attempt=attempt_pb2.Attempt(attempt_no="second"))

    async with stream_to(ground) as link:
        first = playing(ground, database, Script(submit=slow))
        await first.__aenter__()
        sent = asyncio.create_task(ask(link, submit_item(1)))
        await begun.wait()
        leaving = asyncio.create_task(first.__aexit__(None, None, None))
        await eventually(lambda: link._wake.is_set())  # It was told.
        later = asyncio.create_task(ask(link, submit_item(2)))
        await eventually(lambda: link._queue)
        gate.set()
        assert (await sent).attempt.attempt_no == "first"
        async with asyncio.timeout(BATCH_SECONDS):
            await leaving
        async with playing(ground, database, Script(submit=quick)):
            assert (await later).attempt.attempt_no == "second"
