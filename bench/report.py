"""A result for people, and where it is kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesh.cli.output import table
from mesh.clock import real_now

RESULTS = Path("bench") / "results"


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


def text(result: Mapping[str, Any]) -> str:
    """Return a result as tables."""
    run, shares = result["run"], result["cpu_us_per_payment"]
    head = (
        f"{run['what']}, {run['form']}, {run['in_flight']} in flight, "
        f"{run['seconds']:g} s after {run['warm_up']:g} s of warm-up"
    )
    figures = [
        ["payments a second", f"{result['payments_per_s']}"],
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


def save(result: Mapping[str, Any]) -> Path:
    """Write a result to `bench/results` and return the file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    run = result["run"]
    name = f"{real_now():%Y-%m-%d}-{run['what']}-{run['form']}-{run['in_flight']}.json"
    file = RESULTS / name
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return file
