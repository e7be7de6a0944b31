"""The life of a trade, of a refund and of a webhook. Read this file first."""

from __future__ import annotations

from enum import StrEnum, auto

from mesh.states import Machine


class TradeState(StrEnum):
    """Where a trade is. Mirrors `Trade.State` in the contract."""

    CREATED = auto()
    PAYING = auto()  # A payment was tried; it may be over without money, then another may be.
    PAID = auto()
    COMPLETED = auto()
    CLOSED = auto()
    REVIEW = auto()  # Facts conflict; a person decides.


class TradeEvent(StrEnum):
    """What can happen to a trade."""

    PAY = auto()  # A payment begins.
    CHARGED = auto()  # The payer was charged, and where it matters the money is booked.
    DOUBT = auto()  # Its payment is under review, or another one charged the payer too.
    CONFIRM = auto()  # The payer has the goods; only products that wait for it.
    CLOSE = auto()  # Nobody will pay it.
    ACCEPT = auto()  # A person says: it is paid.
    GIVE_BACK = auto()  # A person says: the payer gets the money back.


class PayState(StrEnum):
    """Where the latest try to pay is. Mirrors `PaymentView.State` in the contract."""

    NONE = auto()  # Nobody has tried.
    PROCESSING = auto()  # Unknown is not failed.
    SUCCEEDED = auto()
    FAILED = auto()
    CLOSED = auto()
    REVIEW = auto()


class RefundState(StrEnum):
    """Where a refund is. Mirrors `Refund.State` in the contract."""

    PROCESSING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    REVIEW = auto()


class RefundEvent(StrEnum):
    """What payment can say of a refund."""

    ARRIVED = auto()  # The payer has the money.
    REFUSED = auto()  # The payer does not have it and will not; the merchant has it again.
    DOUBT = auto()  # Facts conflict; a person decides.


class WebhookState(StrEnum):
    """Where a webhook is."""

    PENDING = auto()
    DELIVERED = auto()
    EXHAUSTED = auto()  # Every try failed: a dead letter, until it is resent by hand.


class WebhookEvent(StrEnum):
    """What can become of a try to deliver."""

    TAKEN = auto()  # The receiver answered 2xx.
    GIVEN_UP = auto()  # The last try failed.
    RESENT = auto()  # Somebody asked for another try, whatever became of the others.


# PAYING and PAID lead to REVIEW beside the CLOSED of decisions.md 20: a payment whose facts
# conflict, or a second one that charged the payer, leaves nobody who could say that the
# trade is simply open or simply paid (docs/decisions/0005). From there a person leads on.
TRADE = Machine(
    "trade",
    TradeState.CREATED,
    [
        (TradeState.CREATED, TradeEvent.PAY,       TradeState.PAYING),
        (TradeState.PAYING,  TradeEvent.PAY,       TradeState.PAYING),
        (TradeState.PAYING,  TradeEvent.CHARGED,   TradeState.PAID),
        (TradeState.PAID,    TradeEvent.CONFIRM,   TradeState.COMPLETED),
        (TradeState.CREATED, TradeEvent.CLOSE,     TradeState.CLOSED),
        (TradeState.PAYING,  TradeEvent.CLOSE,     TradeState.CLOSED),
        (TradeState.PAYING,  TradeEvent.DOUBT,     TradeState.REVIEW),
        (TradeState.PAID,    TradeEvent.DOUBT,     TradeState.REVIEW),
        (TradeState.CLOSED,  TradeEvent.DOUBT,     TradeState.REVIEW),
        (TradeState.REVIEW,  TradeEvent.ACCEPT,    TradeState.PAID),
        (TradeState.REVIEW,  TradeEvent.GIVE_BACK, TradeState.CLOSED),
    ],
)  # fmt: skip

# Where whoever waits for a trade has what it waited for. What may follow (a confirmation, a
# refund, a doubt) is told by webhooks.
SETTLED = frozenset({TradeState.PAID, TradeState.COMPLETED, TradeState.CLOSED})

REFUND = Machine(
    "refund",
    RefundState.PROCESSING,
    [
        (RefundState.PROCESSING, RefundEvent.ARRIVED, RefundState.SUCCEEDED),
        (RefundState.PROCESSING, RefundEvent.REFUSED, RefundState.FAILED),
        (RefundState.PROCESSING, RefundEvent.DOUBT,   RefundState.REVIEW),
        (RefundState.SUCCEEDED,  RefundEvent.DOUBT,   RefundState.REVIEW),
        (RefundState.REVIEW,     RefundEvent.ARRIVED, RefundState.SUCCEEDED),
        (RefundState.REVIEW,     RefundEvent.REFUSED, RefundState.FAILED),
    ],
)  # fmt: skip

WEBHOOK = Machine(
    "webhook",
    WebhookState.PENDING,
    [
        (WebhookState.PENDING,   WebhookEvent.TAKEN,    WebhookState.DELIVERED),
        (WebhookState.PENDING,   WebhookEvent.GIVEN_UP, WebhookState.EXHAUSTED),
        (WebhookState.PENDING,   WebhookEvent.RESENT,   WebhookState.PENDING),
        (WebhookState.DELIVERED, WebhookEvent.RESENT,   WebhookState.PENDING),
        (WebhookState.EXHAUSTED, WebhookEvent.RESENT,   WebhookState.PENDING),
    ],
)  # fmt: skip
