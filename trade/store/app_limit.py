"""What an app may ask of one process, when it is not the default."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mesh.db import Database, Statement
from mesh.limits import Limits

_LIMITS = tuple(field.name for field in fields(Limits))


async def find_limits(db: Database, *, app_id: str) -> Limits | None:
    """Return the limits of the app; None when it has none of its own."""
    return await db.ask(_FIND, _Seek(app_id=app_id))


async def put_limits(db: Database, *, app_id: str, limits: Limits) -> bool:
    """Write the limits in the place of those before; False when there is no such app."""
    new = _New(
        app_id=app_id,
        per_second=limits.per_second,
        burst=limits.burst,
        in_flight=limits.in_flight,
        streams=limits.streams,
    )
    return await db.ask(_PUT, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seek:
    app_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _New(Limits):
    app_id: str


_NAMES = ", ".join(_LIMITS)

_FIND: Statement[_Seek, Limits | None] = Statement(
    name="find_limits",
    columns={"app_id": "text"},
    result=lambda row: (
        None if row.burst is None else Limits(**{name: getattr(row, name) for name in _LIMITS})
    ),
    sql=f"""
    WITH i AS ({{input}})
    SELECT i.ord, {_NAMES} FROM i LEFT JOIN app_limit l ON l.app_id = i.app_id
    """,
)

_PUT: Statement[_New, bool] = Statement(
    name="put_limits",
    columns={"app_id": "text"} | dict.fromkeys(_LIMITS, "integer"),
    keys_of=lambda new: [new.app_id],
    result=lambda row: bool(row.made),
    sql=f"""
    WITH i AS ({{input}}),
    made AS (
        INSERT INTO app_limit (app_id, {_NAMES})
        SELECT i.app_id, {_NAMES} FROM i JOIN app USING (app_id) ORDER BY i.app_id
        ON CONFLICT (app_id) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in _LIMITS)},
            update_time = business_now()
        RETURNING app_id
    )
    SELECT i.ord, made.app_id IS NOT NULL AS made FROM i LEFT JOIN made USING (app_id)
    """,
)
