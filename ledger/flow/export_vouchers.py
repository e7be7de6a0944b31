"""Export the vouchers of a closed day in the format of a general ledger 总账."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.flow.list_day_vouchers import DayVoucher, list_day_vouchers
from ledger.gl import FORMATS
from ledger.gl.voucher import GlBook, GlError, GlLine, GlVoucher, based, checked
from ledger.model import refuse
from ledger.store.push import PushState, pushes_of_day
from ledger.store.subject import Subject, list_subjects
from mesh.lists import Page
from tongbao.ledger.v1 import reasons_pb2 as reasons

_VOUCHERS_MAX = 10_000  # Of a day: templates times currencies are far fewer.
_ON_THEIR_WAY = (PushState.PUSHED, PushState.ACCEPTED)
_NO_TEMPLATE = "调拨"  # Transfers that no template made.


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file for a general ledger, the keys of its vouchers, and how many were left out."""

    content: bytes
    file_name: str
    keys: Sequence[str]
    left_out: int


async def export_vouchers(
    desk: Desk,
    *,
    book_id: int,
    acct_date: date,
    format_name: str,
    general_ledger: GlBook,
    include_pushed: bool,
) -> Export:
    """Return the vouchers of a day as a file; unless `include_pushed`, without those that are
    pushed or accepted. Nothing changes by it.

    Raises Refused, in this order: BOOK_NOT_FOUND, DAY_NOT_FOUND, DAY_NOT_CLOSED,
    VOUCHERS_UNFIT with what to do about it.
    """
    page = Page(size=_VOUCHERS_MAX, after="", scope=b"")
    found, _ = await list_day_vouchers(desk, book_id=book_id, acct_date=acct_date, page=page)
    on_their_way = {
        str(push.key)
        for push in await pushes_of_day(desk.db, book_id=book_id, acct_date=acct_date)
        if push.state in _ON_THEIR_WAY
    }
    # One that comes to nothing, such as an entry and its red one, has no line and goes nowhere.
    found = [one for one in found if one.lines]
    chosen = [one for one in found if include_pushed or one.key not in on_their_way]
    subjects = {subject.code: subject for subject in await list_subjects(desk.db)}
    shape = FORMATS[format_name]
    try:
        vouchers = checked([_voucher(one, acct_date, subjects) for one in chosen])
        if shape.in_base:
            vouchers = [one for one in vouchers if based(one, general_ledger)]
        content = shape.render(vouchers, general_ledger)
    except GlError as error:
        raise refuse(
            reasons.REASON_VOUCHERS_UNFIT, format=format_name, problem=str(error)
        ) from error
    return Export(
        content=content,
        file_name=f"tongbao-{book_id}-{acct_date:%Y%m%d}.{shape.suffix}",
        keys=[voucher.key for voucher in vouchers],
        left_out=len(found) - len(chosen),
    )


def _voucher(voucher: DayVoucher, acct_date: date, subjects: Mapping[str, Subject]) -> GlVoucher:
    lines = []
    for line in voucher.lines:
        subject = subjects[line.subject_code]
        lines.append(
            GlLine(
                summary=voucher.summary or _NO_TEMPLATE,
                subject_code=line.gl_code,
                subject_name=subject.name_zh,
                subject_class=subject.kind.value,
                normal=subject.normal,
                debit_minor=line.debit_minor,
                credit_minor=line.credit_minor,
            )
        )
    return GlVoucher(
        key=voucher.key, acct_date=acct_date, currency_code=voucher.currency_code, lines=lines
    )
