"""What every flow of this service works with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from channel.accounts import Accounts
from channel.books import Books
from channel.model import Attempt
from channel.transport import Transport
from mesh.batch import NotExecuted, Rejected, Unknown
from mesh.clock import Clock
from mesh.context import within
from mesh.crew import Crew
from mesh.db import Database
from mesh.numbers import Numbers
from mesh.serve import Runtime
from tongbao.ledger.v1 import ledger_service_pb2

INQUIRIES_MAX = 64  # At once to one channel account.

T = TypeVar("T")

log = structlog.get_logger()


def _turns() -> defaultdict[str, asyncio.Semaphore]:
    return defaultdict(lambda: asyncio.Semaphore(INQUIRIES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow.

    `callback_url` is where providers reach `host`:`port`. `turns` are places to inquire, by
    channel account, so that a silent provider keeps its own inquiries waiting and no others.
    `awaited` are the legs, by number, whose callers wait here for an end.
    """

    db: Database
    clock: Clock
    numbers: Numbers
    accounts: Accounts
    books: Books
    transport: Transport
    crew: Crew
    host: str
    port: int
    callback_url: str
    turns: defaultdict[str, asyncio.Semaphore] = field(default_factory=_turns)
    awaited: dict[str, asyncio.Future[Attempt]] = field(default_factory=dict)

    def notify_url(self, channel_code: str) -> str:
        """Return where the provider of this account shall call back."""
        return f"{self.callback_url.rstrip('/')}/callbacks/{channel_code}"

    def go_on(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work that ends even when nobody waits for it; its failure is logged.

        The caller's deadline does not bind it: what a provider said must be recorded.
        """
        with within(None):
            task = self.crew.spawn(work)
        task.add_done_callback(_report)
        return task


@asynccontextmanager
async def opened(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    settings = runtime.settings
    books = Books(
        posts=runtime.batch_link(
            "ledger",
            method="/tongbao.ledger.v1.LedgerService/BatchPost",
            request=ledger_service_pb2.BatchPostRequest,
            response=ledger_service_pb2.BatchPostResponse,
        ),
        forbids=runtime.batch_link(
            "ledger",
            method="/tongbao.ledger.v1.LedgerService/BatchForbid",
            request=ledger_service_pb2.BatchForbidRequest,
            response=ledger_service_pb2.BatchForbidResponse,
        ),
        opens=runtime.batch_link(
            "ledger",
            method="/tongbao.ledger.v1.LedgerService/BatchOpenAccounts",
            request=ledger_service_pb2.BatchOpenAccountsRequest,
            response=ledger_service_pb2.BatchOpenAccountsResponse,
        ),
    )
    async with Transport(books.carry_out) as transport:
        yield Desk(
            db=runtime.db,
            clock=runtime.clock,
            numbers=runtime.numbers,
            accounts=Accounts(runtime.db, runtime.seal),
            books=books,
            transport=transport,
            crew=runtime.crew,
            host=settings.public_host,
            port=settings.http_port,
            callback_url=settings.http_url or f"http://{settings.public_host}:{settings.http_port}",
        )


def _report(task: asyncio.Task[Any]) -> None:
    """Log why `task` failed. What it left undone is found by inquiry."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, NotExecuted | Unknown | Rejected):
        log.warning("work_not_done", problem=str(error))
    elif error is not None:
        log.error("work_broke", problem=repr(error), exc_info=error)
