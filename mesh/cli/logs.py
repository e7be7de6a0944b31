"""`tongbao logs`: what a process wrote, and what it goes on to write."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mesh.cli.output import AsJson, Home
from mesh.config import ConfigError, load

LINES = 50
_POLL_S = 0.2
_FIRST = ("time", "level", "event", "service", "name")


def logs(
    name: str = "supervisor",
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False,
    lines: Annotated[int, Parameter(name=["--lines", "-n"])] = LINES,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show the last log lines of a process, and with -f what it goes on to write.

    Works when nothing runs, too. Examples: `tongbao logs trade`, `tongbao logs payment -f`,
    `tongbao logs channel -n 1000 --json | jq 'select(.trace_no == "MALL-o1")'`. Exit codes: 0
    shown; 2 there is no log of that name, and stderr lists those there are; 130 Ctrl-C.

    Parameters
    ----------
    name
        A service, `postgres`, `nats`, `sim`, `edge`, `migrate`, or `supervisor`, which notes
        every start and end.
    follow
        Go on until Ctrl-C, through restarts and through a new file.
    lines
        How many lines from the end.
    home
        Whose logs. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON object a line; what was no JSON is its `text`.
    """
    folder = load(home=home).home / "logs"
    file = folder / f"{name}.log"
    if "/" in name or not file.is_file():
        there = ", ".join(sorted(one.stem for one in folder.glob("*.log"))) or "none yet"
        raise ConfigError(f"name: there is no log of {name}; there are: {there}")
    if lines < 0:
        raise ConfigError(f"--lines: must not be negative (got {lines})")
    with file.open(errors="replace") as opened:
        for line in deque(opened, maxlen=lines):
            _write(line, as_json=as_json)
        at = opened.tell()
    if follow:
        for line in _following(file, at):
            _write(line, as_json=as_json)
    return 0


def _following(file: Path, at: int) -> Iterator[str]:
    """Yield whole lines as they are written, from byte `at`; a new file from its beginning."""
    opened, half = file.open(errors="replace"), ""
    opened.seek(at)
    while True:
        half += opened.read()
        *whole, half = half.split("\n")
        yield from whole
        if not whole:
            time.sleep(_POLL_S)
            if file.exists() and not file.samefile(f"/proc/self/fd/{opened.fileno()}"):
                opened.close()
                opened = file.open(errors="replace")


def _write(line: str, *, as_json: bool) -> None:
    text = line.rstrip("\n")
    facts = _facts(text)
    if as_json:
        text = json.dumps(facts if facts is not None else {"text": text}, ensure_ascii=False)
    elif facts is not None:
        text = _spoken(facts)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _facts(text: str) -> dict[str, Any] | None:
    """Return what a line of JSON says; None for a line of text."""
    try:
        facts = json.loads(text)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None


def _spoken(facts: dict[str, Any]) -> str:
    """Return a line for people: when, how bad, what, and then the rest."""
    head = [str(facts[key])[:23] if key == "time" else str(facts[key])
            for key in _FIRST if key in facts]  # fmt: skip
    rest = [f"{key}={value}" for key, value in facts.items()
            if key not in _FIRST and key != "exception"]  # fmt: skip
    trace = f"\n{facts['exception']}" if "exception" in facts else ""
    return "  ".join([*head, *rest]) + trace
