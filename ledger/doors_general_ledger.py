"""The door to the general ledger of the company 总账: files out, what became of them in."""

from __future__ import annotations

from decimal import Decimal

from ledger.desk import Desk
from ledger.flow.export_vouchers import export_vouchers
from ledger.flow.list_pushes import list_pushes
from ledger.flow.record_pushes import record_pushes
from ledger.gl.voucher import GlBook
from ledger.store.push import Push, PushState, Told, VoucherKey
from ledger.wire import day_of
from mesh.clock import to_timestamp
from mesh.context import acting
from mesh.door import Context
from mesh.lists import Page
from mesh.money import known
from mesh.replays import mark
from mesh.wire import fingerprint, malformed
from tongbao.ledger.v1 import general_ledger_service_pb2 as pb
from tongbao.ledger.v1 import general_ledger_service_pb2_grpc as pb_grpc

_FIRST_BOOK = 1
_DEFAULTS = GlBook()


class GeneralLedgerService(pb_grpc.GeneralLedgerServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ExportVouchers(  # noqa: N802
        self, request: pb.ExportVouchersRequest, context: Context
    ) -> pb.ExportVouchersResponse:
        """Writes the vouchers of a closed day; see the contract."""
        found = await export_vouchers(
            self._desk,
            book_id=request.book_id or _FIRST_BOOK,
            acct_date=day_of(request.acct_date, "acct_date"),
            format_name=_format(request.format),
            general_ledger=_general_ledger(request.general_ledger),
            include_pushed=request.include_pushed,
        )
        return pb.ExportVouchersResponse(
            content=found.content,
            file_name=found.file_name,
            external_keys=found.keys,
            left_out=found.left_out,
        )

    async def RecordPushes(  # noqa: N802
        self, request: pb.RecordPushesRequest, context: Context
    ) -> pb.RecordPushesResponse:
        """Writes down what became of vouchers; see the contract."""
        told = Told(
            state=PushState[pb.PushState.Name(request.state).removeprefix("PUSH_STATE_")],
            voucher_no=request.voucher_no,
            cause=request.cause,
            again=request.again,
            actor=f"op:{acting().caller}",
            request_id=request.request_id,
            fingerprint=fingerprint(request, without=("request_id",)),
        )
        keys = [_key(text) for text in request.external_keys]
        pushes, replayed = await record_pushes(self._desk, keys, told)
        mark(context, replayed=replayed)
        return pb.RecordPushesResponse(pushes=[_push(push) for push in pushes])

    async def ListPushes(  # noqa: N802
        self, request: pb.ListPushesRequest, context: Context
    ) -> pb.ListPushesResponse:
        """Returns vouchers with their states; see the contract."""
        pushes, token = await list_pushes(
            self._desk,
            book_id=request.book_id or _FIRST_BOOK,
            states=[
                PushState[pb.PushState.Name(state).removeprefix("PUSH_STATE_")]
                for state in request.states
            ],
            page=Page.of(request),
        )
        return pb.ListPushesResponse(pushes=[_push(push) for push in pushes], next_page_token=token)


def _format(number: pb.VoucherFormat.ValueType) -> str:
    """Return the name that `ledger.gl` has for a format."""
    name = pb.VoucherFormat.Name(number).removeprefix("VOUCHER_FORMAT_")
    return name.lower().replace("_", "-")


def _general_ledger(message: pb.GeneralLedger) -> GlBook:
    base_currency = message.base_currency or _DEFAULTS.base_currency
    if not known(base_currency):
        field = "general_ledger.base_currency"
        raise malformed(field, rule="currency", description="must be an ISO 4217 currency")
    return GlBook(
        base_currency=base_currency,
        rates={code: Decimal(rate) for code, rate in message.rates.items()},
        word=message.word or _DEFAULTS.word,
        word_no=message.word_no or _DEFAULTS.word_no,
        account_book=message.account_book or _DEFAULTS.account_book,
        organisation=message.organisation or _DEFAULTS.organisation,
        prepared_by=message.prepared_by or _DEFAULTS.prepared_by,
    )


def _key(text: str) -> VoucherKey:
    """Return the key that `text` spells. Raises Refused(INVALID_FIELDS) for no such date."""
    book, day, code, currency_code = text.split("-")
    return VoucherKey(
        book_id=int(book),
        acct_date=day_of(f"{day[:4]}-{day[4:6]}-{day[6:]}", "external_keys"),
        template_code=int(code),
        currency_code=currency_code,
    )


def _push(push: Push) -> pb.Push:
    return pb.Push(
        external_key=str(push.key),
        state=pb.PushState.Value(f"PUSH_STATE_{push.state.name}"),
        pushes=push.pushes,
        voucher_no=push.voucher_no,
        cause=push.cause,
        actor=push.actor,
        update_time=to_timestamp(push.update_time) if push.update_time else None,
    )
