"""The gRPC door: check the request, run one flow, answer. What is batched is not seen here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ledger.desk import Desk, opened
from ledger.doors_account import AccountReadService, AccountService
from ledger.doors_accounting import AccountingService
from ledger.doors_general_ledger import GeneralLedgerService
from ledger.doors_transfer import BookOpsService, TransferService
from ledger.flow.forbid import forbid
from ledger.flow.get_balance import get_balance
from ledger.flow.get_trial_balance import get_trial_balance
from ledger.flow.list_block_hashes import list_block_hashes
from ledger.flow.list_trace_entries import list_trace_entries
from ledger.flow.open_account import open_account
from ledger.flow.post import post
from ledger.flow.prove_blocks import prove_blocks
from ledger.flow.prove_book import prove_book
from ledger.model import Finding
from ledger.store.measures import MEASURES
from ledger.wire import account_from_proto, posting_from_proto, result_to_proto
from ledger.workers import (
    EVENTS,
    keep_checkpoints,
    keep_days,
    keep_old_days,
    keep_suspense,
    let_holds_go,
)
from mesh.clock import from_timestamp
from mesh.door import Context
from mesh.items import each
from mesh.serve import Door, Service
from mesh.wire import money
from tongbao.ledger.v1 import account_read_service_pb2 as account_read
from tongbao.ledger.v1 import account_read_service_pb2_grpc as account_read_grpc
from tongbao.ledger.v1 import account_service_pb2 as account
from tongbao.ledger.v1 import account_service_pb2_grpc as account_grpc
from tongbao.ledger.v1 import accounting_service_pb2 as accounting
from tongbao.ledger.v1 import accounting_service_pb2_grpc as accounting_grpc
from tongbao.ledger.v1 import general_ledger_service_pb2 as general_ledger
from tongbao.ledger.v1 import general_ledger_service_pb2_grpc as general_ledger_grpc
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import ledger_ops_service_pb2_grpc as ops_grpc
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1 import ledger_service_pb2_grpc as pb_grpc
from tongbao.ledger.v1 import transfer_service_pb2 as transfers
from tongbao.ledger.v1 import transfer_service_pb2_grpc as transfers_grpc


class LedgerService(pb_grpc.LedgerServiceServicer):
    """Each item of a method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def BatchPost(  # noqa: N802
        self, request: pb.BatchPostRequest, context: Context
    ) -> pb.BatchPostResponse:
        """Books business events; see the contract."""
        return pb.BatchPostResponse(results=await each(request.items, self._post, pb.PostResult))

    async def BatchForbid(  # noqa: N802
        self, request: pb.BatchForbidRequest, context: Context
    ) -> pb.BatchForbidResponse:
        """Makes sure that business events are never booked; see the contract."""
        results = await each(request.items, self._forbid, pb.ForbidResult)
        return pb.BatchForbidResponse(results=results)

    async def BatchOpenAccounts(  # noqa: N802
        self, request: pb.BatchOpenAccountsRequest, context: Context
    ) -> pb.BatchOpenAccountsResponse:
        """Opens accounts; see the contract."""
        results = await each(request.items, self._open_account, pb.OpenAccountResult)
        return pb.BatchOpenAccountsResponse(results=results)

    async def BatchGetBalances(  # noqa: N802
        self, request: pb.BatchGetBalancesRequest, context: Context
    ) -> pb.BatchGetBalancesResponse:
        """Returns balances; see the contract."""
        results = await each(request.items, self._get_balance, pb.GetBalanceResult)
        return pb.BatchGetBalancesResponse(results=results)

    async def ListTraceEntries(  # noqa: N802
        self, request: pb.ListTraceEntriesRequest, context: Context
    ) -> pb.ListTraceEntriesResponse:
        """Returns what the ledger has of a trace; see the contract."""
        about = request.context
        entries = await list_trace_entries(
            self._desk,
            app_id=about.app_id,
            trace_no=about.trace_no,
            since=from_timestamp(request.since) if request.HasField("since") else None,
        )
        return pb.ListTraceEntriesResponse(entries=entries)

    async def _post(self, item: pb.PostItem) -> pb.PostResult:
        results = await post(self._desk, [posting_from_proto(one) for one in item.postings])
        return pb.PostResult(postings=[result_to_proto(result) for result in results])

    async def _forbid(self, item: pb.ForbidItem) -> pb.ForbidResult:
        return pb.ForbidResult(is_booked=await forbid(self._desk, posting_from_proto(item.posting)))

    async def _open_account(self, item: pb.OpenAccountItem) -> pb.OpenAccountResult:
        await open_account(self._desk, account_from_proto(item.account))
        return pb.OpenAccountResult()

    async def _get_balance(self, item: pb.GetBalanceItem) -> pb.GetBalanceResult:
        balance_minor = await get_balance(self._desk, account_from_proto(item.account))
        return pb.GetBalanceResult(balance=money(item.account.currency_code, balance_minor))


class LedgerOpsService(ops_grpc.LedgerOpsServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetTrialBalance(  # noqa: N802
        self, request: ops.GetTrialBalanceRequest, context: Context
    ) -> ops.GetTrialBalanceResponse:
        """Returns the trial balance; see the contract."""
        lines = [
            ops.TrialBalanceLine(
                kind=total.kind.name,
                owner=total.owner,
                currency_code=total.currency_code,
                debit_minor=total.debit_minor,
                credit_minor=total.credit_minor,
                accounts=total.accounts,
            )
            for total in await get_trial_balance(self._desk)
        ]
        return ops.GetTrialBalanceResponse(lines=lines)

    async def ProveBook(  # noqa: N802
        self, request: ops.ProveBookRequest, context: Context
    ) -> ops.ProveBookResponse:
        """Proves the books; see the contract."""
        proved = await prove_book(self._desk)
        return ops.ProveBookResponse(
            blocks=proved.blocks,
            entries=proved.entries,
            accounts=proved.accounts,
            findings=_findings(proved.findings),
        )

    async def ProveBlocks(  # noqa: N802
        self, request: ops.ProveBlocksRequest, context: Context
    ) -> AsyncIterator[ops.ProveBlocksResponse]:
        """Proves the books part by part; see the contract."""
        async for part in prove_blocks(
            self._desk, request.book_id, continuation=request.continuation
        ):
            yield ops.ProveBlocksResponse(
                book_id=part.book_id,
                head_block=part.head_block,
                next_block=part.next_block,
                entries=part.entries,
                accounts=part.accounts,
                findings=_findings(part.findings),
                continuation=part.continuation,
            )

    async def ListBlockHashes(  # noqa: N802
        self, request: ops.ListBlockHashesRequest, context: Context
    ) -> ops.ListBlockHashesResponse:
        """Returns hashes of blocks; see the contract."""
        head_block, hashes = await list_block_hashes(
            self._desk, book_id=request.book_id, block_nos=request.block_nos
        )
        return ops.ListBlockHashesResponse(
            head_block=head_block,
            hashes=[ops.BlockHash(block_no=number, hash=one) for number, one in hashes.items()],
        )


def _findings(findings: Sequence[Finding]) -> list[ops.Finding]:
    return [ops.Finding(check=one.check, place=one.place, detail=one.detail) for one in findings]


SERVICE = Service(
    name="ledger",
    opens=opened,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["LedgerService"],
            add=pb_grpc.add_LedgerServiceServicer_to_server,
            servicer=LedgerService,
        ),
        Door(
            descriptor=ops.DESCRIPTOR.services_by_name["LedgerOpsService"],
            add=ops_grpc.add_LedgerOpsServiceServicer_to_server,
            servicer=LedgerOpsService,
            public=True,
        ),
        Door(
            descriptor=transfers.DESCRIPTOR.services_by_name["TransferService"],
            add=transfers_grpc.add_TransferServiceServicer_to_server,
            servicer=TransferService,
        ),
        Door(
            descriptor=transfers.DESCRIPTOR.services_by_name["BookOpsService"],
            add=transfers_grpc.add_BookOpsServiceServicer_to_server,
            servicer=BookOpsService,
            public=True,
        ),
        Door(
            descriptor=account.DESCRIPTOR.services_by_name["AccountService"],
            add=account_grpc.add_AccountServiceServicer_to_server,
            servicer=AccountService,
            public=True,
        ),
        Door(
            descriptor=account_read.DESCRIPTOR.services_by_name["AccountReadService"],
            add=account_read_grpc.add_AccountReadServiceServicer_to_server,
            servicer=AccountReadService,
        ),
        Door(
            descriptor=accounting.DESCRIPTOR.services_by_name["AccountingService"],
            add=accounting_grpc.add_AccountingServiceServicer_to_server,
            servicer=AccountingService,
            public=True,
        ),
        Door(
            descriptor=general_ledger.DESCRIPTOR.services_by_name["GeneralLedgerService"],
            add=general_ledger_grpc.add_GeneralLedgerServiceServicer_to_server,
            servicer=GeneralLedgerService,
            public=True,
        ),
    ],
    events=EVENTS,
    measures=MEASURES,
    tasks=[
        let_holds_go,
        keep_days,
        keep_old_days,
        keep_suspense,
        keep_checkpoints,
    ],
)
