"""List cases: what waits for somebody, and what was resolved."""

from __future__ import annotations

from collections.abc import Sequence

from payment.case import Case
from payment.desk import Desk
from payment.store.case_list import Filter, page_of_cases

PAGE_SIZE = 50


async def list_cases(
    desk: Desk, *, wanted: Filter, page_size: int, after: str
) -> tuple[Sequence[Case], str]:
    """Return a page of the cases that are `wanted`, oldest first, and where the next begins.

    The token is empty when there is nothing more. Cases that open meanwhile come at the end,
    so no page shows one twice.
    """
    size = page_size or PAGE_SIZE
    found = await page_of_cases(
        desk.db, wanted=wanted, after=after, size=size + 1, now=desk.clock.now()
    )
    page = found[:size]
    return page, _token(page[-1]) if len(found) > size else ""


def _token(last: Case) -> str:
    micros = int(last.create_time.timestamp()) * 1_000_000 + last.create_time.microsecond
    return f"{micros}-{last.case_id}"
