"""What all verbs share: their common options, and how they speak."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from unicodedata import east_asian_width

from cyclopts import Parameter

Home = Annotated[Path | None, Parameter(name="--home")]
AsJson = Annotated[bool, Parameter(name="--json", negative=())]


def show(text: str, data: Any, *, as_json: bool) -> None:
    """Write a result to stdout: `text` for people, `data` for programs."""
    sys.stdout.write((json.dumps(data, ensure_ascii=False) if as_json else text) + "\n")
    sys.stdout.flush()


def fail(error: Exception, *, as_json: bool) -> None:
    """Write to stderr what went wrong, why, and what to do next."""
    what = getattr(error, "what", str(error))
    told = {"error": what}
    if why := getattr(error, "why", None):
        told |= {"why": why, "next": error.next_step}  # type: ignore[attr-defined]
    if as_json:
        text = json.dumps(told, ensure_ascii=False)
    else:
        text = "\n".join(f"{key}: {value}" for key, value in told.items())
    sys.stderr.write(text + "\n")


def _width(text: str) -> int:
    """Return how many columns `text` takes: a Chinese character takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def table(rows: list[list[str]]) -> str:
    """Return `rows` as columns, as wide as they must be."""
    widths = [max(_width(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(cell + " " * (width - _width(cell))
                       for cell, width in zip(row, widths, strict=True))
             for row in rows)  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)
