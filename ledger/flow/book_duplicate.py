"""Book a further charge: the payer's money, parked until it is given back."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._orders import book
from ledger.model import Posting
from tongbao.payment.v1 import events_pb2


async def book_duplicate(desk: Desk, event: events_pb2.ChargeDuplicated) -> None:
    """Book what was charged once more, under the number of the attempt that did it, once.

    Raises Refused: FACT_MISSING, BOOK_UNKNOWN.
    """
    posting = Posting(
        template="DUPLICATE_PARKED",
        source_no=event.attempt_no,
        trace_no=event.payment.trace_no,
        business_code=event.payment.business_code,
        currency_code=event.amount.currency_code,
        amount_minor=event.amount.minor_units,
        channel_code=event.channel_code,
    )
    await book(desk, posting)
