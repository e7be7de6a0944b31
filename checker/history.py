"""The history of calls as lines of JSON: one when a call is about to be sent, one when it ended.

A torn last line is the crash that the history is kept for; a bad line elsewhere is damage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace

from checker.evidence import Call, Told


class Damaged(Exception):
    """A line of the history cannot be read, or answers what was never sent."""


def sent_line(call: Call) -> str:
    """Return the line that says `call` is about to be sent."""
    facts = asdict(call)
    del facts["answer"]
    return json.dumps({"sent": facts}, ensure_ascii=False)


def answer_line(seq: int, answer: Told) -> str:
    """Return the line that says how the call `seq` ended."""
    return json.dumps({"seq": seq, "answer": asdict(answer)}, ensure_ascii=False)


def read(lines: Iterable[str]) -> list[Call]:
    """Return the calls in the order in which they were sent. Raises Damaged."""
    calls: dict[int, Call] = {}
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break  # Only the last line can lack its end, and nobody acted on it.
        try:
            told = json.loads(line)
            if "sent" in told:
                call = Call(**told["sent"])
                if call.seq in calls:
                    raise Damaged(f"line {number}: call {call.seq} is there twice")
                calls[call.seq] = call
            else:
                seq = told["seq"]
                calls[seq] = replace(calls[seq], answer=Told(**told["answer"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"line {number}: {error!r}") from error
    return list(calls.values())
