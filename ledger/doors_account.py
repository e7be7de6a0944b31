"""The doors to accounts: operators', and the one by which services read. One method, one flow."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.flow._accounts import Request
from ledger.flow.block_account import block_account
from ledger.flow.close_account import close_account
from ledger.flow.get_account import get_account
from ledger.flow.get_balance_at import get_balance_at
from ledger.flow.list_accounts import list_accounts
from ledger.flow.list_holds import list_holds
from ledger.flow.list_owner_accounts import list_owner_accounts
from ledger.flow.list_statement import list_statement
from ledger.flow.set_account_limits import set_account_limits
from ledger.flow.unblock_account import unblock_account
from ledger.store.account_view import CAP_NONE, FLOOR_NONE
from ledger.wire_account import (
    balance_to_proto,
    date_from_proto,
    hold_state_from_proto,
    hold_to_proto,
    line_to_proto,
    marks_from_proto,
    named_from_proto,
    past_to_proto,
    span_from_proto,
    view_to_proto,
    wish_from_proto,
)
from mesh.clock import from_timestamp
from mesh.door import Context
from mesh.lists import Page
from mesh.replays import mark
from mesh.wire import fingerprint, malformed
from tongbao.ledger.v1 import account_pb2
from tongbao.ledger.v1 import account_read_service_pb2 as read
from tongbao.ledger.v1 import account_read_service_pb2_grpc as read_grpc
from tongbao.ledger.v1 import account_service_pb2 as pb
from tongbao.ledger.v1 import account_service_pb2_grpc as pb_grpc


class AccountService(pb_grpc.AccountServiceServicer):
    """Each method is the verb of the same name in `ledger/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetAccount(  # noqa: N802
        self, request: pb.GetAccountRequest, context: Context
    ) -> pb.GetAccountResponse:
        """Returns an account with its newest changes; see the contract."""
        view, changes = await get_account(self._desk, named_from_proto(request.account))
        return pb.GetAccountResponse(
            account=view_to_proto(view), changes=[past_to_proto(past) for past in changes]
        )

    async def ListAccounts(  # noqa: N802
        self, request: pb.ListAccountsRequest, context: Context
    ) -> pb.ListAccountsResponse:
        """Returns accounts of all books; see the contract."""
        wish, page = wish_from_proto(request), Page.of(request)
        views, token = await list_accounts(self._desk, wish=wish, page=page)
        accounts = [view_to_proto(view) for view in views]
        return pb.ListAccountsResponse(accounts=accounts, next_page_token=token)

    async def ListOwnerAccounts(  # noqa: N802
        self, request: pb.ListOwnerAccountsRequest, context: Context
    ) -> pb.ListOwnerAccountsResponse:
        """Returns what a merchant or a wallet's owner has; see the contract."""
        return pb.ListOwnerAccountsResponse(accounts=await _of_owner(self._desk, request))

    async def BlockAccount(  # noqa: N802
        self, request: pb.BlockAccountRequest, context: Context
    ) -> pb.BlockAccountResponse:
        """Closes an account to debits or credits; see the contract."""
        marks = marks_from_proto(request.blocks)
        view, known = await block_account(self._desk, _request(request), marks=marks)
        mark(context, replayed=known)
        return pb.BlockAccountResponse(account=view_to_proto(view))

    async def UnblockAccount(  # noqa: N802
        self, request: pb.UnblockAccountRequest, context: Context
    ) -> pb.UnblockAccountResponse:
        """Opens an account to debits or credits again; see the contract."""
        marks = marks_from_proto(request.blocks)
        view, known = await unblock_account(self._desk, _request(request), marks=marks)
        mark(context, replayed=known)
        return pb.UnblockAccountResponse(account=view_to_proto(view))

    async def CloseAccount(  # noqa: N802
        self, request: pb.CloseAccountRequest, context: Context
    ) -> pb.CloseAccountResponse:
        """Closes an account for good; see the contract."""
        view, known = await close_account(self._desk, _request(request))
        mark(context, replayed=known)
        return pb.CloseAccountResponse(account=view_to_proto(view))

    async def SetAccountLimits(  # noqa: N802
        self, request: pb.SetAccountLimitsRequest, context: Context
    ) -> pb.SetAccountLimitsResponse:
        """Says how far a balance may fall and rise; see the contract."""
        view, known = await set_account_limits(
            self._desk,
            _request(request),
            floor_minor=_limit(request, "floor", none=FLOOR_NONE),
            cap_minor=_limit(request, "cap", none=CAP_NONE),
            allow_breach=request.allow_breach,
        )
        mark(context, replayed=known)
        return pb.SetAccountLimitsResponse(account=view_to_proto(view))

    async def ListStatement(  # noqa: N802
        self, request: pb.ListStatementRequest, context: Context
    ) -> pb.ListStatementResponse:
        """Returns the entries of an account; see the contract."""
        lines, token = await _statement(self._desk, request)
        return pb.ListStatementResponse(lines=lines, next_page_token=token)

    async def GetBalanceAt(  # noqa: N802
        self, request: pb.GetBalanceAtRequest, context: Context
    ) -> pb.GetBalanceAtResponse:
        """Returns a balance of the past; see the contract."""
        return await _balance_at(self._desk, request)

    async def ListHolds(  # noqa: N802
        self, request: pb.ListHoldsRequest, context: Context
    ) -> pb.ListHoldsResponse:
        """Returns what is or was on hold; see the contract."""
        holds, token = await list_holds(
            self._desk,
            named_from_proto(request.account),
            states=[hold_state_from_proto(state) for state in request.states],
            page=Page.of(request),
        )
        return pb.ListHoldsResponse(
            holds=[hold_to_proto(hold) for hold in holds], next_page_token=token
        )


class AccountReadService(read_grpc.AccountReadServiceServicer):
    """The verbs of `AccountService` that other services need, on behalf of an app."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ReadOwnerAccounts(  # noqa: N802
        self, request: read.ReadOwnerAccountsRequest, context: Context
    ) -> read.ReadOwnerAccountsResponse:
        """Returns what a merchant or a wallet's owner has; see the contract."""
        accounts = await _of_owner(self._desk, request.query)
        return read.ReadOwnerAccountsResponse(accounts=accounts)

    async def ReadStatement(  # noqa: N802
        self, request: read.ReadStatementRequest, context: Context
    ) -> read.ReadStatementResponse:
        """Returns the entries of an account; see the contract."""
        lines, token = await _statement(self._desk, request.query)
        return read.ReadStatementResponse(lines=lines, next_page_token=token)

    async def ReadBalanceAt(  # noqa: N802
        self, request: read.ReadBalanceAtRequest, context: Context
    ) -> read.ReadBalanceAtResponse:
        """Returns a balance of the past; see the contract."""
        return read.ReadBalanceAtResponse(balance=await _balance_at(self._desk, request.query))


async def _of_owner(desk: Desk, request: pb.ListOwnerAccountsRequest) -> list[account_pb2.Account]:
    owner = request.merchant_id or f"{request.wallet.business_code}/{request.wallet.user_no}"
    views = await list_owner_accounts(desk, owner=owner, currency_code=request.currency_code)
    return [view_to_proto(view) for view in views]


async def _statement(
    desk: Desk, request: pb.ListStatementRequest
) -> tuple[list[account_pb2.StatementLine], str]:
    span, page = span_from_proto(request), Page.of(request)
    lines, token = await list_statement(
        desk,
        named_from_proto(request.account),
        span=span,
        page=page,
        oldest_first=request.oldest_first,
        include_holds=request.include_holds,
    )
    return [line_to_proto(line) for line in lines], token


async def _balance_at(desk: Desk, request: pb.GetBalanceAtRequest) -> pb.GetBalanceAtResponse:
    by_time = request.WhichOneof("at") == "time"
    view, balance = await get_balance_at(
        desk,
        named_from_proto(request.account),
        time=from_timestamp(request.time) if by_time else None,
        acct_date=None if by_time else date_from_proto(request.acct_date, field="acct_date"),
    )
    return balance_to_proto(view, balance)


def _request(
    message: pb.BlockAccountRequest
    | pb.UnblockAccountRequest
    | pb.CloseAccountRequest
    | pb.SetAccountLimitsRequest,
) -> Request:
    """Return what all changes of an account share."""
    return Request(
        request_id=message.request_id,
        fingerprint=fingerprint(message),
        named=named_from_proto(message.account),
        cause=message.cause,
    )


def _limit(request: pb.SetAccountLimitsRequest, name: str, *, none: int) -> int | None:
    """Return the limit to set, `none` to take it away, None to leave it as it is.

    Raises Malformed when the request says two things of it.
    """
    field = f"{name}_minor"
    is_given = request.HasField("floor_minor" if name == "floor" else "cap_minor")
    if getattr(request, f"no_{name}"):
        if is_given:
            told = f"must be left out together with no_{name}"
            raise malformed(field, rule="limit", description=told)
        return none
    return int(getattr(request, field)) if is_given else None
