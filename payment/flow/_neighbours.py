"""How this service asks its neighbours: with patience that ends, and never guessing."""

from __future__ import annotations

from typing import TypeVar

import structlog

from mesh.batch import NotExecuted, Unknown
from mesh.call import Link
from mesh.context import remaining, within
from mesh.errors import Declined

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# Refusals that say: no channel has heard of this leg, and none will. Any other one may come
# from a leg that was submitted before, and ends nothing.
NEVER_CHARGED = frozenset({"NO_CHANNEL"})

PATIENCE_SECONDS = 15.0  # Less than the lease of a due row, so that its taker can say when next.

log = structlog.get_logger()


async def answer_of(
    link: Link[ItemT, ResultT], item: ItemT, *, number: str, final: frozenset[str] = frozenset()
) -> ResultT | None:
    """Return the neighbour's answer to `item`, which belongs to the order `number`.

    None when nobody knows what became of it, and also for a refusal that is not among the
    reasons in `final`: that is a fault of ours or of a set-up, and it says nothing about the
    order. Raises Declined for a reason in `final`.
    """
    left = remaining()
    try:
        with within(PATIENCE_SECONDS if left is None else min(left, PATIENCE_SECONDS)):
            return await link.ask(item)
    except (NotExecuted, Unknown) as error:
        log.warning("neighbour_silent", method=link.method, number=number, problem=str(error))
    except Declined as error:
        if error.status.reason in final:
            raise
        log.error("neighbour_declined", method=link.method, number=number, problem=str(error))
    return None
