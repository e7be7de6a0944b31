"""The rules, one file per family; `checker.rules.ALL` has them in the order of the report."""

from __future__ import annotations

from checker.rules import (
    acknowledged,
    answers,
    books,
    clearing,
    orders,
    provider,
    timers,
    watched,
    webhooks,
)

ALL = (
    *books.RULES,
    *orders.RULES,
    *clearing.RULES,
    *provider.RULES,
    *answers.RULES,
    *acknowledged.RULES,
    *webhooks.RULES,
    *timers.RULES,
)

# Where the whole history is known, from the first call to the last.
UNDER_FAULTS = (*ALL, *watched.RULES)
