"""The gRPC door: check what the contract cannot say, run one flow, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mesh.items import answered
from mesh.serve import Door, Runtime, Service
from payment.desk import Desk
from payment.flow.close_payment import close_payment
from payment.flow.create_payment import create_payment
from payment.flow.create_refund import create_refund
from payment.flow.list_trace_entries import list_trace_entries
from payment.ops import PaymentOpsService
from payment.store.measures import MEASURES
from payment.wire import (
    check_payment_item,
    check_refund_item,
    content_of,
    order_from_item,
    payment_from_item,
    payment_to_proto,
    refund_to_proto,
)
from payment.workers import DUE, EVENTS, count_cases
from tongbao.channel.v1 import channel_service_pb2
from tongbao.ledger.v1 import ledger_service_pb2
from tongbao.payment.v1 import payment_ops_service_pb2 as ops
from tongbao.payment.v1 import payment_ops_service_pb2_grpc as ops_grpc
from tongbao.payment.v1 import payment_service_pb2 as pb
from tongbao.payment.v1 import payment_service_pb2_grpc as pb_grpc
from tongbao.risk.v1 import risk_service_pb2


class PaymentService(pb_grpc.PaymentServiceServicer):
    """Each item of a stream is the verb of the same name in `payment/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def StreamPayments(  # noqa: N802
        self, requests: AsyncIterator[pb.StreamPaymentsRequest], context: Any
    ) -> AsyncIterator[pb.StreamPaymentsResponse]:
        """Carries out payments; see the contract."""
        async for pack in answered(
            requests,
            self._create_payment,
            pack=pb.StreamPaymentsResponse,
            result=pb.CreatePaymentResult,
            crew=self._desk.crew,
        ):
            yield pack

    async def StreamCloses(  # noqa: N802
        self, requests: AsyncIterator[pb.StreamClosesRequest], context: Any
    ) -> AsyncIterator[pb.StreamClosesResponse]:
        """Ends payments that nobody has paid; see the contract."""
        async for pack in answered(
            requests,
            self._close_payment,
            pack=pb.StreamClosesResponse,
            result=pb.ClosePaymentResult,
            crew=self._desk.crew,
        ):
            yield pack

    async def StreamRefunds(  # noqa: N802
        self, requests: AsyncIterator[pb.StreamRefundsRequest], context: Any
    ) -> AsyncIterator[pb.StreamRefundsResponse]:
        """Carries out refunds; see the contract."""
        async for pack in answered(
            requests,
            self._create_refund,
            pack=pb.StreamRefundsResponse,
            result=pb.CreateRefundResult,
            crew=self._desk.crew,
        ):
            yield pack

    async def ListTraceEntries(  # noqa: N802
        self, request: pb.ListTraceEntriesRequest, context: Any
    ) -> pb.ListTraceEntriesResponse:
        """Returns what payment has of a trace; see the contract."""
        owner = request.context
        entries = await list_trace_entries(self._desk, app_id=owner.app_id, trace_no=owner.trace_no)
        return pb.ListTraceEntriesResponse(entries=entries)

    async def _create_payment(self, item: pb.CreatePaymentItem) -> pb.CreatePaymentResult:
        check_payment_item(item)
        payment = await create_payment(
            self._desk,
            payment=payment_from_item(item, now=self._desk.clock.now()),
            fingerprint=content_of(item),
        )
        return pb.CreatePaymentResult(payment=payment_to_proto(payment))

    async def _close_payment(self, item: pb.ClosePaymentItem) -> pb.ClosePaymentResult:
        order = item.payment
        order.context.CopyFrom(item.context)  # Whose payment it is, the item says.
        check_payment_item(order)
        payment = await close_payment(
            self._desk,
            payment=payment_from_item(order, now=self._desk.clock.now()),
            fingerprint=content_of(order),
        )
        return pb.ClosePaymentResult(payment=payment_to_proto(payment))

    async def _create_refund(self, item: pb.CreateRefundItem) -> pb.CreateRefundResult:
        check_refund_item(item)
        refund = await create_refund(
            self._desk, order=order_from_item(item), fingerprint=content_of(item)
        )
        return pb.CreateRefundResult(refund=refund_to_proto(refund))


@asynccontextmanager
async def opened(runtime: Runtime) -> AsyncIterator[Desk]:
    """Yield the desk of a running service, with links to its neighbours."""
    yield Desk(
        db=runtime.db,
        clock=runtime.clock,
        crew=runtime.crew,
        risk=runtime.batch_link(
            "risk",
            method="/tongbao.risk.v1.RiskService/BatchEvaluate",
            request=risk_service_pb2.BatchEvaluateRequest,
            response=risk_service_pb2.BatchEvaluateResponse,
        ),
        ledger=runtime.batch_link(
            "ledger",
            method="/tongbao.ledger.v1.LedgerService/BatchPost",
            request=ledger_service_pb2.BatchPostRequest,
            response=ledger_service_pb2.BatchPostResponse,
        ),
        channel=runtime.stream_link(
            "channel",
            method="/tongbao.channel.v1.ChannelService/StreamSubmits",
            request=channel_service_pb2.StreamSubmitsRequest,
            response=channel_service_pb2.StreamSubmitsResponse,
        ),
        closes=runtime.stream_link(
            "channel",
            method="/tongbao.channel.v1.ChannelService/StreamCloses",
            request=channel_service_pb2.StreamClosesRequest,
            response=channel_service_pb2.StreamClosesResponse,
        ),
    )


SERVICE = Service(
    name="payment",
    opens=opened,
    doors=[
        Door(
            descriptor=pb.DESCRIPTOR.services_by_name["PaymentService"],
            add=pb_grpc.add_PaymentServiceServicer_to_server,
            servicer=PaymentService,
        ),
        Door(
            descriptor=ops.DESCRIPTOR.services_by_name["PaymentOpsService"],
            add=ops_grpc.add_PaymentOpsServiceServicer_to_server,
            servicer=PaymentOpsService,
            public=True,
        ),
    ],
    events=EVENTS,
    due=DUE,
    measures=MEASURES,
    tasks=[count_cases],
)
