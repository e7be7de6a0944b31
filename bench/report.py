"""A result for people, and where it is kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.chart import chart
from mesh.cli.output import table
from mesh.clock import monotonic, real_now

RESULTS = Path("bench") / "results"
_WRITES = 50


def machine() -> dict[str, Any]:
    """Return what is worth knowing of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpus": os.cpu_count(),
        "cpu": models[0] if models else platform.processor(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30,
        "system": platform.platform(),
        "python": platform.python_version(),
        "grpcio": importlib.metadata.version("grpcio"),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def fdatasync_us(folder: Path) -> int:
    """Return how long a write of 8 kB takes to be on the disk of `folder`: the median of many."""
    file, times = folder / "fdatasync", []
    with file.open("wb", buffering=0) as handle:
        for _ in range(_WRITES):
            began = monotonic()
            handle.write(bytes(8192))
            os.fdatasync(handle.fileno())
            times.append(monotonic() - began)
    file.unlink()
    return round(median(times) * 1_000_000)


async def server_version(admin_dsn: str) -> str:
    """Return which PostgreSQL it is."""
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
        row = await (await admin.execute("SHOW server_version")).fetchone()
        assert row is not None
        return str(row[0])


def text(result: Mapping[str, Any]) -> str:
    """Return a result as tables."""
    run, shares = result["run"], result["cpu_us_per_payment"]
    head = (
        f"{run['what']}, {run['form']}, {run['in_flight']} in flight, "
        f"{run['seconds']:g} s after {run['warm_up']:g} s of warm-up"
    )
    figures = [
        ["payments a second", f"{result['payments_per_s']}" + _spread(result["runs"])],
        ["p50, p99", f"{result['p50_ms']} ms, {result['p99_ms']} ms"],
        ["commits, statements", f"{result['commits_per_payment']}, "
                                f"{result['statements_per_payment']} a payment"],
        ["write-ahead log", f"{result['wal_bytes_per_payment']} bytes a payment"],
        ["paid, booked, cleared", ", ".join(str(result["counted"][name])
                                            for name in ("paid", "booked", "cleared"))],
        ["booked after", f"{result['drain_s']} s"],
        ["not ours", f"{result['not_ours']['other_processes_percent']} % of the processors, "
                     f"{result['not_ours']['stolen_percent']} % by the host"],
        ["errors", json.dumps(result["errors"]) if result["errors"] else "none"],
    ]  # fmt: skip
    for name, value in result["references"].items():
        figures.append([name.replace("_", " "), str(value)])
    cpu = [[name, f"{used} us"] for name, used in shares.items()]
    rows = [[name, str(count)] for name, count in result["rows_per_payment"].items()]
    sizes = [[name, str(size)] for name, size in result["rows_per_statement"].items()]
    parts = [head, table(figures)]
    for title, found in (("CPU a payment", cpu), ("rows written a payment", rows),
                         ("rows a statement", sizes)):  # fmt: skip
        if found:
            parts += ["", title, table(found)]
    return "\n".join([*parts, *(f"WRONG: {what}" for what in result["problems"])])


def _spread(runs: Sequence[float]) -> str:
    """Return how far the runs lie apart, if there were several."""
    return f" (median of {len(runs)}: {min(runs)} to {max(runs)})" if len(runs) > 1 else ""


def levels_text(result: Mapping[str, Any]) -> str:
    """Return the result of several levels as a table."""
    head = ["in flight", "payments/s", "p50 ms", "p99 ms", "CPU us", "commits", "booked after"]
    rows = [
        [
            *(str(level[name]) for name in ("in_flight", "payments_per_s", "p50_ms", "p99_ms")),
            str(level["cpu_us_per_payment"]["sum"]),
            str(level["commits_per_payment"]),
            f"{level['drain_s']} s",
        ]
        for level in result["levels"]
    ]
    parts = [f"{result['run']['what']}, {result['run']['form']}", table([head, *rows])]
    return "\n".join([*parts, *(f"WRONG: {what}" for what in result["problems"])])


def folder_of(what: str, form: str, name: str) -> Path:
    """Return the folder of today's result of this name."""
    return RESULTS / f"{real_now():%Y-%m-%d}-{what}-{form}-{name}"


def save(folder: Path, result: Mapping[str, Any], told: str) -> None:
    """Write a result and what people were told of it; a sweep's picture beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / "result.json").write_text(kept + "\n")
    (folder / "result.txt").write_text(told + "\n")
    if levels := result.get("levels"):
        title = f"{result['run']['what']}, {result['run']['form']}"
        (folder / "levels.svg").write_text(chart(levels, title=title))
