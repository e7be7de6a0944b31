"""List the rules about cases."""

from __future__ import annotations

from collections.abc import Sequence

from payment.case import Rule
from payment.desk import Desk
from payment.store.rule import list_rules


async def list_case_rules(desk: Desk) -> Sequence[Rule]:
    """Return the present version of every rule, by rule id."""
    return await list_rules(desk.db)
