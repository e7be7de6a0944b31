"""The life of a payment, a refund, a give-back and a case. Read this file first."""

from __future__ import annotations

from enum import StrEnum, auto

from mesh.states import Machine


class PaymentState(StrEnum):
    """Where a payment is. Mirrors `Payment.State` in the contract."""

    CREATED = auto()
    PROCESSING = auto()  # Handed to a channel. Unknown is not failed.
    SUCCEEDED = auto()
    FAILED = auto()
    CLOSED = auto()
    REVIEW = auto()  # Facts conflict; a person decides.


class RefundState(StrEnum):
    """Where a refund is. Mirrors `Refund.State` in the contract."""

    CREATED = auto()
    PROCESSING = auto()  # The merchant's money is in transit; the payer may have it.
    SUCCEEDED = auto()
    FAILED = auto()
    REVIEW = auto()  # Facts conflict; a person decides.


class GiveBackState(StrEnum):
    """Where the money of a case is on its way back. Mirrors `GiveBack.State`."""

    CREATED = auto()
    PROCESSING = auto()  # Its money is in transit; the payer may have it.
    SUCCEEDED = auto()
    FAILED = auto()  # The money stands where it stood before.
    REVIEW = auto()  # Facts conflict; a person decides.


class CaseState(StrEnum):
    """Where a case is. Mirrors `Case.State` in the contract."""

    OPEN = auto()
    PROPOSED = auto()  # One person has said how; another one has to agree.
    EXECUTING = auto()  # It is decided, and being carried out.
    RESOLVED = auto()


class CaseEvent(StrEnum):
    """What can happen to a case. Written into its history as it is spelled here."""

    OPENED = auto()
    ASSIGN = auto()  # Changes who takes care of it, not where it is.
    PROPOSE = auto()
    APPROVE = auto()
    REJECT = auto()
    BEGIN = auto()  # By a rule, or by one person when no money moves.
    FINISH = auto()
    FAIL = auto()  # What was decided could not be done: somebody has to decide anew.


class Event(StrEnum):
    """What can happen to a payment, a refund or a give-back."""

    SUBMIT = auto()  # We hand it to a channel.
    DECLINE = auto()  # Risk or the ledger says no, before any channel has heard of it.
    WITHDRAW = auto()  # Nobody wants it any more, before any channel has heard of it.
    MOVED = auto()  # The channel says: the money moved, and it is what we asked for.
    REFUSED = auto()  # The channel says: the money did not move.
    ENDED = auto()  # The channel says: it is over, without money.
    CONFLICT = auto()  # The channel says what does not fit our order.
    ACCEPT = auto()  # A person says: what moved counts.
    GIVE_BACK = auto()  # A person says: what moved was given back.


# A final state is left only to REVIEW, always with a case. Money that moves after we said
# FAILED or CLOSED is a late success: it was told to nobody, and it is not lost.
PAYMENT = Machine(
    "payment",
    PaymentState.CREATED,
    [
        (PaymentState.CREATED,    Event.SUBMIT,    PaymentState.PROCESSING),
        (PaymentState.CREATED,    Event.DECLINE,   PaymentState.FAILED),
        (PaymentState.CREATED,    Event.WITHDRAW,  PaymentState.CLOSED),
        (PaymentState.PROCESSING, Event.MOVED,     PaymentState.SUCCEEDED),
        (PaymentState.PROCESSING, Event.REFUSED,   PaymentState.FAILED),
        (PaymentState.PROCESSING, Event.ENDED,     PaymentState.CLOSED),
        (PaymentState.PROCESSING, Event.CONFLICT,  PaymentState.REVIEW),
        (PaymentState.FAILED,     Event.MOVED,     PaymentState.REVIEW),
        (PaymentState.FAILED,     Event.CONFLICT,  PaymentState.REVIEW),
        (PaymentState.CLOSED,     Event.MOVED,     PaymentState.REVIEW),
        (PaymentState.CLOSED,     Event.CONFLICT,  PaymentState.REVIEW),
        (PaymentState.SUCCEEDED,  Event.CONFLICT,  PaymentState.REVIEW),
        (PaymentState.REVIEW,     Event.ACCEPT,    PaymentState.SUCCEEDED),
        (PaymentState.REVIEW,     Event.GIVE_BACK, PaymentState.CLOSED),
    ],
)  # fmt: skip

REFUND = Machine(
    "refund",
    RefundState.CREATED,
    [
        (RefundState.CREATED,    Event.SUBMIT,    RefundState.PROCESSING),
        (RefundState.CREATED,    Event.DECLINE,   RefundState.FAILED),
        (RefundState.PROCESSING, Event.MOVED,     RefundState.SUCCEEDED),
        (RefundState.PROCESSING, Event.REFUSED,   RefundState.FAILED),
        (RefundState.PROCESSING, Event.ENDED,     RefundState.FAILED),
        (RefundState.PROCESSING, Event.CONFLICT,  RefundState.REVIEW),
        (RefundState.FAILED,     Event.MOVED,     RefundState.REVIEW),
        (RefundState.FAILED,     Event.CONFLICT,  RefundState.REVIEW),
        (RefundState.SUCCEEDED,  Event.CONFLICT,  RefundState.REVIEW),
        (RefundState.REVIEW,     Event.ACCEPT,    RefundState.SUCCEEDED),
        (RefundState.REVIEW,     Event.GIVE_BACK, RefundState.FAILED),
    ],
)  # fmt: skip

GIVE_BACK = Machine(
    "give_back",
    GiveBackState.CREATED,
    [
        (GiveBackState.CREATED,    Event.SUBMIT,   GiveBackState.PROCESSING),
        (GiveBackState.CREATED,    Event.DECLINE,  GiveBackState.FAILED),
        (GiveBackState.PROCESSING, Event.MOVED,    GiveBackState.SUCCEEDED),
        (GiveBackState.PROCESSING, Event.REFUSED,  GiveBackState.FAILED),
        (GiveBackState.PROCESSING, Event.ENDED,    GiveBackState.FAILED),
        (GiveBackState.PROCESSING, Event.CONFLICT, GiveBackState.REVIEW),
        (GiveBackState.SUCCEEDED,  Event.CONFLICT, GiveBackState.REVIEW),
        (GiveBackState.FAILED,     Event.MOVED,    GiveBackState.REVIEW),
        (GiveBackState.FAILED,     Event.CONFLICT, GiveBackState.REVIEW),
    ],
)  # fmt: skip

# A conflict that comes again opens its case again, wherever that is.
CASE = Machine(
    "exception_case",
    CaseState.OPEN,
    [
        (CaseState.OPEN,      CaseEvent.PROPOSE, CaseState.PROPOSED),
        (CaseState.OPEN,      CaseEvent.BEGIN,   CaseState.EXECUTING),
        (CaseState.PROPOSED,  CaseEvent.APPROVE, CaseState.EXECUTING),
        (CaseState.PROPOSED,  CaseEvent.REJECT,  CaseState.OPEN),
        (CaseState.PROPOSED,  CaseEvent.OPENED,  CaseState.OPEN),
        (CaseState.EXECUTING, CaseEvent.FINISH,  CaseState.RESOLVED),
        (CaseState.EXECUTING, CaseEvent.FAIL,    CaseState.OPEN),
        (CaseState.EXECUTING, CaseEvent.OPENED,  CaseState.OPEN),
        (CaseState.RESOLVED,  CaseEvent.OPENED,  CaseState.OPEN),
    ],
)  # fmt: skip
