"""On whose behalf we act right now: tenant, trace, deadline. Set at the door, read anywhere.

A coalesced call has many owners, so none of this lives in gRPC metadata between services:
it is read from the item at the door of the service and written into the next item by
`mesh.call` (decisions.md 4).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass

from mesh.records import replace
from tongbao.common.v1 import options_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """The owner of the work in hand. `role` is who asked, not who works."""

    app_id: str = ""
    trace_no: str = ""
    traceparent: str = ""
    locale: str = ""
    role: options_pb2.Role.ValueType = options_pb2.ROLE_UNSPECIFIED
    caller: str = ""


_NOBODY = Acting()
_acting: ContextVar[Acting] = ContextVar("acting", default=_NOBODY)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_begun: ContextVar[bool] = ContextVar("begun", default=False)


def acting() -> Acting:
    """Return on whose behalf we act; an empty one outside of any call."""
    return _acting.get()


def deadline() -> float | None:
    """Return when nobody waits any more, in the running loop's time; None: somebody always."""
    return _deadline.get()


def remaining() -> float | None:
    """Return the seconds until the deadline, perhaps negative; None when there is none."""
    at = _deadline.get()
    return None if at is None else at - asyncio.get_running_loop().time()


class acting_as:  # noqa: N801 it reads as the statement that it is
    """Act on behalf of `who` inside the block.

    A class, as `within` is: a generator costs three times as much, for every item.
    """

    __slots__ = ("_token", "_who")

    def __init__(self, who: Acting) -> None:
        self._who = who

    def __enter__(self) -> None:
        self._token = _acting.set(self._who)

    def __exit__(self, *_: object) -> None:
        _acting.reset(self._token)


def act_as(who: Acting) -> None:
    """Act on behalf of `who` until the present task ends: for a stream or item, which has one."""
    _acting.set(who)


def note(*, trace_no: str = "", app_id: str = "") -> None:
    """Fill in what the flow has learnt, for the log lines and spans that follow."""
    now = _acting.get()
    if (trace_no or now.trace_no, app_id or now.app_id) != (now.trace_no, now.app_id):
        _acting.set(replace(now, trace_no=trace_no or now.trace_no, app_id=app_id or now.app_id))


class within:  # noqa: N801 it reads as the statement that it is
    """Give the work inside the block a deadline, `seconds` from now. It has not begun yet."""

    __slots__ = ("_at", "_begun", "_deadline")

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    def __enter__(self) -> None:
        self._deadline = _deadline.set(self._at)
        self._begun = _begun.set(False)

    def __exit__(self, *_: object) -> None:
        _begun.reset(self._begun)
        _deadline.reset(self._deadline)


def act_within(seconds: float | None) -> None:
    """Give the rest of the present task a deadline, as `within` gives it to a block."""
    _deadline.set(None if seconds is None else asyncio.get_running_loop().time() + seconds)
    _begun.set(False)


def begin() -> None:
    """Note that the work in hand has changed something durable: it must be finished now.

    From here on the deadline says when nobody waits for the answer any more, but no longer
    drops statements: a charge that was sent must be recorded.
    """
    _begun.set(True)


def drop_after() -> float | None:
    """Return when a statement that has not been sent need not be; None: it must be."""
    return None if _begun.get() else _deadline.get()
