"""What was written into an outbox arrives, and has its effect once, whatever NATS forgets."""

import itertools
import json
import shutil
import signal
from base64 import b64decode
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from mesh import streams
from mesh.clock import real_now
from mesh.events import pack
from mesh.outbox import ROWS_MAX
from tests.mesh.toy import SCHEMA, SOURCE
from tests.services import holding, open_ground
from tests.waiting import eventually
from tongbao.common.v1 import event_pb2, kinds_pb2, money_pb2
from tongbao.payment.v1 import events_pb2, payment_pb2

WITHIN = 40.0  # A request to a server that was killed is given up after five seconds.
LEADERS = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND classid = 7201 AND database =
             (SELECT oid FROM pg_database WHERE datname = current_database())"""
# Whoever marks a row as published waits until nobody holds this lock.
GATE = """CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
          CREATE TRIGGER gate BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION gate()"""


class Source:
    """A ground with a NATS of its own, and the outbox of a service `payment` on it."""

    def __init__(self, ground, nats, dsn):
        self.ground, self.nats, self.dsn = ground, nats, dsn
        self._serial = itertools.count(1)
        self.numbers = []

    def relay(self, replica=0):
        """A process with a relay, in this one."""
        return self.ground.run(SOURCE, replica=replica, database_dsn=self.dsn)

    def relay_process(self, replica=0):
        """A process with a relay, that may be killed."""
        return self.ground.spawn(
            "payment", replica=replica, module="tests.mesh.toy", database_dsn=self.dsn
        )

    async def write(self, relay, count):
        """Write as many outbox rows, each with the success of another payment."""
        for _ in range(count):
            event = self._success()
            relay.rows("INSERT INTO outbox (events) VALUES (%(event)s)", event=event)

    def _success(self):
        number = f"20261122PY{next(self._serial):016d}"
        self.numbers.append(number)
        payment = payment_pb2.Payment(
            payment_no=number,
            trade_no=number.replace("PY", "TR"),
            app_id="mall",
            trace_no="MALL-1",
            trade_type=kinds_pb2.TRADE_TYPE_COLLECT,
            amount=money_pb2.Money(currency_code="CNY", minor_units=100),
            merchant_id="m1",
            version=3,
        )
        event = events_pb2.PaymentSucceeded(payment=payment)
        envelope = {"number": number, "version": 3, "app_id": "mall", "trace_no": "MALL-1"}
        return pack(event, **envelope, time=real_now())

    async def published(self, relay):
        """Return when every row has a sequence, each of which holds the row's own batch."""
        left = "SELECT count(*) FROM outbox WHERE sequence IS NULL"
        await eventually(lambda: relay.rows(left) == [(0,)], within=WITHIN)
        for outbox_id, sequence in relay.rows("SELECT outbox_id, sequence FROM outbox"):
            [(written,)] = relay.rows(
                "SELECT events FROM outbox WHERE outbox_id = %(outbox_id)s", outbox_id=outbox_id
            )
            batch = event_pb2.EventBatch.FromString(await self._message(sequence))
            [event] = event_pb2.EventBatch.FromString(written).events
            assert event in batch.events

    async def arrived(self, settlement):
        """Return when every success has its clearing item; then no item is one too many."""
        sql = "SELECT source_no FROM clearing_item ORDER BY source_no"
        wanted = [(number,) for number in self.numbers]
        await eventually(lambda: settlement.rows(sql) == wanted, within=WITHIN)
        assert settlement.dead_letters() == []

    async def last_sequence(self):
        async with self._client() as client:
            return (await streams.ensure_stream(client, "payment")).last_sequence

    async def told(self):
        """Return how often the stream tells of each payment."""
        told = Counter()
        for sequence in range(1, await self.last_sequence() + 1):
            batch = event_pb2.EventBatch.FromString(await self._message(sequence))
            told.update(event.number for event in batch.events)
        return told

    async def _message(self, sequence):
        async with self._client() as client:
            ask = json.dumps({"seq": sequence}).encode()
            subject = f"$JS.API.STREAM.MSG.GET.{streams.stream_of('payment')}"
            message = (await streams.ask(client, subject, ask))["message"]
            return b64decode(message.get("data", ""))

    @asynccontextmanager
    async def _client(self):
        client = await streams.connect(self.nats.url(), "test")
        try:
            yield client
        finally:
            await client.close()

    async def kill_nats(self):
        """kill -9."""
        self.nats.process.send(signal.SIGKILL)
        await self.nats.process.wait(within=10)


def once(source):
    """Every payment, told of once."""
    return Counter(source.numbers)


@pytest.fixture
async def source(fresh_nats, database):
    """An outbox and a NATS that may be killed."""
    async with open_ground(nats=fresh_nats, database=database) as ground:
        yield Source(ground, fresh_nats, database("payment", folder=SCHEMA))


async def test_a_killed_nats_loses_nothing(source):
    """Rows written while it is away arrive when it is back, with those from before."""
    async with source.relay() as relay, source.ground.run("settlement") as settlement:
        await source.write(relay, 3)
        await source.arrived(settlement)
        await source.kill_nats()
        await source.write(relay, 3)
        await source.nats.start()
        await source.write(relay, 1)
        await source.arrived(settlement)
        await source.published(relay)
    assert await source.told() == once(source)


@pytest.mark.parametrize("consumed", [True, False])
async def test_a_wiped_store_is_filled_again(source, consumed):
    """What it had acknowledged is published once more, whether it was consumed or not."""
    async with source.relay() as relay:
        await source.write(relay, 3)
        await source.published(relay)
        if consumed:
            async with source.ground.run("settlement") as settlement:
                await source.arrived(settlement)
        await source.kill_nats()
        shutil.rmtree(source.nats.store)
        await source.nats.start()
        await source.write(relay, 2)
        async with source.ground.run("settlement") as settlement:
            await source.arrived(settlement)
        await source.published(relay)
    assert await source.told() == once(source)


async def test_a_store_wiped_under_a_running_consumer_is_no_end(source):
    """The consumer makes itself anew; it does not matter who notices first."""
    async with source.relay() as relay, source.ground.run("settlement") as settlement:
        await source.write(relay, 2)
        await source.arrived(settlement)
        await source.kill_nats()
        shutil.rmtree(source.nats.store)
        await source.nats.start()
        await source.write(relay, 2)
        await source.arrived(settlement)
        await source.published(relay)


@pytest.mark.parametrize("consumed", [True, False])
async def test_a_store_rolled_back_is_filled_up_again(source, tmp_path, consumed):
    """It holds what it held at the snapshot, says the same name, and lacks what came after."""
    async with source.relay() as relay:
        await source.write(relay, 2)
        await source.published(relay)
        await source.nats.stop()
        shutil.copytree(source.nats.store, tmp_path / "snapshot")
        await source.nats.start()
        await source.write(relay, 3)
        await source.published(relay)
        if consumed:
            async with source.ground.run("settlement") as settlement:
                await source.arrived(settlement)
        await source.kill_nats()
        shutil.rmtree(source.nats.store)
        shutil.copytree(tmp_path / "snapshot", source.nats.store)
        await source.nats.start()
        assert len(await source.told()) < 5
        await source.write(relay, 1)
        async with source.ground.run("settlement") as settlement:
            await source.arrived(settlement)
        await source.published(relay)
    assert await source.told() == once(source)


async def test_a_backlog_goes_out_at_once_and_whole(source):
    """Two hundred rows wait; they take two messages, and each row knows the one it is in."""
    async with source.relay() as relay:
        await source.kill_nats()
        await source.write(relay, 230)
        await source.nats.start()
        await source.published(relay)
        rows = relay.rows("SELECT outbox_id, sequence FROM outbox ORDER BY outbox_id")
    assert rows == [(place, 1 if place <= ROWS_MAX else 2) for place in range(1, 231)]
    assert await source.told() == once(source)


async def test_rows_that_meet_other_neighbours_the_second_time_are_told_again(source):
    """The relay has forgotten that half of them were published; their effects come once."""
    async with source.relay() as relay:
        await source.write(relay, 40)
        await source.published(relay)
    async with source.relay() as relay, source.ground.run("settlement") as settlement:
        relay.rows("UPDATE outbox SET sequence = NULL")
        await source.write(relay, 40)
        await source.published(relay)
        await source.arrived(settlement)
    assert set(await source.told()) == set(source.numbers)


async def test_somebody_else_in_the_stream_does_not_stop_the_relay(source):
    """The expected sequence is wrong once; then it looks again and goes on."""
    async with source.relay() as relay, source.ground.run("settlement") as settlement:
        await source.write(relay, 2)
        await source.published(relay)
        await source.ground.publish("payment", b"")
        await source.write(relay, 2)
        await source.published(relay)
        await source.arrived(settlement)
    assert await source.told() == once(source)


async def test_of_two_relays_one_leads_and_the_other_takes_over(source):
    """The leader dies after JetStream has acknowledged and before the row says so."""
    async with source.relay_process(1) as leader:
        await source.write(leader, 2)
        await source.published(leader)
        [(first,)] = leader.rows(LEADERS)
        async with source.relay() as other, source.ground.run("settlement") as settlement:
            await source.write(other, 2)
            await source.published(other)
            assert other.rows(LEADERS) == [(first,)]
            leader.rows(GATE)
            async with holding(source.dsn, "SELECT pg_advisory_xact_lock(42)"):
                await source.write(leader, 3)
                await leader.blocked(1)
                assert await source.told() == once(source)
                leader.process.send(signal.SIGKILL)
                await leader.process.wait(within=10)
            await source.write(other, 1)
            await source.published(other)
            await source.arrived(settlement)
            [(second,)] = other.rows(LEADERS)
            assert second != first
    assert set(await source.told()) == set(source.numbers)


async def test_a_leader_that_lost_its_lock_does_no_harm(source):
    """Its session is ended under it; both relays go on, and one of them leads."""
    async with source.relay() as one, source.relay(1) as two:
        for _ in range(3):
            await source.write(one, 2)
            await source.published(one)
            one.rows(f"SELECT pg_terminate_backend(pid) FROM ({LEADERS}) l")
        await source.write(two, 2)
        await source.published(two)
        await eventually(lambda: len(one.rows(LEADERS)) == 1)
    assert set(await source.told()) == set(source.numbers)
