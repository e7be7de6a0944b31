"""PostgreSQL as the services see it: is it safe, up to date, ahead of time, and not behind?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mesh.batch import NotExecuted, Unknown
from mesh.db import Database
from mesh.doctor.finding import Finding, Scene, failed, passed, unseen, warned
from mesh.migrate import standing
from mesh.standing import Late, standing_of
from mesh.upkeep import horizons

CONNECT_S = 5.0
BACKLOG_ROWS, BACKLOG_S = 1_000, 30
OVERDUE_S = 120
DAYS_LEAST = 31
MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")

_SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)
UNION ALL SELECT 'version', current_setting('server_version')
"""
_SHIFT = "SELECT extract(epoch FROM shift)::bigint AS seconds FROM clock"


async def server(scene: Scene) -> Sequence[Finding]:
    """Whether what PostgreSQL acknowledges survives the loss of power."""
    if (why := await _closed(scene)) is not None:
        return (unseen(scene, "postgres", why),)
    [(_, rows)] = await _each(scene, _settings, services=scene.services[:1])
    on = {row.name: row.setting for row in rows}
    off = [f"{name} is {on.get(name)}" for name in MUST_BE_ON if on.get(name) != "on"]
    if off:
        step = "Set it in postgresql.conf (checksums: pg_checksums --enable on a stopped server)"
        return (failed("postgres", "; ".join(off), step),)
    return (passed("postgres", f"{on['version']}, {', '.join(MUST_BE_ON)} are on"),)


async def schemas(scene: Scene) -> Sequence[Finding]:
    """Whether every schema is at the newest revision and has partitions for what comes."""
    if (why := await _closed(scene)) is not None:
        return (unseen(scene, "schemas", why), unseen(scene, "partitions", why))
    found = []
    for service in scene.services:
        dsn = scene.own(service, "database_dsn")
        assert dsn is not None, "looked at above"
        one = await asyncio.to_thread(standing, dsn, service)
        if one.applied != one.newest:
            seen = f"{service} is at {one.applied or 'nothing'}, the newest is {one.newest}"
            found.append(failed("schemas", seen, "Run `tongbao db upgrade`"))
    if not found:
        found.append(passed("schemas", f"{len(scene.services)} at their newest revision"))
    for service, tables in await _each(scene, horizons):
        found += [_partitions(service, table) for table in tables]
    return found


def _partitions(service: str, table: Any) -> Finding:
    name = f"{service}.{table.name}"
    step = "Run `tongbao db partitions`; the service does so by itself every ten minutes"
    if table.strays:
        return failed("partitions", f"{name}: rows lie in the default partition", step)
    if table.days <= 0:
        return failed("partitions", f"{name}: new rows fall into the default partition", step)
    seen = f"{name}: made for {table.days} days to come"
    if table.days < DAYS_LEAST:
        return warned("partitions", seen, step)
    return passed("partitions", f"{seen} (fewer than {DAYS_LEAST} are too few)")


async def backlogs(scene: Scene) -> Sequence[Finding]:
    """Whether events leave, none was set aside, and what is due is taken."""
    if (why := await _closed(scene)) is not None:
        return tuple(unseen(scene, name, why) for name in ("outbox", "dead letters", "due rows"))
    found, dead, late = [], [], []
    for service, one in await _each(scene, standing_of):
        step = f"Does it run, does NATS answer? `tongbao logs {service}`, `tongbao status`"
        seen = f"{service}: {one.outbox_rows} events to publish, the oldest for"
        seen += f" {one.outbox_seconds} s"
        if one.outbox_seconds > 10 * BACKLOG_S:
            found.append(failed("outbox", seen, step))
        elif one.outbox_rows > BACKLOG_ROWS or one.outbox_seconds > BACKLOG_S:
            found.append(warned("outbox", seen, step))
        else:
            found.append(passed("outbox", seen))
        if one.dead_letters:
            seen = f"{service}: {one.dead_letters} events set aside"
            step = f"Read {service}.dead_letter: each holds the event and what was wrong with it"
            dead.append(warned("dead letters", seen, step))
        late += [_late(service, table) for table in one.late if table.seconds > OVERDUE_S]
    dead = dead or [passed("dead letters", "none")]
    late = late or [passed("due rows", f"none is late by more than {OVERDUE_S} s")]
    return (*found, *dead, *late)


async def shifts(scene: Scene) -> Sequence[Finding]:
    """Whether business time is real time."""
    if (why := await _closed(scene)) is not None:
        return (unseen(scene, "clock", why),)
    seconds = {service: int(row.seconds) for service, row in await _each(scene, _shift)}
    if not any(seconds.values()):
        return (passed("clock", "business time is real time"),)
    if len(set(seconds.values())) > 1:
        step = "`tongbao clock advance 0s` mends it"
        return (failed("clock", f"the services disagree: {seconds}", step),)
    ahead = next(iter(seconds.values()))
    step = "Fine for a demo. It never goes back: begin a new home for real money"
    return (warned("clock", f"business time is {ahead} s ahead of real time", step),)


async def _closed(scene: Scene) -> str | None:
    """Return why the databases cannot be asked; None if they can."""
    if "postgres" not in scene.learnt:
        scene.learnt["postgres"] = await _problem(scene)
    return scene.learnt["postgres"]


async def _problem(scene: Scene) -> str | None:
    if not scene.runs and scene.settings.postgres_dsn is None:
        return "nothing runs"
    dsns = [scene.own(service, "database_dsn") for service in scene.services]
    if None in dsns:
        return f"nothing was ever started in {scene.settings.home}"
    try:
        async with asyncio.timeout(CONNECT_S), Database(str(dsns[0]), connections_max=1) as db:
            await db.rows("SELECT 1")
    except TimeoutError:
        return f"PostgreSQL does not answer within {CONNECT_S:.0f} s"
    except (NotExecuted, Unknown) as error:
        return f"PostgreSQL does not answer: {error}"
    return None


async def _each(
    scene: Scene, ask: Callable[[Database], Awaitable[Any]], services: Sequence[str] = ()
) -> list[tuple[str, Any]]:
    """Return what `ask` says of each service's database."""
    answers = []
    for service in services or scene.services:
        dsn = scene.own(service, "database_dsn")
        assert dsn is not None, "looked at before"
        async with Database(dsn, connections_max=1) as db:
            answer = await ask(db)
        answers.append((service, answer))
    return answers


async def _settings(db: Database) -> Any:
    return await db.rows(_SETTINGS, names=list(MUST_BE_ON))


async def _shift(db: Database) -> Any:
    [row] = await db.rows(_SHIFT)
    return row


def _late(service: str, late: Late) -> Finding:
    seen = f"{service}.{late.table}: {late.rows} rows, the first is {late.seconds} s late"
    return warned("due rows", seen, f"Does it run? `tongbao status`, `tongbao logs {service}`")
