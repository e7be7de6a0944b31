"""Put a rule: what becomes of cases that open from now on."""

from __future__ import annotations

from dataclasses import replace

from payment.case import Rule
from payment.desk import Desk
from payment.store.rule import add_rule, list_rules


async def put_case_rule(desk: Desk, *, rule: Rule) -> Rule:
    """Write `rule` as the next version of its id; return the version that is there then.

    The same content as the present version writes nothing, whoever wrote that.
    """
    while True:
        present = next(
            (one for one in await list_rules(desk.db) if one.rule_id == rule.rule_id), None
        )
        if present is not None:
            same = replace(
                rule,
                version=present.version,
                author=present.author,
                create_time=present.create_time,
            )
            if present == same:
                return present
            rule = replace(rule, version=present.version + 1)
        if await add_rule(desk.db, rule):
            return rule
