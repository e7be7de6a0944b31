"""Many requests, one round trip: what waits at the same moment travels together.

A flow awaits `Coalescer.submit` for its own item and never sees its neighbours. There is
no timer: a batch is what arrived while the one before it was in flight. The contract in
full is decisions.md 3.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.context import acting, drop_after

In = TypeVar("In")
Out = TypeVar("Out")

ROWS_MAX = 256
FLIGHTS_MAX = 2
WEIGHT_MAX = 512 * 1024  # Bytes of a batch: what one event message may carry.
RUNS_MAX = 5  # Deadlocks in a row before we say that the database is too busy.


class NotExecuted(Exception):
    """It certainly did not happen. The caller may send it again."""


class Unknown(Exception):
    """It happened or it did not. Read again by your own key; never run it again blindly."""


class Rejected(Exception):
    """The database refused one input of the batch and undid the whole batch."""


class Undone(Exception):
    """The batch lost a deadlock and was undone. The same batch may pass the next time."""


@dataclass(slots=True, eq=False)
class _Waiter(Generic[In, Out]):
    """One item on its way: what it is, whose, whom it excludes, until when, who waits."""

    item: In
    tenant: str
    keys: Sequence[Hashable]
    weight: int
    deadline: float | None
    answer: asyncio.Future[Out]

    def succeed(self, out: Out) -> None:
        if not self.answer.done():  # A cancelled waiter has left; its row is still written.
            self.answer.set_result(out)

    def fail(self, kind: type[Exception], error: Exception) -> None:
        if not self.answer.done():
            own = kind(str(error))  # One exception each: tracebacks are not shared.
            own.__cause__ = error
            self.answer.set_exception(own)


class Coalescer(Generic[In, Out]):
    """Turns concurrent `submit` calls into batches for `flush`.

    `flush` takes the items and returns one (ordinal, result) per item, in any order; the
    ordinal is the item's place in the batch. It is all or nothing: Rejected and Undone
    promise that no item of the batch took effect, NotExecuted that it was never sent.

    `keys_of` names the rows an item changes. Two items that share a key are never in
    flight together: one statement applies only one of two changes to a row, and a second
    flight would hold its neighbours up while it waits for the lock of the first.

    A batch is as heavy as its items together, at most `weight_max`; one item may be heavier.

    One tenant fills at most half a batch while others wait.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[In]], Awaitable[Iterable[tuple[int, Out]]]],
        *,
        keys_of: Callable[[In], Iterable[Hashable]] = lambda _: (),
        weight_of: Callable[[In], int] = lambda _: 0,
        weight_max: int = WEIGHT_MAX,
        rows_max: int = ROWS_MAX,
        flights_max: int = FLIGHTS_MAX,
    ) -> None:
        assert rows_max > 0, rows_max
        assert flights_max > 0, flights_max

        self._flush, self._keys_of, self._weight_of = flush, keys_of, weight_of
        self._rows_max, self._flights_max = rows_max, flights_max
        self._weight_max = weight_max
        self._queue: list[_Waiter[In, Out]] = []
        self._busy: set[Hashable] = set()  # Keys in flight.
        self._flights: set[asyncio.Task[None]] = set()
        self.sizes: Counter[int] = Counter()  # Rows of a flush → how many flushes had as many.

    async def submit(self, item: In) -> Out:
        """Return the result of `item` alone, whatever happens to its neighbours.

        Raises NotExecuted, Unknown, or Rejected when `item` itself is the offender.
        """
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        # Not `_Waiter[In, Out]`: a subscript at run time costs more than all else here.
        waiter = _Waiter(
            item,
            acting().app_id,
            tuple(self._keys_of(item)),
            self._weight_of(item),
            drop_after(),
            answer,
        )
        self._queue.append(waiter)
        if len(self._flights) < self._flights_max:
            self._launch()
        return await answer

    async def close(self) -> None:
        """Return when nothing is queued and nothing is in flight."""
        while self._flights:
            await asyncio.wait(set(self._flights))

    def _launch(self) -> None:
        """Start one more flight if there may be one. It boards when the loop comes to it."""
        if self._queue and len(self._flights) < self._flights_max:
            flight = asyncio.create_task(self._fly())
            self._flights.add(flight)

    async def _fly(self) -> None:
        try:
            while batch := self._board():
                self._launch()  # What did not fit may fly beside us.
                keys = {key for waiter in batch for key in waiter.keys}
                self._busy |= keys
                try:
                    await self._carry(batch)
                finally:
                    self._busy -= keys
        finally:
            # Here and not in a callback: whoever submits after our last look at the queue
            # must find the place free, or nobody would ever come for them.
            this = asyncio.current_task()
            assert this is not None, "a flight is a task"
            self._flights.discard(this)

    def _board(self) -> list[_Waiter[In, Out]]:
        """Take the next batch off the queue: oldest first, no key twice, none in flight."""
        now = asyncio.get_running_loop().time()
        seats = self._seats_each()
        batch: list[_Waiter[In, Out]] = []
        later: list[_Waiter[In, Out]] = []
        seated: dict[str, int] = {}
        taken = set(self._busy)
        weight = 0
        for place, waiter in enumerate(self._queue):
            if len(batch) == self._rows_max:
                later += self._queue[place:]
                break
            tenant, keys = waiter.tenant, waiter.keys
            if waiter.answer.done():
                continue  # Cancelled before it was sent: nothing to do.
            if waiter.deadline is not None and waiter.deadline <= now:
                waiter.fail(NotExecuted, TimeoutError("the deadline passed in the queue"))
                continue
            free = taken.isdisjoint(keys) and seated.get(tenant, 0) < seats
            if free and (not batch or weight + waiter.weight <= self._weight_max):
                batch.append(waiter)
                seated[tenant] = seated.get(tenant, 0) + 1
                weight += waiter.weight
            else:
                later.append(waiter)
            taken.update(keys)  # First come, first served, also among those who wait.
        self._queue = later
        return batch

    def _seats_each(self) -> int:
        """Return how many seats of the next batch one tenant may take."""
        first = self._queue[0].tenant if self._queue else ""
        alone = all(waiter.tenant == first for waiter in self._queue)
        return self._rows_max if alone else max(1, self._rows_max // 2)

    async def _carry(self, batch: list[_Waiter[In, Out]]) -> None:
        """Flush `batch` and tell every waiter, whatever the flush does."""
        try:
            answers = await self._flush_until_done(batch)
        except Rejected as error:
            await self._bisect(batch, error)
        except NotExecuted as error:
            self._fail(batch, NotExecuted, error)
        except Exception as error:  # The statement may have committed before this broke.
            self._fail(batch, Unknown, error)
        else:
            for waiter, out in zip(batch, answers, strict=True):
                waiter.succeed(out)

    async def _flush_until_done(self, batch: list[_Waiter[In, Out]]) -> list[Out]:
        """Return the results in the order of `batch`. Raises what `flush` raises."""
        items = [waiter.item for waiter in batch]
        last = ""
        for _ in range(RUNS_MAX):
            self.sizes[len(items)] += 1
            try:
                return _in_order(await self._flush(items), count=len(items))
            except Undone as error:
                last = str(error)
        raise NotExecuted(f"undone {RUNS_MAX} times: {last}")

    async def _bisect(self, batch: list[_Waiter[In, Out]], error: Rejected) -> None:
        """Run the halves on their own until the offender is alone with its error."""
        if len(batch) == 1:
            batch[0].fail(Rejected, error)
            return
        middle = len(batch) // 2
        await self._carry(batch[:middle])
        await self._carry(batch[middle:])

    @staticmethod
    def _fail(batch: list[_Waiter[In, Out]], kind: type[Exception], error: Exception) -> None:
        for waiter in batch:
            waiter.fail(kind, error)


def _in_order(rows: Iterable[tuple[int, Out]], *, count: int) -> list[Out]:
    """Return the results by ordinal. A missing or double ordinal is a bug and raises."""
    pairs = sorted(rows, key=lambda pair: pair[0])
    ordinals = [ordinal for ordinal, _ in pairs]
    if ordinals != list(range(count)):
        raise AssertionError(f"{count} items, but the results are for {ordinals}")
    return [out for _, out in pairs]
