"""Waits until nothing moves any more: every order has ended, every webhook has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Sequence
from time import monotonic

from checker.evidence import Call, Entry
from checker.trace import OPEN
from demo.collect import Collector

WITHIN_S = 75.0
_PAUSE_S = 0.7
_PENDING = frozenset({"PENDING"})


async def drain(
    collector: Collector,
    calls: Iterable[Call],
    *,
    fresh: Container[str],
    within: float = WITHIN_S,
) -> list[str]:
    """Return what is still open after `within` seconds; nothing as soon as all is quiet.

    A trace is quiet when nothing in it waits for its next step and, if it is `fresh`, two
    looks at it show the same: what the last event still causes comes between them.
    """
    give_up = monotonic() + within
    loud: dict[str, Sequence[Entry] | None] = dict.fromkeys(call.trace_no for call in calls)
    while loud:
        traces = await asyncio.gather(*map(collector.trace, loud))
        before, loud = loud, {}
        for trace_no, entries in zip(before, traces, strict=True):
            changed = trace_no in fresh and entries != before[trace_no]
            if changed or waiting(entries):
                loud[trace_no] = entries
        if monotonic() > give_up:
            return [f"{trace_no}: {what}" for trace_no, entries in loud.items()
                    for what in waiting(entries or ())]  # fmt: skip
        if loud:
            await asyncio.sleep(_PAUSE_S)
    return []


def waiting(entries: Sequence[Entry]) -> list[str]:
    """Return what of a trace goes on by itself: open payments, refunds, attempts, webhooks, and
    successes that are not booked yet (the event of a consumer that was killed comes again late).

    A trade that nobody pays and a case that waits for a person do not.
    """
    booked = {
        one.facts["source_no"]
        for one in entries
        if one.kind == "voucher" and not one.facts["template"].endswith("_ASKED")
    }
    return [
        f"{one.service} {one.kind} {one.number} is {one.state}"
        for one in entries
        if (one.state in OPEN and one.kind in ("payment", "refund", "attempt"))
        or (one.kind == "webhook" and one.state in _PENDING)
        or (one.service == "payment" and one.state == "SUCCEEDED" and one.number not in booked)
    ]
