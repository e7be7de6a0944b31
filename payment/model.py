"""The nouns of this service: frozen records, and what an attempt does to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from mesh.errors import Refused
from mesh.records import replace
from mesh.wire import malformed
from payment.attempt import MONEY, Attempt, AttemptState, leg_of
from payment.case import CaseKind, Subject, release_no
from payment.states import PAYMENT, REFUND, Event, PaymentState, RefundState
from tongbao.payment.v1 import reasons_pb2 as reasons

refuse = partial(Refused, "payment.tongbao", reasons.Reason)

# When somebody looks again at what is not final, counted from the look before; then hourly.
LADDER_SECONDS = (5, 10, 30, 60, 300, 900, 1_800)
_LATER_SECONDS = 3_600


UNFUNDED = "REFUND_UNFUNDED"  # Why a refund failed for which the merchant lacks the money.


class TradeType(StrEnum):
    """What a trade is for. Spelled as in the contract, without its prefix."""

    COLLECT = "COLLECT"
    RECHARGE = "RECHARGE"


class Tool(StrEnum):
    """How a payment is paid. Spelled as in the contract, without its prefix."""

    QR_PAYER = "QR_PAYER"
    BALANCE = "BALANCE"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One row of `payment`. Amounts are in minor units of `currency_code`.

    `attempt_no` is the attempt whose word brought it where it is, `attempt_state` that word.
    `from_suspense`: a person accepted its money, which stood in suspense until then.
    `release_round`: how often a person had it booked on from there after its account had refused
    it. `tries` is how often somebody looked at it again; `due_time` is when somebody will, None
    when it is decided.
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
    product_code: str = ""
    fee_minor: int
    cost_minor: int = 0
    refunded_minor: int = 0
    state: PaymentState = PaymentState.CREATED
    version: int = 1
    channel_code: str = ""
    attempt_no: str = ""
    attempt_state: str = ""
    reported_minor: int = 0
    reported_currency_code: str = ""
    review_kind: str = ""
    from_suspense: bool = False
    release_round: int = 0
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

    def unheard(self, *, now: datetime) -> Payment:
        """Return it as it is when nobody wants it any more and no channel has heard of it."""
        assert self.state is PaymentState.CREATED, f"{self.payment_no} may have been submitted"
        return self.moved(Event.WITHDRAW, now=now)

    def heard(
        self, attempt: Attempt, *, now: datetime, beaten: bool = False
    ) -> tuple[Payment, CaseKind | None]:
        """Return it as it is after `attempt`, itself if nothing changes, and the case to open.

        What comes twice or in another order leads to the same place, or to a case; what a person
        has judged is not judged again. It is `beaten` when another payment of its trade has won:
        then its success is a second one.
        """
        assert self.state is not PaymentState.CREATED, f"{self.payment_no} was never submitted"
        if attempt.repeats(self):
            return self, CaseKind.DUPLICATE_SUCCESS
        if attempt.was_heard(self):
            return self, None
        event = attempt.says(self)
        if event is None:
            return self._waiting(attempt, now=now), None
        if beaten and event is Event.MOVED:
            event = Event.CONFLICT
        if not PAYMENT.allows(self.state, event):
            return self, None
        after = self.moved(
            event,
            now=now,
            cost_minor=attempt.cost_minor if event in MONEY else 0,
            failure_reason=attempt.failure_reason,
            qr_code="",
            channel_code=attempt.channel_code,
            attempt_no=attempt.attempt_no,
            attempt_state=attempt.state.value,
        )
        if after.state is not PaymentState.REVIEW:
            return after, None
        kind = CaseKind.DUPLICATE_SUCCESS if beaten else _CONFLICTS[self.state.value]
        fits = attempt.fits(self)
        return replace(
            after,
            failure_reason=kind.value,
            review_kind=kind.value,
            reported_minor=0 if fits else attempt.moved_minor,
            reported_currency_code="" if fits else attempt.reported_currency_code,
        ), kind

    def resolved(self, event: Event, *, now: datetime) -> Payment:
        """Return it as it is after a person has said ACCEPT or GIVE_BACK. Raises Illegal."""
        if event is Event.GIVE_BACK:
            return self.moved(event, now=now)
        # What a channel took back by mistake is where it was before, wherever that was.
        parked = self.review_kind != CaseKind.CHANNEL_REVERSED
        return self.moved(
            event, now=now, failure_reason="", from_suspense=self.from_suspense or parked
        )

    @property
    def release_no(self) -> str:
        """Under which number its money leaves suspense; empty if nobody tried that."""
        if not self.release_round:
            return ""
        return release_no(self.payment_no, subject=Subject.PAYMENT, round_no=self.release_round)

    def releasing(self, *, round_no: int, now: datetime) -> Payment:
        """Return it as it is when its money is about to leave suspense in that round."""
        return replace(self, version=self.version + 1, release_round=round_no, update_time=now)

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

    def said_again(self, *, now: datetime) -> Payment:
        """Return it as it is, with the next version: what was said of it is said again."""
        return replace(self, version=self.version + 1, update_time=max(now, self.update_time))

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

    `attempt_no`, `attempt_state`, `tries` and `due_time` as those of a payment.
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
    attempt_state: str = ""
    reported_minor: int = 0
    review_kind: str = ""
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
        if attempt.was_heard(self) or event is None or not REFUND.allows(self.state, event):
            return self, None
        after = self.moved(
            event,
            now=now,
            channel_code=attempt.channel_code or self.channel_code,
            attempt_no=attempt.attempt_no,
            attempt_state=attempt.state.value,
            failure_reason=attempt.failure_reason,
        )
        if after.state is not RefundState.REVIEW:
            return after, None
        kind = _CONFLICTS[self.state.value]
        return replace(
            after,
            failure_reason=kind.value,
            review_kind=kind.value,
            reported_minor=0 if attempt.fits(self) else attempt.moved_minor,
        ), kind

    def resolved(self, event: Event, *, now: datetime) -> Refund:
        """Return it as it is after a person has said ACCEPT or GIVE_BACK. Raises Illegal."""
        reason = self.failure_reason if event is Event.GIVE_BACK else ""
        return self.moved(event, now=now, failure_reason=reason)


def never_charged(payment: Payment, *, reason: str) -> Attempt:
    """Return what it means for `payment` that no channel has ever heard of its leg."""
    return Attempt(
        leg_no=leg_of(payment.payment_no),
        app_id=payment.app_id,
        state=AttemptState.FAILED,
        currency_code=payment.currency_code,
        amount_minor=payment.amount_minor,
        failure_reason=reason,
    )
