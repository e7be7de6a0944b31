"""The schemas of all services, brought up to date before a program of theirs starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mesh.config import environment
from mesh.embedded.places import StartError, write_private
from mesh.embedded.process import Process
from mesh.supervisor.children import settings_file

MIGRATE_S = 300.0


async def bring_schemas_up(home: Path) -> None:
    """Apply what is missing, in a process of its own: it loads the services' code as it is now.

    Raises StartError with its last words.
    """
    file = settings_file(home, "migrate")
    write_private(file, json.dumps({"home": str(home)}))
    process = Process(
        [sys.executable, "-m", "mesh.cli", "db", "upgrade"],
        log=home / "logs" / "migrate.log",
        env=environment(file),
    )
    try:
        code = await process.wait(within=MIGRATE_S)
    except TimeoutError:
        code = await process.end(grace=1)
    if code != 0:
        lines = process.said().strip().splitlines() or ["it said nothing"]
        said = [line for line in lines if line.startswith("why: ")] or lines
        raise StartError(
            "cannot bring the schemas up to date",
            why=said[-1].removeprefix("why: "),
            next_step=f"Read {home}/logs/migrate.log",
        )
