"""Close a day that was cut: write down its balances, once they are proved."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

from ledger.desk import Desk
from ledger.flow._days import date_of_book, demand_closed
from ledger.flow.read_suspense import read_suspense
from ledger.model import refuse
from ledger.store import day as store
from tongbao.ledger.v1 import reasons_pb2 as reasons

_STEP_ENTRIES = 50_000  # About a second.
_BUSY_SECONDS = 0.05


async def close_day(desk: Desk, *, book_id: int, acct_date: date) -> store.Day:
    """Close a day of a book; return it. One that is closed stays as it is.

    Nothing is written unless debits are credits and every account's opening and turnover come
    to the balance that posting saw.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND, DAY_NOT_CUT, DAY_NOT_CLOSED
    for an earlier day, DAY_UNBALANCED.
    """
    await date_of_book(desk, book_id)
    day = await _day(desk, book_id, acct_date)
    if day.state is store.DayState.OPEN:
        raise refuse(reasons.REASON_DAY_NOT_CUT, book_id=book_id, acct_date=acct_date)
    if day.state is store.DayState.CLOSED:
        return day
    await demand_closed(desk, book_id=book_id, last=acct_date - timedelta(days=1))
    await read_suspense(desk, book_id)
    step = await _step(desk, book_id, acct_date)
    while step.state in (store.StepState.MORE, store.StepState.BUSY):
        if step.state is store.StepState.BUSY:
            await asyncio.sleep(_BUSY_SECONDS)
        step = await _step(desk, book_id, acct_date)
    if step.state is store.StepState.UNBALANCED:
        raise refuse(
            reasons.REASON_DAY_UNBALANCED,
            book_id=book_id,
            acct_date=acct_date,
            problem=step.problem,
        )
    return await _day(desk, book_id, acct_date)


async def _step(desk: Desk, book_id: int, acct_date: date) -> store.Step:
    return await store.close_step(desk.db, book_id=book_id, acct_date=acct_date, most=_STEP_ENTRIES)


async def _day(desk: Desk, book_id: int, acct_date: date) -> store.Day:
    day = await store.find_day(desk.db, book_id=book_id, acct_date=acct_date)
    if day is None:
        raise refuse(reasons.REASON_DAY_NOT_FOUND, book_id=book_id, acct_date=acct_date)
    return day
