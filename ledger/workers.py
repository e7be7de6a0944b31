"""What the ledger does unasked: books what payment says, and keeps its partitions ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

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
from ledger.store import partition
from mesh.batch import NotExecuted, Rejected, Undone, Unknown
from mesh.inbox import Handler
from tongbao.payment.v1 import events_pb2 as payment

# An event's effect is keyed by the ids that follow from its number and template. Versions are
# of no interest: whichever event of a payment comes first, what it says is booked once.
EVENTS: Mapping[str, Mapping[type[Message], Handler[Desk]]] = {
    "payment": {
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
}

PARTITION_SECONDS = 600

log = structlog.get_logger()


async def keep_partitions(desk: Desk) -> None:
    """Make the partitions of the months to come, until cancelled; tell what lies in none."""
    while True:
        try:
            if stray := await partition.find_stray(desk.db):
                log.error("entry_without_partition", id=str(stray))
            if made := await partition.make(desk.db):
                log.info("partitions_made", count=made)
        except (NotExecuted, Undone, Unknown, Rejected) as error:
            log.error("partitions_not_made", problem=str(error))
        await asyncio.sleep(PARTITION_SECONDS)
