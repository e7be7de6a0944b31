"""Reads what a run costs: CPU from /proc, the rest from PostgreSQL and the services' metrics."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.conninfo import make_conninfo

from bench.figures import Counts, Machine, whole_table
from mesh.config import Settings

PROC = Path("/proc")
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
STATS_S = 10.5  # An idle backend keeps its counters for itself as long as 10 s.
IDLE_S = 3.0
_SIZES = re.compile(r'tongbao_statement_rows_(count|sum)\{statement="(\w+)"\} (\S+)')


class Meters:
    """The counters of one running installation, read as an administrator of its database."""

    def __init__(self, admin_dsn: str, pids: Mapping[str, int], metrics: Mapping[str, int]) -> None:
        self._dsn, self._pids, self._metrics = admin_dsn, dict(pids), dict(metrics)

    def cpu(self) -> dict[str, int]:
        """Return the CPU used so far in microseconds, by process; ours is `load`."""
        used = {name: cpu_us(pid, deep=name == "postgres") for name, pid in self._pids.items()}
        return used | {"load": cpu_us(os.getpid())}

    async def counts(self) -> Counts:
        """Return what was counted so far; call it when nothing moves. Takes ten seconds."""
        await asyncio.sleep(STATS_S)
        statements, sizes = await self._statements()
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as admin:
            rows: Counter[str] = Counter()
            for schema, table, count in await (await admin.execute(_ROWS)).fetchall():
                rows[f"{schema}.{whole_table(table)}"] += count
            return Counts(
                commits=await _one(admin, _COMMITS),
                wal_bytes=await _one(admin, _WAL),
                rows=rows,
                statements=statements,
                statement_rows=sizes,
            )

    async def idle_commits(self) -> int:
        """Return the commits of services that wait for work, in the time that `counts` takes."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as admin:
            before = await _one(admin, _COMMITS)
            await asyncio.sleep(IDLE_S)
            return round((await _one(admin, _COMMITS) - before) * STATS_S / IDLE_S)

    async def _statements(self) -> tuple[Counter[str], Counter[str]]:
        """Return how often each statement ran, and with how many rows in all."""
        found: dict[str, Counter[str]] = {"count": Counter(), "sum": Counter()}
        async with aiohttp.ClientSession() as session:
            for service, port in self._metrics.items():
                url = f"http://127.0.0.1:{port}/metrics"
                async with session.get(url, raise_for_status=True) as reply:
                    for what, name, value in _SIZES.findall(await reply.text()):
                        found[what][f"{service}.{name}"] += int(float(value))
        return found["count"], found["sum"]


def cpu_us(pid: int, *, deep: bool = False) -> int:
    """Return the CPU a process has used; `deep` with its children, those that ended too."""
    fields = _stat(pid)
    used = fields[11] + fields[12]
    if deep:
        used += fields[13] + fields[14]
        for folder in PROC.glob("[0-9]*"):
            try:
                child = _stat(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # It ended while we looked.
            if child[1] == pid:
                used += child[11] + child[12]
    return used * _TICK_US


def machine_us() -> Machine:
    """Return what the processors of this machine have done so far."""
    fields = [int(ticks) * _TICK_US for ticks in (PROC / "stat").read_text().split()[1:9]]
    user, nice, system, idle, waiting, interrupts, soft, stolen = fields
    busy = user + nice + system + interrupts + soft
    return Machine(busy_us=busy, stolen_us=stolen, all_us=busy + stolen + idle + waiting)


def admin_dsn(settings: Settings, state: Mapping[str, Any], trade_dsn: str) -> str:
    """Return the administrator's DSN of the database that the services use."""
    if settings.postgres_dsn is not None:
        return make_conninfo(settings.postgres_dsn, dbname="tongbao")
    assert "postgres" in state["pids"], "embedded, and running"
    password = (settings.home / "secrets" / "postgres").read_text().strip()
    return make_conninfo(trade_dsn, user="postgres", password=password)


def _stat(pid: int) -> list[int]:
    """Return the numbers of /proc/<pid>/stat after the name, the first (a letter) as 0."""
    text = (PROC / str(pid) / "stat").read_text()
    return [0, *map(int, text.rpartition(")")[2].split()[1:])]


async def _one(admin: psycopg.AsyncConnection[Any], query: str) -> int:
    row = await (await admin.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
_WAL = "SELECT wal_bytes FROM pg_stat_wal"
_ROWS = """
SELECT schemaname, relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables
"""
