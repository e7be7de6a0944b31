"""The gRPC door: read the request, run one flow, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh.door import Context
from mesh.serve import Door, Runtime, Service
from settlement.desk import Desk
from settlement.flow.list_trace_entries import list_trace_entries
from settlement.wire import entry_to_trace
from settlement.workers import EVENTS
from tongbao.settlement.v1 import settlement_service_pb2 as pb
from tongbao.settlement.v1.settlement_service_pb2_grpc import (
    SettlementServiceServicer,
    add_SettlementServiceServicer_to_server,
)


class SettlementService(SettlementServiceServicer):
    """For trade's traces. Everything else here begins with an event."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListTraceEntries(  # noqa: N802
        self, request: pb.ListTraceEntriesRequest, context: Context
    ) -> pb.ListTraceEntriesResponse:
        """Returns what settlement has of a trace; see the contract."""
        owner = request.context
        entries = await list_trace_entries(self._desk, app_id=owner.app_id, trace_no=owner.trace_no)
        return pb.ListTraceEntriesResponse(entries=[entry_to_trace(entry) for entry in entries])


@asynccontextmanager
async def open_desk(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service."""
    yield Desk(db=runtime.db)


SERVICE = Service(
    name="settlement",
    opens=open_desk,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["SettlementService"],
            add=add_SettlementServiceServicer_to_server,
            servicer=SettlementService,
        ),
    ],
    events=EVENTS,
)
