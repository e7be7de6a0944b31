"""The history of a run under faults: JSON lines with monotonic times, in one file.

Each line has `t_ns`, `process` and `type`: `invoke`, then for the same `i` one of `ok`,
`fail` (certainly refused) or `info` (nobody knows); or `start` and `stop` of a fault.
An `invoke` says what it is: a `call` that changes something, a `read`, a `look` at the books
or an `intrusion`. What was seen of trades and refunds is in `sights` of any `ok`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from checker.evidence import Call, Intrusion, Sight, Snapshot, Told
from checker.history import Damaged

INVOKE, OK, FAIL, INFO, START, STOP = "invoke", "ok", "fail", "info", "start", "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A whole history. `faults` counts by kind what was begun and hit something."""

    calls: list[Call] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    intrusions: list[Intrusion] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)


def call_facts(call: Call) -> dict[str, Any]:
    """Return what an `invoke` line says of a call under `call`."""
    facts = asdict(call)
    del facts["answer"], facts["seq"]
    return facts


def read(lines: Iterable[str]) -> Timed:
    """Return what the lines say. Raises Damaged."""
    timed, begun = Timed(), dict[int, dict[str, Any]]()
    calls, intrusions = dict[int, Call](), dict[int, Intrusion]()
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            match told["type"]:
                case "invoke":
                    _invoked(told, begun, calls, intrusions)
                case "ok" | "fail" | "info":
                    _ended(told, begun[told["i"]], timed, calls, intrusions)
                case "stop" if told["hit"]:
                    timed.faults[told["f"]] = timed.faults.get(told["f"], 0) + 1
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"line {number}: {error!r}") from error
    timed.calls.extend(calls.values())
    timed.intrusions.extend(intrusions.values())
    return timed


def _invoked(
    told: Mapping[str, Any],
    begun: dict[int, dict[str, Any]],
    calls: dict[int, Call],
    intrusions: dict[int, Intrusion],
) -> None:
    seq = told["i"]
    if seq in begun:
        raise Damaged(f"call {seq} is there twice")
    begun[seq] = dict(told)
    if "call" in told:
        calls[seq] = Call(seq=seq, **told["call"])
    if "intrusion" in told:
        intrusions[seq] = Intrusion(verb=told["f"], **told["intrusion"])


def _ended(
    told: Mapping[str, Any],
    invoked: Mapping[str, Any],
    timed: Timed,
    calls: dict[int, Call],
    intrusions: dict[int, Intrusion],
) -> None:
    seq, answer = told["i"], told.get("told", {})
    if seq in calls:
        calls[seq] = replace(calls[seq], answer=Told(**answer))
    if seq in intrusions:
        code, reason = answer["code"], answer.get("reason", "")
        intrusions[seq] = replace(intrusions[seq], code=code, reason=reason)
    times = {"asked_ns": invoked["t_ns"], "told_ns": told["t_ns"]}
    timed.sights.extend(Sight(**sight, **times) for sight in told.get("sights", ()))
    if "gap_minor" in told:
        timed.snapshots.append(Snapshot(told_ns=told["t_ns"], gap_minor=told["gap_minor"]))
