"""What the ledger does unasked: books what payment says, lets holds go, turns days."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

import structlog
from google.protobuf.message import Message

from ledger.desk import Desk
from ledger.flow.book_duplicate import book_duplicate
from ledger.flow.book_give_back import book_give_back
from ledger.flow.book_payment import book_payment
from ledger.flow.book_refund_failed import book_refund_failed
from ledger.flow.book_refund_review import book_refund_review
from ledger.flow.book_refund_succeeded import book_refund_succeeded
from ledger.flow.book_review import book_review
from ledger.flow.drop_partitions import drop_partitions
from ledger.flow.expire_holds import expire_holds
from ledger.flow.keep_checkpoint import keep_checkpoint
from ledger.flow.keep_history import keep_history
from ledger.flow.read_suspense import read_suspense
from ledger.flow.turn_days import Turned, turn_days
from ledger.history.files import HistoryError
from ledger.history.write import NotWritten
from ledger.store import history, proof
from ledger.store.transfer import TRANSFERS_MAX
from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.duty import unbroken
from mesh.embedded.places import StartError
from mesh.errors import Refused
from mesh.inbox import Handler
from mesh.telemetry import BOOK_TAMPERED, HISTORY_OVERDUE
from tongbao.ledger.v1 import reasons_pb2 as reasons
from tongbao.payment.v1 import events_pb2 as payment


def _patient(handler: Handler[Desk]) -> Handler[Desk]:
    """Return a handler that waits for a file of the history that has to be put back.

    Whether an old order is booked is said there. So the event is not executed, and comes again
    until it can be: it is not poison, and its money must not be lost sight of.
    """

    async def handle(desk: Desk, event: Any) -> None:
        try:
            await handler(desk, event)
        except Refused as error:
            if error.reason != _MISSING:
                raise
            raise NotExecuted(f"{error}: restore the file from its copy") from error

    return handle


_MISSING = reasons.Reason.Name(reasons.REASON_HISTORY_MISSING).removeprefix("REASON_")

# An event's effect is keyed by the ids that follow from its number and template. Versions are
# of no interest: whichever event of a payment comes first, what it says is booked once.
_FROM_PAYMENT: Mapping[type[Message], Handler[Desk]] = {
    payment.PaymentSucceeded: lambda desk, event: book_payment(desk, event.payment),
    payment.PaymentReviewed: lambda desk, event: book_review(desk, event.payment),
    payment.RefundSucceeded: lambda desk, event: book_refund_succeeded(desk, event.refund),
    payment.RefundFailed: lambda desk, event: book_refund_failed(desk, event.refund),
    payment.RefundReviewed: lambda desk, event: book_refund_review(desk, event.refund),
    payment.ChargeDuplicated: book_duplicate,
    payment.GiveBackSucceeded: lambda desk, event: book_give_back(desk, event.give_back),
    payment.GiveBackFailed: lambda desk, event: book_give_back(desk, event.give_back),
    payment.GiveBackReviewed: lambda desk, event: book_give_back(desk, event.give_back),
}
EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {kind: _patient(handler) for kind, handler in _FROM_PAYMENT.items()}
}

EXPIRY_SECONDS = 0.5
DAY_SECONDS = 2.0
DAY_STUCK_SECONDS = 60.0  # After a day that did not close: it is said again, not all the time.
HISTORY_SECONDS = 300.0
SUSPENSE_SECONDS = 5.0
CHECKPOINT_SECONDS = 5.0
CHECKPOINT_STUCK_SECONDS = 60.0

log = structlog.get_logger()


async def let_holds_go(desk: Desk) -> None:
    """Expire holds whose time is over, until cancelled."""
    while True:
        ended = 0
        try:
            with unbroken():
                ended = await expire_holds(desk)
        except (NotExecuted, Undone, Unknown, Rejected) as error:
            log.error("holds_not_expired", problem=str(error))
        if ended < TRANSFERS_MAX:
            await asyncio.sleep(EXPIRY_SECONDS)


async def keep_days(desk: Desk) -> None:
    """Cut days that are over and close those that are cut, until cancelled; tell how they stood."""
    while True:
        stuck = False
        try:
            for day in await turn_days(desk):
                stuck |= not _closed_well(day)
        except (NotExecuted, Undone, Unknown, Rejected, Refused) as error:
            log.error("days_not_turned", problem=str(error))
        await asyncio.sleep(DAY_STUCK_SECONDS if stuck else DAY_SECONDS)


async def keep_old_days(desk: Desk) -> None:
    """Write days that are old enough to files, and drop partitions, until cancelled; tell for
    how long a day has waited for that."""
    while True:
        try:
            await tell_overdue(desk)
            while day := await keep_history(desk):
                log.info(
                    "day_written",
                    book_id=day.book_id,
                    acct_date=day.acct_date.isoformat(),
                    transfers=day.transfers,
                    vouchers=day.vouchers,
                    bytes=day.bytes,
                )
                await tell_overdue(desk)
            while monday := await drop_partitions(desk):
                log.info("partition_dropped", week=monday.isoformat())
        except (NotExecuted, Undone, Unknown, Rejected) as error:
            log.warning("history_waits", problem=str(error))
        except (HistoryError, NotWritten, OSError, StartError) as error:
            log.error("history_not_kept", problem=str(error))
        await asyncio.sleep(HISTORY_SECONDS)


async def tell_overdue(desk: Desk) -> None:
    """Set the gauge of each book: for how long its next day has been due for files, 0 for none.

    Raises NotExecuted, Undone, Unknown, Rejected.
    """
    now = desk.clock.local()
    kept = timedelta(days=desk.keep_entry_days)
    due = await history.due(desk.db, until=now.date() - kept)
    days = {one.book_id: one.acct_date for one in due}
    for book_id in await proof.books(desk.db):
        seconds = 0.0
        if book_id in days:
            begin = datetime.combine(days[book_id] + kept, time(), tzinfo=now.tzinfo)
            seconds = (now - begin).total_seconds()
        HISTORY_OVERDUE.labels(str(book_id)).set(seconds)


async def keep_suspense(desk: Desk) -> None:
    """Read what is parked in doubt, until cancelled, so that little is left for who looks."""
    while True:
        try:
            for book_id in await proof.books(desk.db):
                await read_suspense(desk, book_id)
        except (NotExecuted, Undone, Unknown, Rejected) as error:
            log.error("suspense_not_read", problem=str(error))
        await asyncio.sleep(SUSPENSE_SECONDS)


async def keep_checkpoints(desk: Desk) -> None:
    """Write down how far books are, until cancelled; tell of a book that was cut or rewritten."""
    while True:
        stuck = False
        try:
            problems = {one.book_id: one.problem for one in await keep_checkpoint(desk)}
            for book_id in await proof.books(desk.db):
                problem = problems.get(book_id, "")
                BOOK_TAMPERED.labels(str(book_id)).set(bool(problem))
                if problem:
                    stuck = True
                    log.error("book_tampered", book_id=book_id, problem=problem)
        except (NotExecuted, Undone, Unknown, Rejected, OSError, StartError) as error:
            stuck = True
            log.error("checkpoints_not_kept", problem=str(error))
        await asyncio.sleep(CHECKPOINT_STUCK_SECONDS if stuck else CHECKPOINT_SECONDS)


def _closed_well(day: Turned) -> bool:
    """Tell how a day stood; return whether it is closed and balances."""
    told = log.bind(book_id=day.book_id, acct_date=day.acct_date.isoformat())
    if day.balance is None:
        told.error("day_not_closed", problem=day.problem)
        return False
    told.info("day_closed", currencies=len(day.balance.totals))
    for total in day.balance.totals:
        say = told.info if total.balanced else told.error
        say(
            "trial_balance",
            currency=total.currency_code,
            balanced=total.balanced,
            opening_minor=total.opening.debit_minor - total.opening.credit_minor,
            debit_minor=total.turnover.debit_minor,
            credit_minor=total.turnover.credit_minor,
            closing_minor=total.closing.debit_minor - total.closing.credit_minor,
        )
    return all(total.balanced for total in day.balance.totals)
