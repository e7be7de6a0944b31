"""What trade sets up with the real ledger behind it: nothing it is paid meets a missing account."""

from __future__ import annotations

import pytest

from mesh.clock import Clock
from mesh.numbers import Kind, Numbers
from mesh.tokens import Signer
from tests.service.trade.shop import KEEP, serial
from tests.services import Ground, Handle
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2 as books
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_ops_service_pb2 as ops
from tongbao.trade.v1 import trade_service_pb2 as trades
from tongbao.trade.v1.trade_ops_service_pb2_grpc import TradeOpsServiceStub
from tongbao.trade.v1.trade_service_pb2_grpc import TradeServiceStub

NUMBERS = Numbers(Clock(), node=0, lease=0)
CONTEXT = item_pb2.ItemContext(app_id="mall", trace_no="MALL-1")
POSTED = books.PostingResult.OUTCOME_POSTED

# In this order, each of 1,000 or less of it: money in, and then on to whoever was never paid.
PAID = [
    ("RECHARGED", {"user_no": "u1"}),
    ("TRANSFERRED", {"user_no": "u1", "to_user_no": "u2", "amount": 100}),
    ("TRANSFERRED_TO_MERCHANT", {"user_no": "u1", "to_merchant_id": "first", "amount": 100}),
    ("RESERVE_DEPOSITED", {"merchant_id": "first", "amount": 50}),
    ("TRANSFERRED_BY_MERCHANT",
     {"merchant_id": "first", "to_merchant_id": "second", "amount": 50}),
    ("COLLECTED", {"merchant_id": "first"}),
    ("SPLIT_PAID", {"merchant_id": "first", "to_merchant_id": "second", "amount": 300}),
    ("FEE_RETURNED", {"merchant_id": "second", "amount": 10}),
    ("RESERVE_AWARDED", {"merchant_id": "first", "user_no": "u2", "amount": 50}),
    ("WALLET_PAID", {"user_no": "u2", "amount": 150}),
]  # fmt: skip


async def merchant(operator: TradeOpsServiceStub, app_id: str) -> str:
    """A new merchant in two currencies."""
    wanted = ops.CreateMerchantRequest(
        request_id=f"merchant-{serial()}",
        app_id=app_id,
        name="tea",
        currency_codes=["CNY", "JPY"],
        fee=setup_pb2.FeeTerms(rate_ppm=6000, refund_policy=KEEP),
    )
    return (await operator.CreateMerchant(wanted)).merchant.merchant_id


async def bank(ledger: Handle, currency: str) -> None:
    """The clearing account of a channel, opened as channel does."""
    key = books.AccountKey(kind=books.ACCOUNT_KIND_CLEARING, owner="bank", currency_code=currency)
    item = pb.OpenAccountItem(context=CONTEXT, account=key)
    request = pb.BatchOpenAccountsRequest(items=[item])
    await LedgerServiceStub(ledger.channel("channel")).BatchOpenAccounts(request)


@pytest.mark.parametrize("currency", ["CNY", "JPY"])
async def test_whoever_was_never_paid_can_be_paid(ground: Ground, currency: str):
    """Merchants and wallets, on every account that they have, by postings that open nothing."""
    async with ground.run("ledger") as ledger, ground.run("trade") as trade:
        operator = TradeOpsServiceStub(trade.operator())
        app = ground.app("not known yet")
        made = await operator.CreateApp(
            ops.CreateAppRequest(
                request_id="app", business_code="MALL", name="a shop", public_key_pem=app.pem
            )
        )
        owner = Signer(made.app.app_id, app.signer._key)
        names = {name: await merchant(operator, made.app.app_id) for name in ("first", "second")}
        for user_no in ("u1", "u2"):
            wanted = trades.OpenWalletRequest(user_no=user_no, currency_code=currency)
            await TradeServiceStub(trade.app(owner)).OpenWallet(wanted)
        await bank(ledger, currency)

        for template, facts in PAID:
            posting = books.Posting(
                template=template, source_no=NUMBERS.next(Kind.PAYMENT), trace_no="MALL-1",
                business_code="MALL", channel_code="bank",
                **{name: names.get(fact, fact) for name, fact in facts.items() if name != "amount"},
            )  # fmt: skip
            posting.amount.currency_code = currency
            posting.amount.minor_units = facts.get("amount", 1_000)
            item = pb.PostItem(context=CONTEXT, postings=[posting])
            stub = LedgerServiceStub(ledger.channel("payment"))
            answer = await stub.BatchPost(pb.BatchPostRequest(items=[item]))
            [result] = answer.results[0].postings
            assert result.outcome == POSTED, (template, result.refusal)
