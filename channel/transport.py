"""Carries an adapter's calls out and decides what a network fault means.

The one question that matters for money: may the provider have the request? Until a
connection was ours nothing was sent: UNREACHED, certainly not done. From then on bytes may
have left: LOST, whatever the error says. A kept-alive connection that the provider closes
under a request is LOST too.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from channel.adapters.outcomes import unknown
from channel.adapters.spi import (
    BODY_BYTES_MAX,
    Account,
    Blame,
    HttpCall,
    HttpReply,
    LocalCall,
    Operation,
    Outcome,
    PostingOutcome,
    Result,
    Retry,
    Stamp,
    Step,
    Unreadable,
    Untrusted,
)
from mesh.batch import NotExecuted, Unknown
from mesh.clock import real_seconds
from mesh.context import remaining

CALL_SECONDS = 5
CONNECT_SECONDS = 1  # The wait for a free connection included.
KEEPALIVE_SECONDS = 4  # Less than providers keep theirs, so that they rarely close one on us.
CONNECTIONS_MAX = 256  # To one account.

UNREACHED = "UNREACHED"
LOST = "LOST"
BAD_SIGNATURE = "BAD_SIGNATURE"
UNREADABLE = "UNREADABLE"

Post = Callable[[LocalCall], Awaitable[PostingOutcome]]


@dataclass(slots=True)
class _Phase:
    """How far one request got."""

    is_connected: bool = False


class Transport:
    """Runs adapters' steps over one HTTP session per account, and over the ledger.

    `post` books a LocalCall with the ledger. It raises NotExecuted when the ledger
    certainly did not get it and Unknown when there was no answer.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def run(
        self,
        begin: Callable[[Stamp], Step],
        *,
        account: Account,
        operation: Operation,
        sent_before: bool,
    ) -> Result:
        """Return what came of an operation, e.g. `partial(adapter.pay, account, request)`.

        `sent_before` says that an earlier call under this number may have reached the
        provider: then not reaching it now proves nothing, and the result is UNKNOWN.
        A call takes CALL_SECONDS at most, less when the deadline in hand is nearer.
        """
        steps = begin(Stamp(real_seconds(), secrets.token_hex(16)))
        try:
            call = next(steps)
            while True:
                answer = await self._answer(call, account)
                sent_before = True
                call = steps.send(answer)
        except StopIteration as done:
            result: Result = done.value
            return result
        except NotExecuted as error:
            return _unreached(operation, str(error), sent_before=sent_before)
        except Unknown as error:
            return unknown(operation, blame=Blame.NETWORK, code=LOST, message=str(error))
        except Untrusted as error:
            return unknown(operation, blame=Blame.CHANNEL, code=BAD_SIGNATURE, message=str(error))
        except Unreadable as error:
            return unknown(operation, blame=Blame.CHANNEL, code=UNREADABLE, message=str(error))
        finally:
            steps.close()

    async def _answer(
        self, call: HttpCall | LocalCall, account: Account
    ) -> HttpReply | PostingOutcome:
        if isinstance(call, LocalCall):
            return await self._post(call)
        return await self._send(call, account)

    async def _send(self, call: HttpCall, account: Account) -> HttpReply:
        """Return the reply. Raises NotExecuted, Unknown, Unreadable."""
        left = remaining()
        seconds = CALL_SECONDS if left is None else min(CALL_SECONDS, left)
        if seconds <= 0:
            raise NotExecuted("the deadline has passed")
        phase = _Phase()
        try:
            async with self._session(account).request(
                call.method,
                call.url,
                headers=call.headers,
                data=call.body or None,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS),
                allow_redirects=False,
                trace_request_ctx=phase,
            ) as reply:
                body = await _body(reply)
                headers = {name.lower(): value for name, value in reply.headers.items()}
                return HttpReply(status=reply.status, headers=headers, body=body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            kind = Unknown if phase.is_connected else NotExecuted
            raise kind(f"{type(error).__name__}: {error}") from error

    def _session(self, account: Account) -> aiohttp.ClientSession:
        session = self._sessions.get(account.channel_code)
        if session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_note_connected)
            trace.on_connection_reuseconn.append(_note_connected)
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, keepalive_timeout=KEEPALIVE_SECONDS
                ),
                # Signatures are over bytes as they travel, and a small body stays small.
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )
            self._sessions[account.channel_code] = session
        return session


async def _note_connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.is_connected = True


async def _body(reply: aiohttp.ClientResponse) -> bytes:
    """Return the whole body. Raises Unreadable when it is too long."""
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Unreadable(f"more than {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _unreached(operation: Operation, message: str, *, sent_before: bool) -> Result:
    """Return what it means that this call was certainly not sent."""
    if sent_before or not operation.moves_money:
        return unknown(operation, blame=Blame.NETWORK, code=UNREACHED, message=message)
    # A refund has to go where the charge was made; a charge may go anywhere.
    retry = Retry.ELSEWHERE if operation is Operation.PAY else Retry.SAME
    return Result(
        outcome=Outcome.FAILED,
        retry=retry,
        blame=Blame.NETWORK,
        code=UNREACHED,
        message=message,
    )
