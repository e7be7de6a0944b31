"""Random stories of a book, and that they would notice a posting function that is wrong."""

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from tests.service.ledger.books import connect
from tests.service.ledger.seeds import effort, seeds
from tests.service.ledger.story import Story

TELLING = settings(
    max_examples=effort(suite=12, nightly=15),
    stateful_step_count=effort(suite=25, nightly=40),
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


async def tell(dsn, desk, seed, telling=TELLING):
    """Run stories that happen in this database; in a thread, because hypothesis does not await."""
    loop = asyncio.get_running_loop()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    with connect(dsn) as connection:
        world = {"connection": connection, "desk": desk, "run": staticmethod(run)}
        told = seeded(seed)(type("Told", (Story,), world))
        await asyncio.to_thread(run_state_machine_as_test, told, settings=telling)


@seeds(2)
@pytest.mark.timeout(900)  # To find the shortest story takes its time.
async def test_whatever_happens_the_books_are_right(dsn, desk, seed):
    """After every step; hypothesis prints the shortest story in which they are not."""
    await tell(dsn, desk, seed)


# What is broken in the posting function: its text, and what stands there instead.
BROKEN = {
    "no caps": ("r := 41;", "NULL;"),
    "holds may be spent": ("debit_left - outgoing[d] - holds_back <", "debit_left <"),
    "reversed again and again": ("r := 52;", "NULL;"),
    "a broken chain keeps its hold": ("hold_state[hold_at[j]] := state_before[j];", "NULL;"),
    "time is never over": ("hold_expiry[h] <= booking_time", "false"),
    "failures are forgotten": ("WHERE result[g] = ANY (remembered)", "WHERE false"),
    "another amount is the same": ("same_amount(t.flags, p_amount[g], t.amount)", "true"),
}
TEXT = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'post'"


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_function_is_noticed(dsn, desk, fault):
    """Each of these turns a story red."""
    right, wrong = BROKEN[fault]
    with connect(dsn) as connection:
        [text] = connection.execute(TEXT).fetchone()
        assert right in text
        connection.execute(text.replace(right, wrong))
    quick = settings(TELLING, max_examples=200, phases=[Phase.generate], print_blob=False)

    with pytest.raises(AssertionError):
        await tell(dsn, desk, seed=1, telling=quick)
