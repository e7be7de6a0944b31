"""What the figures are compared with: pgbench on the very same server."""

from __future__ import annotations

import asyncio
import re

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mesh.config import Settings
from mesh.embedded.pgfiles import lay_out
from mesh.embedded.places import StartError

SCALE, CLIENTS, SECONDS = 10, 16, 5
DATABASE = "pgbench"
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


async def pgbench(settings: Settings, admin_dsn: str) -> float:
    """Return the transactions a second of pgbench's TPC-B, prepared. Raises StartError.

    It runs in a database of its own, which is gone afterwards.
    """
    program = str(lay_out(settings.home, major=settings.postgres_major).program / "pgbench")
    await _database(admin_dsn, "CREATE DATABASE {} TEMPLATE template0")
    try:
        target = conninfo_to_dict(admin_dsn)
        env = {"LC_ALL": "C", "PGPASSWORD": str(target["password"])}
        place = ["-h", str(target["host"]), "-p", str(target["port"]), "-U", str(target["user"])]
        await _run([program, *place, "-i", "-q", "-s", str(SCALE), DATABASE], env)
        load = ["-c", str(CLIENTS), "-j", "2", "-M", "prepared", "-T", str(SECONDS)]
        said = await _run([program, *place, *load, DATABASE], env)
    finally:
        await _database(admin_dsn, "DROP DATABASE IF EXISTS {} WITH (FORCE)")
    found = _TPS.search(said)
    assert found is not None, said
    return float(found[1])


async def _database(admin_dsn: str, statement: str) -> None:
    dsn = make_conninfo(admin_dsn, dbname="postgres")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as admin:
        await admin.execute(sql.SQL(statement).format(sql.Identifier(DATABASE)))


async def _run(argv: list[str], env: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    text = said.decode(errors="replace")
    if process.returncode != 0:
        raise StartError(
            "pgbench failed",
            why=(text.strip().splitlines() or ["it said nothing"])[-1],
            next_step="Leave the references out by --no-references",
        )
    return text
