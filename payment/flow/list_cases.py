"""List cases: what waits for somebody, and what was resolved."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.lists import Page
from payment.case import Case
from payment.desk import Desk
from payment.store.case_list import Filter, page_of_cases


async def list_cases(desk: Desk, *, wanted: Filter, page: Page) -> tuple[Sequence[Case], str]:
    """Return a page of the cases that are `wanted`, oldest first, and where the next begins.

    The token is empty when there is nothing more. Cases that open meanwhile come at the end,
    so no page shows one twice.
    """
    found = await page_of_cases(
        desk.db, wanted=wanted, after=page.after, size=page.size + 1, now=desk.clock.now()
    )
    cases = found[: page.size]
    return cases, page.token(cases[-1].case_id) if len(found) > page.size else ""
