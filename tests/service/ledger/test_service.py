"""The ledger as its neighbours and its operators meet it: sockets, tokens, streams."""

import asyncio

import pytest

from mesh.numbers import Kind
from mesh.wire import money
from tests.service.ledger.events import NUMBERS, payment, refund
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import events_pb2, ledger_pb2
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub
from tongbao.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from tongbao.payment.v1 import events_pb2 as payment_events

CONTEXT = item_pb2.ItemContext(app_id="mall", trace_no="MALL-1")
POSTED, EXISTS, REFUSED = (
    ledger_pb2.PostingResult.OUTCOME_POSTED,
    ledger_pb2.PostingResult.OUTCOME_EXISTS,
    ledger_pb2.PostingResult.OUTCOME_REFUSED,
)


def key(kind, owner="", currency_code="CNY"):
    value = ledger_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind}")
    return ledger_pb2.AccountKey(kind=value, owner=owner, currency_code=currency_code)


WALLET, PENDING = key("WALLET", "MALL/u1"), key("MERCHANT_PENDING", "mer_1")
CLEARING = key("CLEARING", "sim")


def recharge(minor_units=10_000, **fields):
    known = {
        "template": "RECHARGED",
        "source_no": NUMBERS.next(Kind.PAYMENT),
        "trace_no": "MALL-1",
        "business_code": "MALL",
        "amount": money("CNY", minor_units),
        "channel_code": "sim",
        "user_no": "u1",
    }
    return ledger_pb2.Posting(**(known | fields))


def item(*postings):
    return pb.PostItem(context=CONTEXT, postings=postings)


class Neighbours:
    """Every rpc, called by a service that may."""

    def __init__(self, ledger):
        channel, trade = (LedgerServiceStub(ledger.channel(name)) for name in ("channel", "trade"))
        self.BatchPost = channel.BatchPost
        self.BatchOpenAccounts = trade.BatchOpenAccounts
        self.BatchGetBalances = trade.BatchGetBalances
        self.ListTraceEntries = trade.ListTraceEntries


async def open_accounts(stub, *accounts):
    items = [pb.OpenAccountItem(context=CONTEXT, account=account) for account in accounts]
    answer = await stub.BatchOpenAccounts(pb.BatchOpenAccountsRequest(items=items))
    return [result.status.reason for result in answer.results]


async def balances(stub, *accounts):
    items = [pb.GetBalanceItem(context=CONTEXT, account=account) for account in accounts]
    answer = await stub.BatchGetBalances(pb.BatchGetBalancesRequest(items=items))
    return [
        result.status.reason if result.HasField("status") else result.balance.minor_units
        for result in answer.results
    ]


async def test_neighbours_open_post_and_read(ground):
    """Every item has its own answer, in order; what is wrong with one is its own."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        assert await open_accounts(stub, WALLET, CLEARING, key("WALLET", "MALL/u1", "XXX")) == [
            "",
            "",
            "CURRENCY_UNKNOWN",
        ]
        first = recharge()
        spent = recharge(template="WALLET_PAID", amount=money("CNY", 20_000))

        answer = await stub.BatchPost(
            pb.BatchPostRequest(
                items=[
                    item(first, first, spent),
                    item(recharge(template="GIVEN_AWAY")),
                    item(recharge(user_no="")),
                    item(recharge(1), recharge(2)),
                ]
            )
        )

        mixed, unknown, missing, two = answer.results
        assert [one.outcome for one in mixed.postings] == [POSTED, EXISTS, REFUSED]
        assert [one.refusal for one in mixed.postings] == ["", "", "EXCEEDS_FLOOR"]
        assert (unknown.status.domain, unknown.status.reason) == (
            "ledger.tongbao",
            "TEMPLATE_UNKNOWN",
        )
        assert missing.status.metadata["field"] == "user_no"
        assert [one.outcome for one in two.postings] == [POSTED, POSTED]
        assert await balances(stub, WALLET, CLEARING, PENDING) == [
            10_003,
            10_003,
            "ACCOUNT_NOT_FOUND",
        ]


async def test_an_account_has_the_owner_its_kind_wants(ground):
    """A wallet is somebody's, our fees are nobody's."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)

        assert await open_accounts(stub, key("WALLET"), key("FEE_INCOME", "mer_1"), WALLET) == [
            "INVALID_FIELDS",
            "INVALID_FIELDS",
            "",
        ]
        assert await balances(stub, WALLET, key("FEE_INCOME"), key("WALLET")) == [
            0,
            0,
            "INVALID_FIELDS",
        ]


async def test_a_trace_is_listed(ground):
    """For the app in the item's context."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        await open_accounts(stub, WALLET, CLEARING)
        await stub.BatchPost(pb.BatchPostRequest(items=[item(recharge(5))]))

        answer = await stub.ListTraceEntries(pb.ListTraceEntriesRequest(context=CONTEXT))

        assert [(one.kind, one.amount.minor_units) for one in answer.entries] == [
            ("voucher", 5),
            ("entry", 5),
        ]


async def test_operators_see_the_books(ground):
    """The trial balance and the proof, on the public port."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        await open_accounts(stub, WALLET, CLEARING)
        await stub.BatchPost(pb.BatchPostRequest(items=[item(recharge(5))]))
        operator = LedgerOpsServiceStub(ledger.operator())

        totals = await operator.GetTrialBalance(ops.GetTrialBalanceRequest())
        proof = await operator.ProveBook(ops.ProveBookRequest())

        lines = {(one.kind, one.owner): (one.debit_minor, one.credit_minor) for one in totals.lines}
        assert lines["CLEARING", "sim"] == (5, 0)
        assert lines["WALLET", ""] == (0, 5)
        assert (proof.blocks, proof.entries, list(proof.findings)) == (1, 1, [])


@pytest.mark.parametrize(
    "wrong",
    [
        recharge(source_no="P1"),
        recharge(template="recharged"),
        recharge(business_code=""),
        recharge(fee_minor=-1),
        recharge(trace_no=""),
    ],
)
async def test_a_malformed_posting_is_turned_away(ground, wrong):
    """By the contract's own rules, and alone."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        await open_accounts(stub, WALLET, CLEARING)

        answer = await stub.BatchPost(
            pb.BatchPostRequest(items=[item(recharge(), wrong), item(recharge(5))])
        )

        assert [one.status.reason for one in answer.results] == ["INVALID_FIELDS", ""]
        assert await balances(stub, WALLET) == [5]


async def test_what_payment_publishes_is_booked(ground):
    """The life of two payments and two refunds, out of order and twice over."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        await open_accounts(stub, WALLET, PENDING, CLEARING)
        paid, odd = payment(), payment(reported_minor=7)
        good, bad = refund(), refund(failure_reason="CHANNEL_REFUSED")
        asks = [
            ledger_pb2.Posting(
                template="REFUND_ASKED",
                source_no=one.refund_no,
                trace_no="MALL-1",
                business_code="MALL",
                amount=one.amount,
                fee_minor=one.fee_minor,
                merchant_id="mer_1",
            )
            for one in (good, bad)
        ]

        told = [
            payment_events.PaymentReviewed(payment=odd),
            payment_events.PaymentSucceeded(payment=paid),
        ]
        for _ in range(2):
            await ledger.applied(await ground.tell("payment", *told))
        answer = await stub.BatchPost(pb.BatchPostRequest(items=[item(*asks)]))
        assert [one.outcome for one in answer.results[0].postings] == [POSTED, POSTED]
        told = [
            payment_events.RefundFailed(refund=bad),
            payment_events.RefundSucceeded(refund=good),
            payment_events.RefundFailed(refund=refund(failure_reason="REFUND_UNFUNDED")),
            payment_events.PaymentFailed(payment=payment()),
        ]
        for _ in range(2):
            await ledger.applied(await ground.tell("payment", *told))

        assert await balances(stub, PENDING, CLEARING, key("SUSPENSE"), key("REFUND_TRANSIT")) == [
            9_940 - 4_970,
            9_962 - 5_000 + 7,
            7,
            0,
        ]
        assert ledger.dead_letters() == []
        templates = [one.voucher.template for one in ledger.published(events_pb2.VoucherPosted)]
        assert sorted(templates) == [
            "COLLECTED",
            "MISMATCH_SUSPENDED",
            "REFUND_ASKED",
            "REFUND_ASKED",
            "REFUND_FAILED",
            "REFUND_SUCCEEDED",
        ]


async def test_an_event_that_cannot_be_booked_is_set_aside(ground):
    """The others of its batch are booked."""
    async with ground.run("ledger") as ledger:
        stub = Neighbours(ledger)
        await open_accounts(stub, WALLET, PENDING, CLEARING)
        broken = payment_events.PaymentSucceeded(payment=payment(channel_code=""))
        whole = payment_events.PaymentSucceeded(payment=payment())

        await ledger.applied(await ground.tell("payment", broken, whole))

        assert [event.type for event in ledger.dead_letters()] == [
            "tongbao.payment.v1.PaymentSucceeded"
        ]
        assert await balances(stub, PENDING) == [9_940]


async def test_two_replicas_keep_one_book(ground):
    """Both post the same events at once: each is booked once, and the books are proved."""
    async with ground.run("ledger") as one, ground.run("ledger", replica=1) as other:
        stubs = [Neighbours(replica) for replica in (one, other)]
        await open_accounts(stubs[0], WALLET, CLEARING)
        requests = [
            pb.BatchPostRequest(items=[item(recharge(n + 1)) for n in range(40)]) for _ in range(6)
        ]

        answers = await asyncio.gather(*(s.BatchPost(r) for r in requests for s in stubs))

        outcomes = [
            sorted(result.postings[0].outcome for result in pair)
            for left, right in zip(answers[::2], answers[1::2], strict=True)
            for pair in zip(left.results, right.results, strict=True)
        ]
        assert outcomes == [[POSTED, EXISTS]] * 240
        assert await balances(stubs[1], WALLET) == [6 * 820]
        proof = await LedgerOpsServiceStub(other.operator()).ProveBook(ops.ProveBookRequest())
        assert (proof.entries, list(proof.findings)) == (240, [])
