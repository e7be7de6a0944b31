"""The rules, one file per family; `checker.rules.ALL` has them in the order of the report."""

from __future__ import annotations

from checker.rules import answers, books, clearing, orders, provider, timers, webhooks

ALL = (
    *books.RULES,
    *orders.RULES,
    *clearing.RULES,
    *provider.RULES,
    *answers.RULES,
    *webhooks.RULES,
    *timers.RULES,
)
