"""The doors of this service, and the service itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from channel.callbacks import listen
from channel.calls import account_of
from channel.desk import Desk, opened
from channel.flow.close import close
from channel.flow.list_trace_entries import list_trace_entries
from channel.flow.put_channel_account import put_channel_account
from channel.flow.submit import submit
from channel.model import Attempt, ChannelAccount
from channel.orders import adapter_of
from channel.store.measures import MEASURES
from channel.verdicts import is_beyond_horizon
from channel.wire import (
    attempt_to_entry,
    attempt_to_proto,
    callback_to_entry,
    leg_of,
    tool_name,
)
from channel.workers import DUE
from mesh.door import Context
from mesh.items import answered
from mesh.replays import mark
from mesh.serve import Door, Service
from mesh.upkeep import Kept
from tongbao.channel.v1 import channel_ops_service_pb2 as ops
from tongbao.channel.v1 import channel_ops_service_pb2_grpc as ops_grpc
from tongbao.channel.v1 import channel_service_pb2 as pb
from tongbao.channel.v1 import channel_service_pb2_grpc as pb_grpc


class ChannelService(pb_grpc.ChannelServiceServicer):
    """What payment asks of us."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def StreamSubmits(  # noqa: N802 the contract's name
        self, requests: AsyncIterator[pb.StreamSubmitsRequest], context: Context
    ) -> AsyncIterator[pb.StreamSubmitsResponse]:
        """See the contract."""
        async for pack in answered(
            requests,
            self._submit,
            pack=pb.StreamSubmitsResponse,
            result=pb.SubmitResult,
            crew=self._desk.crew,
        ):
            yield pack

    async def StreamCloses(  # noqa: N802 the contract's name
        self, requests: AsyncIterator[pb.StreamClosesRequest], context: Context
    ) -> AsyncIterator[pb.StreamClosesResponse]:
        """See the contract."""
        async for pack in answered(
            requests,
            self._close,
            pack=pb.StreamClosesResponse,
            result=pb.CloseResult,
            crew=self._desk.crew,
        ):
            yield pack

    async def ListTraceEntries(  # noqa: N802 the contract's name
        self, request: pb.ListTraceEntriesRequest, context: Context
    ) -> pb.ListTraceEntriesResponse:
        """See the contract."""
        attempts, callbacks = await list_trace_entries(
            self._desk, app_id=request.context.app_id, trace_no=request.context.trace_no
        )
        entries = [attempt_to_entry(attempt) for attempt in attempts]
        entries += [callback_to_entry(callback) for callback in callbacks]
        entries.sort(key=lambda entry: entry.create_time.ToNanoseconds())
        return pb.ListTraceEntriesResponse(entries=entries)

    async def _submit(self, item: pb.SubmitItem) -> pb.SubmitResult:
        attempt = await submit(self._desk, leg_of(item))
        message = attempt_to_proto(attempt)
        if attempt.is_open:
            message.is_past_horizon = await self._is_past_horizon(attempt)
        return pb.SubmitResult(attempt=message)

    async def _is_past_horizon(self, attempt: Attempt) -> bool:
        """Return whether asking about the open attempt makes no sense any more."""
        spec = adapter_of(await account_of(self._desk, attempt)).spec
        return is_beyond_horizon(attempt, spec=spec, now=self._desk.clock.now())

    async def _close(self, item: pb.CloseItem) -> pb.CloseResult:
        item.leg.context.CopyFrom(item.context)  # Whose leg it is, the item says.
        attempt = await close(self._desk, leg_of(item.leg))
        return pb.CloseResult(attempt=attempt_to_proto(attempt))


class ChannelOpsService(ops_grpc.ChannelOpsServiceServicer):
    """What operators set up."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def PutChannelAccount(  # noqa: N802 the contract's name
        self, request: ops.PutChannelAccountRequest, context: Context
    ) -> ops.PutChannelAccountResponse:
        """See the contract."""
        wanted = ChannelAccount(
            channel_code=request.channel_code,
            adapter=request.adapter,
            base_url=request.base_url,
            provider_account=request.provider_account,
            secret=request.secret,
            tools=tuple(sorted(tool_name(tool) for tool in request.tools)),
            currency_codes=tuple(sorted(request.currency_codes)),
            cost_ppm=request.cost_ppm,
            priority=request.priority,
            version=0,
        )
        version, was_so = await put_channel_account(self._desk, wanted)
        mark(context, replayed=was_so)
        return ops.PutChannelAccountResponse(version=version)


SERVICE: Service[Any] = Service(
    name="channel",
    opens=opened,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["ChannelService"],
            add=pb_grpc.add_ChannelServiceServicer_to_server,
            servicer=ChannelService,
        ),
        Door(
            descriptor=ops.DESCRIPTOR.services_by_name["ChannelOpsService"],
            add=ops_grpc.add_ChannelOpsServiceServicer_to_server,
            servicer=ChannelOpsService,
            public=True,
        ),
    ],
    due=DUE,
    measures=MEASURES,
    listeners=[listen],
    kept=lambda settings: [
        Kept(
            table="callback",
            key="callback_id",
            days=settings.keep_callback_days,
            now="business_now()",
        )
    ],
)
