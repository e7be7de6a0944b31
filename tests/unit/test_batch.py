"""The coalescer keeps its promises, whatever comes in and whatever the flush does."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.batch import RUNS_MAX, WEIGHT_MAX, Coalescer, NotExecuted, Rejected, Undone, Unknown
from mesh.context import Acting, acting_as, begin, within


class Bank:
    """A flush that counts, yields to the loop, and refuses batches that hold a bad item."""

    def __init__(self, bad=(), shuffle=False):
        self.bad, self.shuffle = set(bad), shuffle
        self.batches, self.booked, self.open = [], [], 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.flying = []  # Keys in flight, to see that none is there twice.

    async def __call__(self, items):
        keys = [item[0] for item in items]
        assert not set(keys) & set(self.flying), "a key is in flight twice"
        assert len(keys) == len(set(keys)), "a key is in the batch twice"
        self.batches.append(list(items))
        self.flying += keys
        await self.gate.wait()
        await asyncio.sleep(0)
        for key in keys:
            self.flying.remove(key)
        if self.bad & set(items):
            raise Rejected("bad item")
        self.booked += items
        answers = [(ordinal, ("answer", item)) for ordinal, item in enumerate(items)]
        return reversed(answers) if self.shuffle else answers


def coalescer(flush, **limits):
    return Coalescer(flush, keys_of=lambda item: [item[0]], **limits)


async def turns():
    """Let the loop come round often enough for whatever can move to have moved."""
    for _ in range(5):
        await asyncio.sleep(0)


async def submit_all(line, items):
    return await asyncio.gather(*map(line.submit, items), return_exceptions=True)


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.integers(0, 6), max_size=40),
    bad=st.sets(st.integers(0, 39), max_size=4),
    rows_max=st.integers(1, 9),
    flights_max=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_everyone_gets_exactly_their_own_answer(keys, bad, rows_max, flights_max, shuffle):
    """None lost, none doubled, none swapped; only the offenders fail; order per key holds."""
    items = [(key, place) for place, key in enumerate(keys)]
    offenders = {item for item in items if item[1] in bad}

    async def scenario():
        bank = Bank(offenders, shuffle)
        line = coalescer(bank, rows_max=rows_max, flights_max=flights_max)
        answers = await submit_all(line, items)
        await line.close()
        return bank, answers

    bank, answers = asyncio.run(scenario())

    for item, answer in zip(items, answers, strict=True):
        if item in offenders:
            assert isinstance(answer, Rejected)
        else:
            assert answer == ("answer", item)
    assert sorted(bank.booked) == sorted(set(items) - offenders)
    assert all(len(batch) <= rows_max for batch in bank.batches)
    for key in set(keys):
        places = [place for one, place in bank.booked if one == key]
        assert places == sorted(places), "the second of a key overtook the first"


def test_a_batch_is_what_arrived_meanwhile(run):
    """One flies at once; five that come while it flies share the next flight."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank, flights_max=1)
        bank.gate.clear()
        first = asyncio.create_task(line.submit((0, 0)))
        await turns()
        rest = asyncio.create_task(submit_all(line, [(key, 0) for key in range(1, 6)]))
        await turns()
        bank.gate.set()
        await first
        await rest
        return [len(batch) for batch in bank.batches]

    assert run(scenario()) == [1, 5]


@pytest.mark.parametrize("flights_max", [1, 2])
def test_one_after_the_other_never_waits_for_nobody(run, flights_max):
    """A submit right after an answer finds the only flight landing, and is still carried."""

    async def scenario():
        line = coalescer(Bank(), flights_max=flights_max)
        for place in range(50):
            await line.submit((0, place))

    run(asyncio.wait_for(scenario(), 5))


def test_bisection_isolates_the_offender(run):
    """Of 64 in a batch one is bad: 63 answers, one error, about 2 log2 64 more flushes."""

    async def scenario():
        bank = Bank(bad=[(13, 0)])
        answers = await submit_all(coalescer(bank), [(key, 0) for key in range(64)])
        return bank, answers

    bank, answers = run(scenario())
    assert [place for place, a in enumerate(answers) if isinstance(a, Rejected)] == [13]
    assert len(bank.batches) == 13


RESULTS = [
    # what the flush says    of two items
    ([(0, "a")],             "a missing ordinal"),
    ([(0, "a"), (0, "b")],   "a double ordinal"),
    ([(0, "a"), (1, "b"), (1, "c")], "one too many"),
    ([(1, "a"), (2, "b")],   "an ordinal of nobody"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "why"), RESULTS, ids=[why for _, why in RESULTS])
def test_a_wrong_result_set_is_unknown_to_all(run, rows, why):
    """It is a bug, and after a commit: nobody may believe any of it."""

    async def flush(items):
        return rows

    answers = run(submit_all(coalescer(flush), [(0, 0), (1, 0)]))

    assert [type(answer) for answer in answers] == [Unknown, Unknown]


ERRORS = [
    # raised by the flush        flushes   what every waiter gets
    (Unknown("connection lost"), 1,        Unknown),
    (NotExecuted("pool is dry"), 1,        NotExecuted),
    (Undone("deadlock"),         RUNS_MAX, NotExecuted),
    (ZeroDivisionError("a bug"), 1,        Unknown),
]  # fmt: skip


@pytest.mark.parametrize(("error", "flushes", "kind"), ERRORS)
def test_errors_of_the_whole_batch(run, error, flushes, kind):
    """Everyone is told, in an exception of their own, and only a deadlock is tried again."""
    batches = []

    async def flush(items):
        batches.append(items)
        raise error

    answers = run(submit_all(coalescer(flush), [(0, 0), (1, 0)]))

    assert [type(answer) for answer in answers] == [kind, kind]
    assert answers[0] is not answers[1]
    assert len(batches) == flushes


def test_a_deadlock_that_passes_is_not_noticed(run):
    """The batch that was undone runs again, whole."""
    batches = []

    async def flush(items):
        batches.append(list(items))
        if len(batches) < 3:
            raise Undone("deadlock")
        return list(enumerate(items))

    answers = run(submit_all(coalescer(flush), [(0, 0), (1, 0)]))

    assert answers == [(0, 0), (1, 0)]
    assert batches == [[(0, 0), (1, 0)]] * 3


@pytest.mark.parametrize("boarded", [True, False])
def test_a_cancelled_waiter_does_not_take_the_batch_with_it(run, boarded):
    """Who leaves in flight is written all the same; who leaves the queue is not sent."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank, flights_max=1)
        bank.gate.clear()
        if not boarded:  # Something else flies first, so that ours stay in the queue.
            ahead = asyncio.create_task(line.submit((99, 0)))
            await turns()
        leaves = asyncio.create_task(line.submit((1, 0)))
        stays = asyncio.create_task(line.submit((0, 0)))
        await turns()
        leaves.cancel()
        await turns()
        bank.gate.set()
        assert await asyncio.wait_for(stays, 5) == ("answer", (0, 0))
        if not boarded:
            await ahead
        await line.close()
        return leaves.cancelled(), (1, 0) in bank.booked

    assert run(scenario()) == (True, boarded)


def test_a_deadline_that_passed_in_the_queue_is_not_executed(run):
    """It is dropped before it is sent, and says so; one with time left is carried."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank)
        with within(0):
            late = asyncio.create_task(line.submit((0, 0)))
        with within(60):
            timely = asyncio.create_task(line.submit((1, 0)))
        await timely
        with pytest.raises(NotExecuted):
            await late
        return bank.booked

    assert run(scenario()) == [(1, 0)]


def test_one_tenant_fills_half_a_batch_while_others_wait(run):
    """Six of a loud tenant, then two of a quiet one: both are in the next four."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank, rows_max=4, flights_max=1)
        bank.gate.clear()
        ahead = asyncio.create_task(line.submit((99, "ahead")))
        await turns()
        calls = [asyncio.create_task(submit_as(line, "loud", (key, "loud"))) for key in range(6)]
        calls += [asyncio.create_task(submit_as(line, "quiet", (7 + k, "quiet"))) for k in range(2)]
        await turns()
        bank.gate.set()
        await asyncio.gather(ahead, *calls)
        return [[owner for _, owner in batch] for batch in bank.batches[1:]]

    batches = run(scenario())

    assert sorted(batches[0]) == ["loud", "loud", "quiet", "quiet"]
    assert batches[1] == ["loud"] * 4  # Nobody else waits: the whole batch is theirs.


async def submit_as(line, tenant, item):
    with acting_as(Acting(app_id=tenant)):
        return await line.submit(item)


def test_a_batch_weighs_no_more_than_a_message_may(run):
    """Items that are too heavy together travel one after the other; a heavy one still goes."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank, weight_of=lambda item: item[1], flights_max=1)
        third = WEIGHT_MAX // 3
        weights = [third, third, third, third, WEIGHT_MAX + 1]
        await submit_all(line, list(enumerate(weights)))
        return [len(batch) for batch in bank.batches]

    assert run(scenario()) == [3, 1, 1]


def test_a_line_may_have_a_weight_of_its_own(run):
    """What a batch may hold is whatever its statement counts."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank, weight_of=lambda item: item[1], weight_max=10, flights_max=1)
        await submit_all(line, list(enumerate([6, 4, 1, 11, 9, 1])))
        return [[weight for _, weight in batch] for batch in bank.batches]

    assert run(scenario()) == [[6, 4], [1, 9], [11], [1]]


def test_work_that_has_begun_is_not_dropped(run):
    """After something durable was done the deadline no longer drops what must follow."""

    async def scenario():
        bank = Bank()
        line = coalescer(bank)
        with within(0):
            begin()
            begun = await line.submit((0, 0))
            with within(0), pytest.raises(NotExecuted):  # Other work, with a deadline of its own.
                await line.submit((1, 0))
            return begun, await line.submit((2, 0))

    assert run(scenario()) == (("answer", (0, 0)), ("answer", (2, 0)))
