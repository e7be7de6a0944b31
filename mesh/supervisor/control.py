"""How other commands speak to a running supervisor: one request, then what happens, by line.

The socket lies in the private directory of the services' sockets: who may connect may
already signal every process. A request is `{"verb": …, …}`; answers are `{"event": …}` while
it goes on, at last `{"done": …}`, or `{"error": …, "why": …, "next": …}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh.embedded.places import StartError

SOCKET = "supervisor.sock"
_ANSWER_S = 600.0

Say = Callable[[dict[str, Any]], None]
Verb = Callable[[dict[str, Any], Say], Awaitable[dict[str, Any]]]


class Control:
    """Answers requests on `socket_dir`/supervisor.sock. What a request began goes on to its
    end when whoever asked has left."""

    def __init__(self, socket_dir: Path, verbs: Mapping[str, Verb]) -> None:
        self._path, self._verbs = socket_dir / SOCKET, verbs
        self._server: asyncio.Server | None = None
        self._works: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, self._path)

    async def stop(self) -> None:
        """Listen no more; cut off what is going on, and return when it has ended."""
        if self._server is not None:
            self._server.close()
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: dict[str, Any]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(line).encode() + b"\n")

        try:
            request = json.loads(await reader.readline())
            verb = self._verbs[request["verb"]]
        except (ValueError, KeyError, TypeError, OSError):
            say(_told(StartError("not understood", why="no such request", next_step="Upgrade")))
        else:
            work = asyncio.create_task(_carry_out(verb, request, say))
            self._works.add(work)
            work.add_done_callback(self._works.discard)
            await asyncio.wait([work])
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()


async def _carry_out(verb: Verb, request: dict[str, Any], say: Say) -> None:
    try:
        say({"done": await verb(request, say)})
    except StartError as error:
        say(_told(error))
    except asyncio.CancelledError:
        say(_told(StartError("cut off", why="everything stops", next_step="Look: tongbao status")))
        raise


def _told(error: StartError) -> dict[str, Any]:
    return {"error": error.what, "why": error.why, "next": error.next_step}


async def ask(socket_dir: Path, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield what happens until `{"done": …}`. Raises StartError: what the supervisor said, or
    that there is none."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket_dir / SOCKET)
    except OSError as error:
        raise StartError(
            "the supervisor does not answer",
            why=str(error),
            next_step="Run `tongbao up`, or name another home by --home",
        ) from None
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_S):
            async for line in reader:
                told = json.loads(line)
                if "error" in told:
                    raise StartError(told["error"], why=told["why"], next_step=told["next"])
                yield told
                if "done" in told:
                    return
    finally:
        writer.close()
    raise StartError("the supervisor left", why="it ended", next_step="Look: `tongbao status`")
