"""The gRPC doors: read the request, run one flow, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.door import Context
from mesh.items import each
from mesh.serve import Door, Runtime, Service
from risk.desk import Desk
from risk.flow.evaluate import evaluate
from risk.flow.list_trace_entries import list_trace_entries
from risk.flow.put_deny_entry import put_deny_entry
from risk.flow.put_limit import put_limit
from risk.wire import check_currency, decision_to_proto, entry_to_trace, evaluation_from_proto
from risk.workers import EVENTS
from tongbao.risk.v1 import risk_ops_service_pb2 as ops
from tongbao.risk.v1 import risk_service_pb2 as pb
from tongbao.risk.v1.risk_ops_service_pb2_grpc import (
    RiskOpsServiceServicer,
    add_RiskOpsServiceServicer_to_server,
)
from tongbao.risk.v1.risk_service_pb2_grpc import (
    RiskServiceServicer,
    add_RiskServiceServicer_to_server,
)


class RiskService(RiskServiceServicer):
    """For payment, and for trade's traces."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def BatchEvaluate(  # noqa: N802
        self, request: pb.BatchEvaluateRequest, context: Context
    ) -> pb.BatchEvaluateResponse:
        """Evaluates payments; see the contract."""
        results = await each(request.items, self._evaluate, pb.EvaluateResult)
        return pb.BatchEvaluateResponse(results=results)

    async def _evaluate(self, item: pb.EvaluateItem) -> pb.EvaluateResult:
        business_date = self._desk.clock.local().date()
        evaluation = evaluation_from_proto(item, business_date=business_date)
        return decision_to_proto(await evaluate(self._desk, evaluation))

    async def ListTraceEntries(  # noqa: N802
        self, request: pb.ListTraceEntriesRequest, context: Context
    ) -> pb.ListTraceEntriesResponse:
        """Returns what risk has of a trace; see the contract."""
        owner = request.context
        entries = await list_trace_entries(self._desk, app_id=owner.app_id, trace_no=owner.trace_no)
        return pb.ListTraceEntriesResponse(entries=[entry_to_trace(entry) for entry in entries])


class RiskOpsService(RiskOpsServiceServicer):
    """For operators."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def PutLimit(  # noqa: N802
        self, request: ops.PutLimitRequest, context: Context
    ) -> ops.PutLimitResponse:
        """Sets a limit; see the contract."""
        check_currency(request.daily_amount, field="daily_amount")
        await put_limit(
            self._desk,
            app_id=request.app_id,
            currency_code=request.daily_amount.currency_code,
            daily_minor=request.daily_amount.minor_units,
        )
        return ops.PutLimitResponse()

    async def PutDenyEntry(  # noqa: N802
        self, request: ops.PutDenyEntryRequest, context: Context
    ) -> ops.PutDenyEntryResponse:
        """Puts a user on the deny list, or takes it off; see the contract."""
        await put_deny_entry(
            self._desk,
            app_id=request.app_id,
            user_no=request.user_no,
            cause=request.cause,
            lifted=request.lifted,
        )
        return ops.PutDenyEntryResponse()


@asynccontextmanager
async def open_desk(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    yield Desk(db=runtime.db, clock=runtime.clock)


SERVICE = Service(
    name="risk",
    opens=open_desk,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["RiskService"],
            add=add_RiskServiceServicer_to_server,
            servicer=RiskService,
        ),
        Door(
            descriptor=ops.DESCRIPTOR.services_by_name["RiskOpsService"],
            add=add_RiskOpsServiceServicer_to_server,
            servicer=RiskOpsService,
            public=True,
        ),
    ],
    events=EVENTS,
)
