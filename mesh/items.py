"""The server's side of batches and streams: many items of many owners in one call.

Every item is worked on under its own context and answered with its own status; what goes
wrong with one never touches its neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

import structlog
from google.protobuf.descriptor import Descriptor
from opentelemetry.trace import SpanKind

from mesh.batch import NotExecuted, Unknown
from mesh.clock import real_epoch
from mesh.context import Acting, act_as, act_within, acting, remaining
from mesh.crew import Crew
from mesh.errors import Declined, Malformed, Refused, to_item_status
from mesh.logging import debugging
from mesh.redact import hold
from mesh.telemetry import traced
from mesh.wire import check
from tongbao.common.v1 import item_pb2, options_pb2

PACK_MAX = 512
_UNBOUNDED = 1 << 30
_DRAINING = object()

log = structlog.get_logger()

Result = TypeVar("Result", bound="ItemResult")


class ItemResult(Protocol):
    """Any result message."""

    @property
    def status(self) -> item_pb2.ItemStatus: ...


async def each(
    items: Sequence[Any], work: Callable[[Any], Awaitable[Result]], result: type[Result]
) -> list[Result]:
    """Return the results of `work` on every item at once, in order; errors as statuses."""
    results: list[Result] = await asyncio.gather(*(_settle(item, work, result) for item in items))
    return results


async def answered(
    requests: AsyncIterator[Any],
    work: Callable[[Any], Awaitable[Any]],
    *,
    pack: Callable[..., Any],
    result: type[Any],
    crew: Crew,
    open_max: int = _UNBOUNDED,
) -> AsyncIterator[Any]:
    """Yield packs of results as they become known, until the caller's stream has ended.

    Items are worked on at once, and to their end even when the stream breaks. An empty pack
    says that the service drains: the caller ends its stream and takes what it has not sent
    to the next one, so that nothing is cut off half-way. With `open_max` items open, the next
    ones are read when the answers of others have been taken: the caller's writes wait.
    """
    done: asyncio.Queue[Any] = asyncio.Queue()
    free = asyncio.Semaphore(open_max)
    open_items = 0
    reading = True

    async def one(item: Any) -> None:
        answer = await _settle(item, work, result)
        answer.item_id = item.item_id
        done.put_nowait(answer)

    async def read() -> None:
        nonlocal open_items, reading
        try:
            async for request in requests:
                for item in request.items:
                    await free.acquire()
                    open_items += 1
                    crew.spawn(one(item))
        finally:
            reading = False
            done.put_nowait(None)  # Wakes the writer when there is nothing left to answer.

    async def tell_draining() -> None:
        await crew.drained()
        done.put_nowait(_DRAINING)

    reader, drain = asyncio.create_task(read()), asyncio.create_task(tell_draining())
    try:
        while reading or open_items:
            said = await _together(done)
            answers = [one for one in said if one is not None and one is not _DRAINING]
            open_items -= len(answers)
            if answers:
                yield pack(results=answers)
                for _ in answers:
                    free.release()
            if _DRAINING in said:
                yield pack()
        await reader  # Raises what was wrong with the stream itself.
    finally:
        for task in (reader, drain):
            task.cancel()
        await asyncio.gather(reader, drain, return_exceptions=True)


async def _together(done: asyncio.Queue[Any]) -> list[Any]:
    """Return what is said next, with whatever else has been said by then, up to a pack."""
    said = [await done.get()]
    while len(said) < PACK_MAX and not done.empty():
        said.append(done.get_nowait())
    return said


async def _settle(item: Any, work: Callable[[Any], Awaitable[Any]], result: type[Any]) -> Any:
    """Return what `work` says to `item`, or a result that holds only a status.

    Runs in a task of its own, so what it sets for the work need not be taken back.
    """
    hold(item)
    owner, seconds = _owner(item)
    try:
        if seconds is not None and seconds <= 0:
            raise NotExecuted("the deadline passed on the way")
        check(item)
        name = item.DESCRIPTOR.full_name
        with traced(name, owner, kind=SpanKind.SERVER) as below:
            act_as(below)
            act_within(seconds)
            answer = await work(item)
            if debugging():
                log.debug("item_answered", item=name)
            return answer
    except (Refused, Malformed, Declined, NotExecuted, Unknown) as error:
        return result(status=to_item_status(error))
    except Exception as error:  # A bug in one item must not take the call of all others down.
        status = to_item_status(error)
        log.exception("item_broke", trace_no=owner.trace_no, status=status.message)
        return result(status=status)


def _owner(item: Any) -> tuple[Acting, float | None]:
    """Return on whose behalf `item` travels, and for how many seconds somebody waits for it.

    An item of a public batch has no context: it is the caller's, as the call is.
    """
    if not _has_context(item.DESCRIPTOR):
        return acting(), remaining()
    context: item_pb2.ItemContext = item.context
    owner = Acting(
        app_id=context.app_id,
        trace_no=context.trace_no,
        traceparent=context.traceparent,
        locale=context.locale,
        role=options_pb2.ROLE_SERVICE,
    )
    if not context.HasField("deadline"):
        return owner, None
    return owner, context.deadline.seconds + context.deadline.nanos / 1e9 - real_epoch()


@cache
def _has_context(kind: Descriptor) -> bool:
    return "context" in kind.fields_by_name
