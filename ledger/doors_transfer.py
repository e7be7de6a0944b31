"""The doors to transfers by number, and to the books they go to."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow.assign_book import assign_book
from ledger.flow.create_book import create_book
from ledger.flow.lookup_transfers import lookup_transfers
from ledger.flow.post_transfers import post_transfers
from ledger.history.read import PLACES
from ledger.store.transfer import FREE, Known
from mesh.clock import to_timestamp
from mesh.door import Context
from tongbao.ledger.v1 import transfer_service_pb2 as pb
from tongbao.ledger.v1 import transfer_service_pb2_grpc as pb_grpc


class TransferService(pb_grpc.TransferServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def PostTransfers(  # noqa: N802
        self, request: pb.PostTransfersRequest, context: Context
    ) -> pb.PostTransfersResponse:
        """Posts transfers; see the contract."""
        posted = await post_transfers(self._desk, request.business_code, request.transfers)
        return pb.PostTransfersResponse(
            block_no=posted.block_no,
            acct_date=posted.acct_date.isoformat(),
            results=posted.results,
        )

    async def LookupTransfers(  # noqa: N802
        self, request: pb.LookupTransfersRequest, context: Context
    ) -> pb.LookupTransfersResponse:
        """Returns what became of transfers; see the contract."""
        rows = await lookup_transfers(self._desk, request.business_code, request.ids)
        return pb.LookupTransfersResponse(results=[_to_result(row) for row in rows])


class BookOpsService(pb_grpc.BookOpsServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateBook(  # noqa: N802
        self, request: pb.CreateBookRequest, context: Context
    ) -> pb.CreateBookResponse:
        """Makes a book; see the contract."""
        return pb.CreateBookResponse(book_id=await create_book(self._desk, request.name))

    async def AssignBook(  # noqa: N802
        self, request: pb.AssignBookRequest, context: Context
    ) -> pb.AssignBookResponse:
        """Says where a business line is kept; see the contract."""
        book_id = await assign_book(self._desk, request.business_code, request.name)
        return pb.AssignBookResponse(book_id=book_id)


def _to_result(known: Known) -> pb.LookupResult:
    if known.entry is None:
        return pb.LookupResult(failure=known.failure)
    entry = known.entry
    assert known.acct_date is not None, "it has a block"
    assert known.create_time is not None, "it has a block"
    return pb.LookupResult(
        transfer=pb.PostedTransfer(
            transfer=pb.Transfer(
                id=entry.id.bytes,
                debit_account_id=entry.debit_id,
                credit_account_id=entry.credit_id,
                amount_minor=entry.amount,
                code=entry.code,
                flags=entry.flags & ~FREE,
                ref=entry.ref.bytes if entry.ref else b"",
                txn=entry.txn.bytes if entry.txn else b"",
            ),
            block_no=entry.block_no,
            place=entry.seq % PLACES,
            acct_date=known.acct_date.isoformat(),
            debit_balance_minor=entry.debit_after,
            credit_balance_minor=entry.credit_after,
            create_time=to_timestamp(known.create_time),
        )
    )
