"""A channel account with the real ledger behind it: nothing it is asked for is missing."""

import pytest

from mesh.clock import Clock
from mesh.numbers import Kind, Numbers
from tests.service.channel.world import World
from tests.services import Ground
from tests.simulator import Simulator
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2 as books
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

NUMBERS = Numbers(Clock(), node=0, lease=0)
CONTEXT = item_pb2.ItemContext(app_id="mall", trace_no="MALL-1")

# By templates that open nothing: one for every account that stands beside a channel's own.
PAID = ["ESCROWED", "COST_RETURNED", "SUBSIDY_PAID", "ESCROW_REFUND_ASKED", "REFUND_SUCCEEDED",
        "SUSPENSE_ESCROWED", "ESCROW_REVERSED", "GOODWILL_ASKED"]  # fmt: skip


@pytest.mark.parametrize("currency", ["CNY", "JPY"])
async def test_a_channel_that_was_set_up_can_be_booked(
    ground: Ground, simulator: Simulator, currency: str
) -> None:
    """In every currency of it; one that it does not have is refused, as nobody opened it."""
    world = World(ground, simulator, None)
    async with (
        ground.run("ledger") as ledger,
        ground.run("channel", **world.settings) as world.handle,
    ):
        await world.put_account("sim-a")
        stub = LedgerServiceStub(ledger.channel("payment"))

        async def booked(template: str, currency_code: str) -> str:
            posting = books.Posting(
                template=template,
                source_no=NUMBERS.next(Kind.PAYMENT),
                trace_no="MALL-1",
                business_code="MALL",
                channel_code="sim-a",
                cost_minor=1,
            )
            posting.amount.currency_code, posting.amount.minor_units = currency_code, 1_000
            item = pb.PostItem(context=CONTEXT, postings=[posting])
            [result] = (await stub.BatchPost(pb.BatchPostRequest(items=[item]))).results
            return result.postings[0].refusal

        assert [await booked(template, currency) for template in PAID] == [""] * len(PAID)
        assert await booked("ESCROWED", "EUR") == "DEBIT_ACCOUNT_NOT_FOUND"
