"""Rules about cases: each version written once, the latest of each is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mesh.db import Database, Row
from payment.case import Action, CaseKind, Rule

_COLUMNS = tuple(field.name for field in fields(Rule))


async def list_rules(db: Database) -> Sequence[Rule]:
    """Return the present version of every rule, by rule id."""
    return [_rule(row) for row in await db.rows(_LIST)]


async def add_rule(db: Database, rule: Rule) -> bool:
    """Write this version of the rule; False when it was written by somebody else first."""
    values = {name: getattr(rule, name) for name in _COLUMNS}
    return bool(await db.rows(_ADD, **values))


def _rule(row: Row) -> Rule:
    values: dict[str, Any] = {name: getattr(row, name) for name in _COLUMNS}
    return Rule(**values | {"kind": CaseKind(row.kind), "action": Action(row.action)})


_LIST = f"""
SELECT DISTINCT ON (rule_id) {", ".join(_COLUMNS)} FROM case_rule ORDER BY rule_id, version DESC
"""

_ADD = f"""
INSERT INTO case_rule ({", ".join(_COLUMNS)})
VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)})
ON CONFLICT DO NOTHING RETURNING rule_id
"""
