"""A running settlement service, and events of payments and refunds."""

import itertools

import pytest

from tongbao.common.v1 import kinds_pb2, money_pb2
from tongbao.payment.v1 import events_pb2, payment_pb2

_SERIAL = itertools.count(1)


@pytest.fixture
async def settlement(ground):
    """The service in this process."""
    async with ground.run("settlement") as handle:
        yield handle


def _number(kind):
    return f"20261122{kind}{next(_SERIAL):016d}"


@pytest.fixture
def paid():
    """Return the event of a payment that succeeded; `changes` are fields of the payment."""

    def make(**changes):
        payment = payment_pb2.Payment(
            payment_no=_number("PY"),
            trade_no=_number("TR"),
            app_id="mall",
            business_code="MALL",
            trace_no="MALL-1",
            trade_type=kinds_pb2.TRADE_TYPE_COLLECT,
            tool=kinds_pb2.TOOL_QR_PAYER,
            amount=money_pb2.Money(currency_code="CNY", minor_units=10_000),
            merchant_id="m1",
            fee_minor=60,
            cost_minor=38,
            state=payment_pb2.Payment.STATE_SUCCEEDED,
            version=3,
        )
        payment.MergeFrom(payment_pb2.Payment(**changes))
        return events_pb2.PaymentSucceeded(payment=payment)

    return make


@pytest.fixture
def refunded():
    """Return the event of a refund that succeeded; `changes` are fields of the refund."""

    def make(**changes):
        refund = payment_pb2.Refund(
            refund_no=_number("RF"),
            payment_no=_number("PY"),
            trade_no=_number("TR"),
            app_id="mall",
            business_code="MALL",
            trace_no="MALL-1",
            amount=money_pb2.Money(currency_code="CNY", minor_units=2_500),
            fee_minor=15,
            merchant_id="m1",
            state=payment_pb2.Refund.STATE_SUCCEEDED,
            version=3,
        )
        refund.MergeFrom(payment_pb2.Refund(**changes))
        return events_pb2.RefundSucceeded(refund=refund)

    return make


@pytest.fixture
def items(settlement):
    """Return a function: the source numbers of all clearing items, in order."""

    def numbers():
        rows = settlement.rows("SELECT source_no FROM clearing_item ORDER BY source_no")
        return [number for (number,) in rows]

    return numbers
