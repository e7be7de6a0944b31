"""Every check in turn. One that breaks is a finding itself and does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import grpc

from mesh.config import Settings, services
from mesh.doctor.contracts import generated, policies
from mesh.doctor.databases import backlogs, schemas, server, shifts
from mesh.doctor.finding import Finding, Scene, failed
from mesh.doctor.history import history
from mesh.doctor.keys import certificates, egress, token_keys
from mesh.doctor.machine import directories, disk, flushes, packages, ports, python
from mesh.doctor.messages import messages
from mesh.doctor.running import books, health
from mesh.supervisor import read_state

Check = Callable[[Scene], Awaitable[Sequence[Finding]]]
SECONDS = 30.0

CHECKS: tuple[Check, ...] = (
    python, packages, directories, disk, flushes, ports,
    certificates, token_keys, egress, policies, generated,
    server, schemas, backlogs, shifts, history, messages, health, books,
)  # fmt: skip


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what each check finds, in order."""
    scene = Scene(settings=settings, services=services(), state=read_state(settings.home))
    for check in CHECKS:
        for finding in await _looked(check, scene):
            yield finding


async def _looked(check: Check, scene: Scene) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(SECONDS):
            return await check(scene)
    except TimeoutError:
        problem = f"no answer in {SECONDS:.0f} s"
    except Exception as error:  # Whatever it trips over is what the reader wants to know.
        problem = _told(error)
    name = check.__name__.replace("_", " ")
    return (failed(name, f"could not be looked at: {problem}", "Look: `tongbao status`"),)


def _told(error: Exception) -> str:
    """Return an error in one line; gRPC's own text has many, of which two words count."""
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return f"{error.code().name} {error.details()}"
    return f"{type(error).__name__}: {error}"
