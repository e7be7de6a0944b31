"""What every flow of this service works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import grpc
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from mesh.batch import NotExecuted
from mesh.call import BatchLink, StreamLink
from mesh.clock import Clock, real_now
from mesh.context import remaining
from mesh.crew import Crew
from mesh.db import Database
from mesh.errors import Declined
from mesh.numbers import Numbers
from mesh.seal import Seal
from mesh.tokens import Signer
from tongbao.common.v1 import item_pb2, trace_pb2
from trade.directory import Directory
from trade.egress import Egress
from trade.watchers import Watchers

_TRACE_SECONDS = 3.0


class TraceLink:
    """A neighbour's ListTraceEntries. `stub` is any of their stubs, `request` its message."""

    def __init__(self, stub: Any, request: type[Any], signer: Signer) -> None:
        self._stub, self._request, self._signer = stub, request, signer

    async def ask(
        self, *, app_id: str, trace_no: str, since: timestamp_pb2.Timestamp
    ) -> Sequence[trace_pb2.TraceEntry]:
        """Return what the neighbour has of the trace, of which nothing is older than `since`.

        Raises Declined when the neighbour cannot tell; NotExecuted when it is silent.
        """
        left = remaining()
        seconds = _TRACE_SECONDS if left is None else min(left, _TRACE_SECONDS)
        context = item_pb2.ItemContext(app_id=app_id, trace_no=trace_no)
        context.deadline.FromDatetime(real_now() + timedelta(seconds=seconds))
        request = self._request(context=context)
        if "since" in request.DESCRIPTOR.fields_by_name:  # It keeps what is old elsewhere.
            request.since.CopyFrom(since)
        try:
            answer = await self._stub.ListTraceEntries(
                request,
                timeout=seconds,
                metadata=(("authorization", f"Bearer {self._signer.token()}"),),
            )
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        entries: Sequence[trace_pb2.TraceEntry] = answer.entries
        return entries


def _failure(error: grpc.aio.AioRpcError) -> Exception:
    """Return what to raise: a state that has to be mended first is told as the neighbour tells it,
    anything else may be asked again, as it changes nothing.
    """
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
        status = rpc_status.from_call(cast(grpc.Call, error))  # It has all that is asked of one.
        info = error_details_pb2.ErrorInfo()
        if status is not None and any(detail.Unpack(info) for detail in status.details):
            return Declined(
                item_pb2.ItemStatus(
                    code=status.code,
                    message=status.message,
                    reason=info.reason,
                    domain=info.domain,
                    metadata=dict(info.metadata),
                )
            )
    return NotExecuted(f"ListTraceEntries: {error.details()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow.

    `payments`, `closes` and `refunds` lead to payment, `accounts` and `balances` to ledger,
    `traces` to everybody who has a part of a trace, by service.
    """

    db: Database
    clock: Clock
    numbers: Numbers
    crew: Crew
    seal: Seal
    directory: Directory
    watchers: Watchers
    egress: Egress
    payments: StreamLink[Any, Any]
    closes: StreamLink[Any, Any]
    refunds: StreamLink[Any, Any]
    accounts: BatchLink[Any, Any]
    balances: BatchLink[Any, Any]
    traces: Mapping[str, TraceLink]
