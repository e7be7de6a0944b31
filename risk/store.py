"""Every SQL statement of this service, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.db import Database, Row, Statement
from mesh.sql import Outcome
from risk.model import Cause, Decision, Entry, Evaluation, Verdict
from risk.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of an evaluation, and the decision that its payment number stands for.

    `is_idle` says that this decision reserved nothing and never will.
    """

    outcome: Outcome
    decision: Decision
    is_idle: bool


async def decide(db: Database, evaluation: Evaluation) -> Kept:
    """Decide, reserve and write the decision, unless the payment has one: then return that.

    Raises Rejected, nothing having happened, when a twin decided at the same moment.
    """
    return await db.ask(_DECIDE, evaluation)


async def end_reservation(
    db: Database, *, app_id: str, payment_no: str, state: State, resolved: bool
) -> bool:
    """Move the decision from RESERVED to `state`; False when it does not move.

    With `resolved`, when a person has decided about a payment under review, it moves there
    from the other end too. RELEASED gives the amount back to the limit it came from, and
    CONFIRMED takes it again from there, in the same statement; money that has moved may
    exceed a limit.
    """
    end = _End(app_id=app_id, payment_no=payment_no, state=state, resolved=resolved)
    return await db.ask(_END_RESERVATION, end)


async def put_limit(db: Database, *, app_id: str, currency_code: str, daily_minor: int) -> None:
    """Write the limit, whatever it was before."""
    await db.rows(_PUT_LIMIT, app_id=app_id, currency_code=currency_code, daily_minor=daily_minor)


async def put_deny_entry(
    db: Database, *, app_id: str, user_no: str, cause: str, lifted: bool
) -> None:
    """Write the entry, whatever it was before."""
    await db.rows(_PUT_DENY_ENTRY, app_id=app_id, user_no=user_no, cause=cause, lifted=lifted)


async def list_decisions(db: Database, *, app_id: str, trace_no: str) -> list[Entry]:
    """Return the decisions of a trace, oldest first."""
    rows = await db.rows(_LIST_DECISIONS, app_id=app_id, trace_no=trace_no)
    return [_entry(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    app_id: str
    payment_no: str
    state: State
    resolved: bool


def _keys_of(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Two payments of one user take from one row, so they are decided one after the other."""
    keys: list[tuple[str, ...]] = [("payment", evaluation.payment_no)]
    if evaluation.user_no:
        user = (evaluation.app_id, evaluation.user_no, evaluation.currency_code)
        keys.append(("user", *user))
    return keys


def _kept(row: Row) -> Kept:
    decision = Decision(verdict=Verdict(row.decision), cause=Cause(row.cause))
    return Kept(outcome=Outcome(row.outcome), decision=decision, is_idle=row.state == State.NONE)


def _entry(row: Row) -> Entry:
    return Entry(
        payment_no=row.payment_no,
        verdict=Verdict(row.decision),
        cause=Cause(row.cause),
        state=State(row.state),
        currency_code=row.currency_code,
        amount_minor=row.amount_minor,
        business_date=row.business_date,
        create_time=row.create_time,
        update_time=row.update_time,
    )


_USER_DAY = "app_id, user_no, currency_code, business_date"

# `reserved` takes the amount only where it fits, on the row as it is when we hold its lock, so
# no number of replicas exceeds a limit. `written` has no ON CONFLICT on purpose: when a twin
# wrote the decision while we waited, what we reserved must be undone too, and the broken key
# undoes the whole statement. Whoever gets that error asks again and sees the twin's decision.
# The sort in `written` makes `reserved` finish first: all limits are locked before any key.
_DECIDE: Statement[Evaluation, Kept] = Statement(
    name="decide",
    columns={
        "payment_no": "text",
        "app_id": "text",
        "trace_no": "text",
        "user_no": "text",
        "currency_code": "text",
        "amount_minor": "bigint",
        "business_date": "date",
        "fingerprint": "bytea",
    },
    keys_of=_keys_of,
    result=_kept,
    sql=f"""
    WITH i AS ({{input}}),
    seen AS MATERIALIZED (
        SELECT i.ord, d.decision, d.cause,
               (d.app_id, d.fingerprint) = (i.app_id, i.fingerprint) AS same
        FROM i JOIN decision d USING (payment_no)
    ),
    fresh AS MATERIALIZED (
        SELECT i.ord, i.amount_minor, i.app_id, i.user_no, i.currency_code, i.business_date,
               e.user_no IS NOT NULL AS denied, l.daily_minor
        FROM i
        LEFT JOIN deny_entry e ON (e.app_id, e.user_no) = (i.app_id, i.user_no) AND NOT e.lifted
        LEFT JOIN user_limit l
            ON (l.app_id, l.currency_code) = (i.app_id, i.currency_code) AND i.user_no <> ''
        WHERE NOT EXISTS (SELECT FROM seen WHERE seen.ord = i.ord)
    ),
    reserved AS (
        INSERT INTO limit_use AS u ({_USER_DAY}, used_minor)
        SELECT {_USER_DAY}, amount_minor FROM fresh
        WHERE NOT denied AND amount_minor <= daily_minor ORDER BY {_USER_DAY}
        ON CONFLICT ({_USER_DAY}) DO UPDATE SET used_minor = u.used_minor + excluded.used_minor
        WHERE u.used_minor + excluded.used_minor <= (
            SELECT l.daily_minor FROM user_limit l
            WHERE (l.app_id, l.currency_code) = (excluded.app_id, excluded.currency_code)
        )
        RETURNING app_id, user_no, currency_code
    ),
    judged AS (
        SELECT f.ord, r.user_no IS NOT NULL AS held,
               CASE WHEN f.denied THEN '{Cause.DENY_LIST}'
                    WHEN f.daily_minor IS NOT NULL AND r.user_no IS NULL
                    THEN '{Cause.LIMIT_EXCEEDED}' ELSE '' END AS cause
        FROM fresh f LEFT JOIN reserved r USING (app_id, user_no, currency_code)
    ),
    written AS (
        INSERT INTO decision (payment_no, app_id, trace_no, user_no, currency_code,
            amount_minor, business_date, fingerprint, decision, cause, state)
        SELECT i.payment_no, i.app_id, i.trace_no, i.user_no, i.currency_code,
            i.amount_minor, i.business_date, i.fingerprint,
            CASE j.cause WHEN '' THEN '{Verdict.PASS}' ELSE '{Verdict.BLOCK}' END, j.cause,
            CASE WHEN j.held THEN '{State.RESERVED}' ELSE '{State.NONE}' END
        FROM i JOIN judged j USING (ord) ORDER BY i.payment_no
        RETURNING payment_no, decision, cause, state
    )
    SELECT i.ord, w.state, coalesce(w.decision, s.decision) AS decision,
           coalesce(w.cause, s.cause) AS cause,
           CASE WHEN w.payment_no IS NOT NULL THEN '{Outcome.DONE}'
                WHEN s.same THEN '{Outcome.REPLAY}' ELSE '{Outcome.REUSED}' END AS outcome
    FROM i LEFT JOIN seen s USING (ord) LEFT JOIN written w USING (payment_no)
    """,
)

# Decisions are locked first, then limits, each in the order of their keys. `_DECIDE` locks
# limits only, and keys that nobody else has yet: the two cannot wait for each other.
_END_RESERVATION: Statement[_End, bool] = Statement(
    name="end_reservation",
    columns={"app_id": "text", "payment_no": "text", "state": "text", "resolved": "boolean"},
    keys_of=lambda end: [end.payment_no],
    result=lambda row: bool(row.moved),
    sql=f"""
    WITH i AS ({{input}}),
    held AS MATERIALIZED (
        SELECT i.ord, d.state AS was
        FROM i JOIN decision d ON (d.payment_no, d.app_id) = (i.payment_no, i.app_id)
        WHERE d.state = '{State.RESERVED}'
           OR i.resolved AND d.state NOT IN ('{State.NONE}', i.state)
        ORDER BY d.payment_no FOR NO KEY UPDATE OF d
    ),
    moved AS (
        UPDATE decision d
        SET state = i.state, version = d.version + 1, update_time = business_now()
        FROM i JOIN held USING (ord) WHERE d.payment_no = i.payment_no
        RETURNING i.ord, i.state, held.was, d.app_id, d.user_no, d.currency_code,
                  d.business_date, d.amount_minor
    ),
    freed AS (
        SELECT {_USER_DAY}, sum(CASE state WHEN '{State.RELEASED}' THEN amount_minor
                                    ELSE -amount_minor END)::bigint AS freed_minor
        FROM moved WHERE '{State.RELEASED}' IN (state, was) GROUP BY {_USER_DAY}
    ),
    locked AS MATERIALIZED (
        SELECT {_USER_DAY}, f.freed_minor FROM limit_use u JOIN freed f USING ({_USER_DAY})
        ORDER BY {_USER_DAY} FOR NO KEY UPDATE OF u
    ),
    given_back AS (
        UPDATE limit_use u SET used_minor = u.used_minor - l.freed_minor FROM locked l
        WHERE (u.app_id, u.user_no, u.currency_code, u.business_date)
            = (l.app_id, l.user_no, l.currency_code, l.business_date)
    )
    SELECT i.ord, moved.ord IS NOT NULL AS moved FROM i LEFT JOIN moved USING (ord)
    """,
)

_PUT_LIMIT = """
INSERT INTO user_limit AS l (app_id, currency_code, daily_minor)
VALUES (%(app_id)s, %(currency_code)s, %(daily_minor)s)
ON CONFLICT (app_id, currency_code) DO UPDATE SET daily_minor = excluded.daily_minor,
    version = l.version + 1, update_time = business_now()
"""

_PUT_DENY_ENTRY = """
INSERT INTO deny_entry AS e (app_id, user_no, cause, lifted)
VALUES (%(app_id)s, %(user_no)s, %(cause)s, %(lifted)s)
ON CONFLICT (app_id, user_no) DO UPDATE SET cause = excluded.cause,
    lifted = excluded.lifted, version = e.version + 1, update_time = business_now()
"""

_LIST_DECISIONS = """
SELECT payment_no, decision, cause, state, currency_code, amount_minor, business_date,
       create_time, update_time
FROM decision WHERE trace_no = %(trace_no)s AND app_id = %(app_id)s
ORDER BY create_time, payment_no
"""
