"""The simulator's journal: nothing is settled before it is written, and writers share a write."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from sim.journal import Journal, JournalError


class GatedJournal(Journal):
    """A journal whose disk is as slow as the test wants. It writes all the same."""

    def __init__(self, path):
        super().__init__(path)
        self.gate, self.chunks = threading.Semaphore(0), []

    def _write(self, chunk):
        self.gate.acquire()
        super()._write(chunk)
        self.chunks.append(chunk)


@asynccontextmanager
async def running(journal):
    writing = asyncio.create_task(journal.run())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        journal.close()


async def turns():
    """Let the loop come round often enough for whatever can move to have moved."""
    for _ in range(5):
        await asyncio.sleep(0)


def read(path):
    journal = Journal(path)
    records = list(journal.replay())
    journal.close()
    return records


async def test_nothing_is_settled_before_it_is_on_disk(tmp_path):
    """Neither for who wrote it nor for who only read it in memory."""
    journal = GatedJournal(tmp_path / "journal")
    async with running(journal):
        await journal.settled()  # Nothing to wait for yet.
        journal.append({"n": 1})
        waiting = [asyncio.create_task(journal.settled()) for _ in range(2)]
        await turns()
        assert not any(task.done() for task in waiting)

        journal.gate.release()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert (tmp_path / "journal").read_bytes() == b'{"n":1}\n'


async def test_what_waits_shares_one_write(tmp_path):
    """A hundred writers cost two: the one in flight and the one after it."""
    journal = GatedJournal(tmp_path / "journal")
    async with running(journal):
        journal.append({"n": 0})
        await turns()
        for number in range(1, 100):
            journal.append({"n": number})
        last = asyncio.create_task(journal.settled())
        journal.gate.release()
        await turns()
        assert not last.done(), "the second write has not begun to pass"
        journal.gate.release()
        await asyncio.wait_for(last, 10)
        assert [chunk.count(b"\n") for chunk in journal.chunks] == [1, 99]
    assert [record["n"] for record in read(tmp_path / "journal")] == list(range(100))


async def test_a_write_that_fails_ends_the_journal(tmp_path):
    """Whoever runs it must hear of it; whoever waits is never told that all is well."""
    journal = Journal(tmp_path / "journal")
    journal.close()  # The disk is gone.
    writing = asyncio.create_task(journal.run())
    journal.append({"n": 1})
    waiting = asyncio.create_task(journal.settled())
    with pytest.raises(OSError, match="Bad file descriptor"):
        await asyncio.wait_for(writing, 10)
    assert not waiting.done()
    waiting.cancel()


async def test_a_torn_end_is_cut_off(tmp_path):
    """It was never answered; what comes after it starts on a line of its own."""
    path = tmp_path / "journal"
    path.write_bytes(b'{"n":1}\n{"n":2')
    journal = Journal(path)
    assert list(journal.replay()) == [{"n": 1}]
    async with running(journal):
        journal.append({"n": 3})
        await journal.settled()
    assert read(path) == [{"n": 1}, {"n": 3}]


def test_damage_before_the_end_is_not_passed_over(tmp_path):
    """Somebody was told of that line."""
    path = tmp_path / "journal"
    path.write_bytes(b'{"n":1}\n{"n":\n{"n":3}\n')
    with pytest.raises(JournalError, match=":2:"):
        read(path)


def test_a_journal_has_one_writer(tmp_path):
    """A simulator started twice would lose the books of both."""
    journal = Journal(tmp_path / "journal")
    with pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "journal")
    journal.close()
    Journal(tmp_path / "journal").close()
