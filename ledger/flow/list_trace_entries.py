"""List what the ledger has of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.desk import Desk
from ledger.flow._filed import telling_what_is_missing
from ledger.history.read import FiledEntry, FiledVoucher
from ledger.model import Entry, Voucher
from ledger.store import filed, report
from ledger.wire import entry_to_trace, voucher_to_trace
from tongbao.common.v1 import trace_pb2

# What the clocks of the caller and of the database may differ.
_CLOCKS = timedelta(days=1)


async def list_trace_entries(
    desk: Desk, *, app_id: str, trace_no: str, since: datetime | None = None
) -> list[trace_pb2.TraceEntry]:
    """Return the app's vouchers, each followed by its entries, in the order of booking.

    A trace number does not say when it was made, and what is booked of it may come months later:
    of the closed days that left the database the vouchers of all are asked, or of those since a
    day before `since`. Raises Refused(HISTORY_MISSING).
    """
    stored, last_blocks = await report.trace(desk.db, app_id=app_id, trace_no=trace_no)
    days = await filed.days_up_to(desk.db, last_blocks, since=since and since - _CLOCKS)
    with telling_what_is_missing():
        found = await desk.history.trace(days=days, app_id=app_id, trace_no=trace_no)
    listed = []
    for booked in sorted([*await _booked(desk, found), *stored], key=_place):
        listed.append(voucher_to_trace(booked.voucher))
        listed += [entry_to_trace(entry) for entry in booked.entries]
    return listed


def _place(booked: report.Booked) -> tuple[int, int]:
    return booked.book_id, booked.seq


async def _booked(
    desk: Desk, found: Sequence[tuple[FiledVoucher, Sequence[FiledEntry]]]
) -> list[report.Booked]:
    """Return vouchers that come from files as those that are stored."""
    entries = [entry for _, of_voucher in found for entry in of_voucher]
    ids = {one.debit_id for one in entries} | {one.credit_id for one in entries}
    names = await report.names_of(desk.db, ids) if ids else {}
    return [
        report.Booked(
            book_id=voucher.book_id,
            seq=voucher.seq,
            voucher=Voucher(
                txn=voucher.txn,
                template=voucher.template,
                source_no=voucher.source_no,
                trace_no=voucher.trace_no,
                app_id=voucher.app_id,
                amount_minor=voucher.amount_minor,
                currency_code=voucher.currency_code,
                create_time=voucher.create_time,
            ),
            entries=[
                Entry(
                    id=entry.id,
                    txn=voucher.txn,
                    debit=names[entry.debit_id],
                    credit=names[entry.credit_id],
                    amount_minor=entry.amount,
                    currency_code=voucher.currency_code,
                    create_time=voucher.create_time,
                )
                for entry in of_voucher
            ],
        )
        for voucher, of_voucher in found
    ]
