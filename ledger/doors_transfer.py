"""The doors to transfers by number, and to the books they go to."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow.assign_book import assign_book
from ledger.flow.create_book import create_book
from ledger.flow.lookup_transfers import lookup_transfers
from ledger.flow.post_transfers import post_transfers
from ledger.store.transfer import FREE
from mesh.clock import to_timestamp
from mesh.db import Row
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


def _to_result(row: Row) -> pb.LookupResult:
    if row.id is None:
        return pb.LookupResult(failure=row.result)
    return pb.LookupResult(
        transfer=pb.PostedTransfer(
            transfer=pb.Transfer(
                id=row.id.bytes,
                debit_account_id=row.debit_id,
                credit_account_id=row.credit_id,
                amount_minor=row.amount,
                code=row.code,
                flags=row.flags & ~FREE,
                ref=row.ref.bytes if row.ref else b"",
                txn=row.txn.bytes if row.txn else b"",
            ),
            block_no=row.block_no,
            place=row.place,
            acct_date=row.acct_date.isoformat(),
            debit_balance_minor=row.debit_after,
            credit_balance_minor=row.credit_after,
            create_time=to_timestamp(row.create_time),
        )
    )
