"""The nouns of this service: frozen records, and what an attempt does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import partial
from typing import Any

from mesh.errors import Refused
from mesh.wire import malformed
from payment.states import PAYMENT, REFUND, Event, PaymentState, RefundState
from tongbao.payment.v1 import reasons_pb2 as reasons

refuse = partial(Refused, "payment.tongbao", reasons.Reason)

# When somebody looks again at what is not final, counted from the look before; then hourly.
LADDER_SECONDS = (5, 10, 30, 60, 300, 900, 1_800)
_LATER_SECONDS = 3_600
_CASE_TIME = timedelta(days=1)  # Within which a person should have resolved a case.


UNFUNDED = "REFUND_UNFUNDED"  # Why a refund failed for which the merchant lacks the money.


class TradeType(StrEnum):
    """What a trade is for. Spelled as in the contract, without its prefix."""

    COLLECT = "COLLECT"
    RECHARGE = "RECHARGE"


class Tool(StrEnum):
    """How a payment is paid. Spelled as in the contract, without its prefix."""

    QR_PAYER = "QR_PAYER"
    BALANCE = "BALANCE"


class CaseKind(StrEnum):
    """Why a person has to look. Also the `failure_reason` of what is under review."""

    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"  # What the channel reports is not what was asked.
    LATE_SUCCESS = "LATE_SUCCESS"  # Money moved after we had said that it had not.
    CHANNEL_REVERSED = "CHANNEL_REVERSED"  # The channel takes back its own success.
    DUPLICATE_SUCCESS = "DUPLICATE_SUCCESS"  # Money moved twice for one leg.
    LEDGER_REFUSED = "LEDGER_REFUSED"  # Money came in and its own accounts refused it.


class CaseState(StrEnum):
    """Whether a case still waits for somebody."""

    OPEN = auto()
    RESOLVED = auto()


class AttemptState(StrEnum):
    """What channel says of an attempt. Mirrors `Attempt.State` in its contract."""

    PROCESSING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    CLOSED = auto()
    REVIEW = auto()


_SAYS = {
    AttemptState.SUCCEEDED: Event.MOVED,
    AttemptState.FAILED: Event.REFUSED,
    AttemptState.CLOSED: Event.ENDED,
    AttemptState.REVIEW: Event.CONFLICT,
}
_MONEY = (Event.MOVED, Event.CONFLICT)  # Something moved, or may have.
# Where the order stood when facts began to conflict says what kind of conflict it is.
_CONFLICTS = {
    "processing": CaseKind.AMOUNT_MISMATCH,
    "succeeded": CaseKind.CHANNEL_REVERSED,
    "failed": CaseKind.LATE_SUCCESS,
    "closed": CaseKind.LATE_SUCCESS,
}


def next_look(tries: int, *, now: datetime) -> datetime:
    """Return when to look again at what was looked at `tries` times since it was accepted."""
    seconds = LADDER_SECONDS[tries] if tries < len(LADDER_SECONDS) else _LATER_SECONDS
    return now + timedelta(seconds=seconds)


def leg_of(number: str) -> str:
    """Return the leg of a payment or refund: there is one."""
    return f"{number}-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What channel says of a leg. Amounts are in minor units of `currency_code`.

    `attempt_no` and `channel_code` are empty when no channel was ever tried.
    """

    attempt_no: str = ""
    leg_no: str
    app_id: str
    state: AttemptState
    channel_code: str = ""
    currency_code: str
    amount_minor: int
    reported_minor: int = 0
    cost_minor: int = 0
    qr_code: str = ""
    failure_reason: str = ""

    @property
    def number(self) -> str:
        """The payment or refund whose leg it tries."""
        return self.leg_no.rpartition("-")[0]

    @property
    def moved_minor(self) -> int:
        """What moved, if money moved."""
        return self.reported_minor or self.amount_minor

    def says(self, order: Payment | Refund) -> Event | None:
        """Return what has happened to `order` by this; None while nothing is known."""
        fits = (self.currency_code, self.moved_minor) == (order.currency_code, order.amount_minor)
        fits = fits and self.amount_minor == order.amount_minor
        if self.state is AttemptState.SUCCEEDED and not fits:
            return Event.CONFLICT
        return _SAYS.get(self.state)

    def repeats(self, order: Payment | Refund) -> bool:
        """Return whether money moved again for an order that had its money moved before."""
        moved = self.says(order) in _MONEY
        decided = order.state.value in ("succeeded", "review")
        return moved and decided and self.attempt_no != order.attempt_no

    def facts(self, order: Payment | Refund) -> dict[str, str]:
        """Return what a person needs to know when this does not fit `order`."""
        return {
            "attempt_no": self.attempt_no,
            "attempt_state": self.state.name,
            "attempt_reason": self.failure_reason,
            "channel_code": self.channel_code,
            "currency_code": self.currency_code,
            "asked_minor": str(self.amount_minor),
            "moved_minor": str(self.moved_minor),
            "order_state": order.state.name,
            "order_currency_code": order.currency_code,
            "order_minor": str(order.amount_minor),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of `payment`. Amounts are in minor units of `currency_code`.

    `attempt_no` is the attempt whose word brought it where it is. `tries` is how often
    somebody looked at it again; `due_time` is when somebody will, None when it is decided.
    """

    payment_no: str
    app_id: str
    business_code: str
    trace_no: str
    trade_no: str
    trade_type: TradeType
    tool: Tool
    currency_code: str
    amount_minor: int
    merchant_id: str
    user_no: str
    subject: str
    fee_minor: int
    cost_minor: int = 0
    refunded_minor: int = 0
    state: PaymentState = PaymentState.CREATED
    version: int = 1
    channel_code: str = ""
    attempt_no: str = ""
    reported_minor: int = 0
    failure_reason: str = ""
    qr_code: str = ""
    due_time: datetime | None
    tries: int = 0
    create_time: datetime
    update_time: datetime

    def moved(self, event: Event, *, now: datetime, **changes: Any) -> Payment:
        """Return it as it is after `event`. Raises Illegal."""
        state = PAYMENT.next(self.state, event)
        is_open = state in (PaymentState.CREATED, PaymentState.PROCESSING)
        due_time = self.due_time if is_open else None
        changes |= {"state": state, "version": self.version + 1, "due_time": due_time}
        return replace(self, update_time=now, **changes)

    def heard(self, attempt: Attempt, *, now: datetime) -> tuple[Payment, CaseKind | None]:
        """Return it as it is after `attempt`, itself if nothing changes, and the case to open.

        What comes twice or in another order leads to the same place, or to a case.
        """
        assert self.state is not PaymentState.CREATED, f"{self.payment_no} was never submitted"
        if attempt.repeats(self):
            return self, CaseKind.DUPLICATE_SUCCESS
        event = attempt.says(self)
        if event is None:
            return self._waiting(attempt, now=now), None
        if not PAYMENT.allows(self.state, event):
            return self, None
        after = self.moved(
            event,
            now=now,
            cost_minor=attempt.cost_minor if event in _MONEY else 0,
            failure_reason=attempt.failure_reason,
            qr_code="",
            channel_code=attempt.channel_code,
            attempt_no=attempt.attempt_no,
        )
        if after.state is not PaymentState.REVIEW:
            return after, None
        kind = _CONFLICTS[self.state.value]
        reported = attempt.moved_minor if attempt.moved_minor != self.amount_minor else 0
        return replace(after, failure_reason=kind.value, reported_minor=reported), kind

    def _waiting(self, attempt: Attempt, *, now: datetime) -> Payment:
        """Return it with what the payer has to see, if that is news."""
        news: dict[str, Any] = {
            "qr_code": attempt.qr_code,
            "channel_code": attempt.channel_code,
            "attempt_no": attempt.attempt_no,
        }
        known = all(getattr(self, name) == value for name, value in news.items())
        if known or self.state is not PaymentState.PROCESSING:
            return self
        return replace(self, version=self.version + 1, update_time=now, **news)

    def check_refundable(self, amount_minor: int, currency_code: str) -> None:
        """Raise unless `amount_minor` may be given back now.

        Raises Malformed for another currency, which trade may not send, then Refused, in
        the order that the contract promises.
        """
        if currency_code != self.currency_code:
            raise malformed(
                "amount.currency_code",
                rule="payment_currency",
                description=f"must be {self.currency_code}, as in the payment",
            )
        if self.state is not PaymentState.SUCCEEDED or self.trade_type is not TradeType.COLLECT:
            raise refuse(
                reasons.REASON_PAYMENT_NOT_REFUNDABLE,
                payment_no=self.payment_no,
                state=self.state.name,
            )
        left_minor = self.amount_minor - self.refunded_minor
        if amount_minor > left_minor:
            raise refuse(
                reasons.REASON_REFUND_EXCEEDS_PAYMENT,
                payment_no=self.payment_no,
                left_minor_units=left_minor,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """A refund as trade asks for it. `fee_minor` is the part our fee income pays."""

    refund_no: str
    payment_no: str
    app_id: str
    currency_code: str
    amount_minor: int
    fee_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One row of `refund`. Amounts are in minor units of `currency_code`.

    `attempt_no`, `tries` and `due_time` as those of a payment.
    """

    refund_no: str
    payment_no: str
    trade_no: str
    app_id: str
    business_code: str
    trace_no: str
    currency_code: str
    amount_minor: int
    fee_minor: int
    merchant_id: str
    state: RefundState = RefundState.CREATED
    version: int = 1
    channel_code: str = ""
    attempt_no: str = ""
    failure_reason: str = ""
    due_time: datetime | None
    tries: int = 0
    create_time: datetime
    update_time: datetime

    def moved(self, event: Event, *, now: datetime, **changes: Any) -> Refund:
        """Return it as it is after `event`. Raises Illegal."""
        state = REFUND.next(self.state, event)
        is_open = state in (RefundState.CREATED, RefundState.PROCESSING)
        due_time = self.due_time if is_open else None
        changes |= {"state": state, "version": self.version + 1, "due_time": due_time}
        return replace(self, update_time=now, **changes)

    def heard(self, attempt: Attempt, *, now: datetime) -> tuple[Refund, CaseKind | None]:
        """Return it as it is after `attempt`, itself if nothing changes, and the case to open."""
        assert self.state is not RefundState.CREATED, f"{self.refund_no} was never submitted"
        if attempt.repeats(self):
            return self, CaseKind.DUPLICATE_SUCCESS
        event = attempt.says(self)
        if event is None or not REFUND.allows(self.state, event):
            return self, None
        kind = None
        reason = attempt.failure_reason
        if REFUND.next(self.state, event) is RefundState.REVIEW:
            kind = _CONFLICTS[self.state.value]
            reason = kind.value
        after = self.moved(
            event,
            now=now,
            channel_code=attempt.channel_code or self.channel_code,
            attempt_no=attempt.attempt_no,
            failure_reason=reason,
        )
        return after, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of `exception_case`. `number` is the order or attempt that it is about."""

    case_id: str
    kind: CaseKind
    number: str
    app_id: str
    trace_no: str
    facts: Mapping[str, str]
    state: CaseState = CaseState.OPEN
    deadline: datetime
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPosting:
    """What the ledger put into suspense, and why. The amount is in minor units."""

    template: str
    source_no: str
    app_id: str
    trace_no: str
    currency_code: str
    amount_minor: int
    refusal: str


def case_deadline(now: datetime) -> datetime:
    """Return until when a case that opens `now` should be resolved."""
    return now + _CASE_TIME
