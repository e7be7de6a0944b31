"""What was refused and why, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.desk import Desk
from ledger.model import Posting
from ledger.postings import plan
from ledger.store.refusal import tell_once
from ledger.wire import posting_to_proto
from mesh.context import acting
from mesh.events import pack
from tongbao.ledger.v1 import events_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was refused, and why. Whoever books in its place tells of it."""

    posting: Posting
    reason: str

    def event(self, time: datetime) -> bytes:
        """Return PostingRefused as a batch of its own. Raises Refused as `plan` does."""
        refused = events_pb2.PostingRefused(
            posting=posting_to_proto(self.posting), refusal=self.reason
        )
        return pack(
            refused,
            number=str(plan(self.posting)[0]),
            version=1,
            app_id=acting().app_id,
            trace_no=self.posting.trace_no,
            time=time,
        )


async def tell(desk: Desk, refusal: Refusal) -> None:
    """Have PostingRefused go out, once, for money that stays where it stands.

    Raises Refused: TEMPLATE_UNKNOWN, FACT_MISSING, BOOK_UNKNOWN.
    """
    txn, _ = plan(refusal.posting)
    book_id = await desk.accounts.line(refusal.posting.business_code)
    await tell_once(desk.db, txn, book_id=book_id, event=refusal.event(desk.clock.now()))
