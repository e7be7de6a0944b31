"""The nouns of this service: frozen records and the pure rules about them.

Amounts are in minor units of the record's `currency_code`; times are business time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import partial

from mesh.errors import Refused
from mesh.records import replace
from tongbao.trade.v1 import reasons_pb2 as reasons
from trade.states import (
    REFUND,
    TRADE,
    PayState,
    RefundEvent,
    RefundState,
    TradeEvent,
    TradeState,
)

refuse = partial(Refused, "trade.tongbao", reasons.Reason)

# How long after the claim, and after each look, an open payment or refund is asked for again.
INQUIRY = tuple(timedelta(seconds=s) for s in (5, 10, 30, 60, 300, 900, 1800, 3600))


class TradeType(StrEnum):
    """What a trade is for. Mirrors `TradeType` in the contract."""

    COLLECT = auto()
    RECHARGE = auto()


class Tool(StrEnum):
    """A way to pay. Mirrors `Tool` in the contract; NONE before the first try."""

    NONE = auto()
    QR_PAYER = auto()
    BALANCE = auto()


class FeePolicy(StrEnum):
    """What happens to the fee of a refund. Mirrors `FeeTerms.RefundPolicy`."""

    RETURN = auto()
    KEEP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A business line. `webhook_secret` is sealed for its row; no webhooks without a url."""

    app_id: str
    business_code: str
    name: str
    webhook_url: str
    webhook_secret: bytes = field(repr=False)
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """Who is owed the money of collections, and what it pays for them."""

    merchant_id: str
    app_id: str
    name: str
    currency_codes: tuple[str, ...]
    rate_ppm: int
    least_minor: int
    refund_policy: FeePolicy
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A kind of trade. `tools` in order of preference."""

    product_code: str
    type: TradeType
    name: str
    tools: tuple[Tool, ...]
    expiry_seconds: int
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """One user's wallet in one currency; its balance is the ledger's."""

    wallet_id: str
    app_id: str
    user_no: str
    currency_code: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A trade that does not exist yet, as its caller describes it."""

    order_no: str
    product_code: str
    merchant_id: str
    user_no: str
    currency_code: str
    amount_minor: int
    subject: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try to pay, as its caller describes it."""

    request_id: str
    tool: Tool
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """What payment says of one try. `version` is payment's own.

    `review_kind` says why it is or was under review, empty when it never was.
    """

    payment_no: str
    state: PayState
    version: int
    qr_code: str
    failure_reason: str
    review_kind: str = ""
    fee_minor: int = 0
    tool: Tool = Tool.NONE

    @property
    def is_accepted(self) -> bool:
        """Return whether a person has said that it counts."""
        return self.state is PayState.SUCCEEDED and bool(self.review_kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One row of `trade`: what was asked for, and its latest try to pay.

    `payment_no` is the latest try, `pay_*` and the two columns after them how payment saw
    it last; whether it is open is `is_open`. `fee_minor` is the fee of that try and
    `fee_policy` what a refund does to it. `due_time` is set while somebody has to look again,
    `tries` how often somebody did. `closing` says that somebody wants it closed and nobody has
    said yet that its open try is unpaid.
    """

    trade_no: str
    app_id: str
    business_code: str
    order_no: str
    trace_no: str
    type: TradeType
    product_code: str
    merchant_id: str
    user_no: str
    currency_code: str
    amount_minor: int
    refunded_minor: int
    fee_minor: int
    fee_policy: FeePolicy
    fee_refunded_minor: int
    subject: str
    state: TradeState
    version: int
    payment_no: str
    pay_tool: Tool
    pay_state: PayState
    pay_version: int
    qr_code: str
    failure_reason: str
    expire_time: datetime
    due_time: datetime | None
    tries: int
    closing: bool
    create_time: datetime
    update_time: datetime

    @property
    def is_open(self) -> bool:
        """Return whether a try is not final yet: no other one may begin."""
        booked = self.type is TradeType.COLLECT or self.state is not TradeState.PAYING
        waits = self.pay_state is PayState.SUCCEEDED and not booked
        return self.pay_state is PayState.PROCESSING or waits

    @property
    def held_payment_no(self) -> str:
        """Return the payment that is tried or that won; empty when the latest try is over."""
        over = self.pay_state in (PayState.FAILED, PayState.CLOSED)
        return "" if over else self.payment_no

    def check_payable(self, *, late: bool) -> None:
        """Raise Refused unless a try may begin. The order is the contract's precedence."""
        if not TRADE.allows(self.state, TradeEvent.PAY):
            raise refuse(
                reasons.REASON_TRADE_NOT_PAYABLE, trade_no=self.trade_no, state=self.state.name
            )
        if late:
            raise refuse(
                reasons.REASON_TRADE_EXPIRED,
                trade_no=self.trade_no,
                expire_time=self.expire_time.isoformat(),
            )
        if self.is_open:
            raise refuse(
                reasons.REASON_PAYMENT_IN_PROGRESS,
                trade_no=self.trade_no,
                payment_no=self.payment_no,
            )

    @property
    def is_closable(self) -> bool:
        """Return whether it may still be closed: it is not paid, as far as we know."""
        charged = self.pay_state is PayState.SUCCEEDED
        return TRADE.allows(self.state, TradeEvent.CLOSE) and not charged

    def is_over(self, *, now: datetime) -> bool:
        """Return whether nobody may pay it any more, so that it is to be closed."""
        return self.is_closable and (self.closing or now >= self.expire_time)

    def check_closable(self) -> None:
        """Raise Refused(TRADE_NOT_CLOSABLE) when it is paid or a person has the word."""
        if not self.is_closable:
            raise refuse(
                reasons.REASON_TRADE_NOT_CLOSABLE, trade_no=self.trade_no, state=self.state.name
            )

    def check_refundable(self, amount_minor: int, currency_code: str) -> None:
        """Raise Refused unless so much may be given back. The order is the contract's."""
        if currency_code != self.currency_code:
            raise refuse(
                reasons.REASON_CURRENCY_MISMATCH, want=self.currency_code, got=currency_code
            )
        if self.state is not TradeState.PAID or self.type is not TradeType.COLLECT:
            raise refuse(
                reasons.REASON_TRADE_NOT_REFUNDABLE,
                trade_no=self.trade_no,
                state=self.state.name,
                type=self.type.name,
            )
        left_minor = self.amount_minor - self.refunded_minor
        if amount_minor > left_minor:
            raise refuse(
                reasons.REASON_REFUND_EXCEEDS_TRADE,
                trade_no=self.trade_no,
                left_minor_units=left_minor,
            )

    def after_wish(self, *, now: datetime) -> Trade:
        """Return the trade after somebody wants it closed; itself when that changes nothing.

        It is closed when no try is open. Otherwise the wish is in the row until the try is
        over, and somebody looks again.
        """
        if not self.is_closable:
            return self
        if not self.is_open:
            return self.moved(TradeEvent.CLOSE).changed(now=now)
        if self.closing:
            return self
        seen = replace(self, closing=True, tries=0, due_time=look_again(now, tries=0))
        return seen.changed(now=now)

    def after_unwish(self, *, now: datetime) -> Trade:
        """Return the trade after the wish to close it was refused; itself once it is over.

        One that has expired is to be closed whoever wants it.
        """
        if not (self.closing and self.is_closable) or now >= self.expire_time:
            return self
        return replace(self, closing=False).changed(now=now)

    def moved(self, event: TradeEvent) -> Trade:
        """Return the trade after `event`; itself where a person has the word (REVIEW)."""
        if not TRADE.allows(self.state, event):
            return self
        return replace(self, state=TRADE.next(self.state, event))

    def changed(self, *, now: datetime) -> Trade:
        """Return the trade as the next version of itself."""
        return replace(
            self,
            version=self.version + 1,
            due_time=self.due_time if self.is_open else self._expiry,
            update_time=max(now, self.update_time),
        )

    @property
    def _expiry(self) -> datetime | None:
        """Return when a trade that nobody tries to pay is to be closed; None when it is over."""
        return self.expire_time if TRADE.allows(self.state, TradeEvent.CLOSE) else None

    def next_look(self, *, now: datetime) -> datetime:
        """Return when to look again after one more look; when it expires at the latest."""
        if not self.is_open:
            return self.expire_time
        later = look_again(now, tries=self.tries + 1)
        expires = self.is_closable and not self.is_over(now=now)
        return min(later, self.expire_time) if expires else later


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One row of `refund`. `fee_minor` is the part that our fee income pays."""

    refund_no: str
    app_id: str
    refund_order_no: str
    trade_no: str
    payment_no: str
    trace_no: str
    currency_code: str
    amount_minor: int
    fee_minor: int
    cause: str
    state: RefundState
    version: int
    pay_version: int
    failure_reason: str
    due_time: datetime | None
    tries: int
    create_time: datetime
    update_time: datetime

    def after_told(
        self, event: RefundEvent | None, *, version: int, failure_reason: str, now: datetime
    ) -> Refund:
        """Return the refund after payment said so at its `version`; itself if that is old."""
        if event is None or version <= self.pay_version or not REFUND.allows(self.state, event):
            return self
        return replace(
            self,
            state=REFUND.next(self.state, event),
            version=self.version + 1,
            pay_version=version,
            failure_reason=failure_reason,
            due_time=None,
            update_time=max(now, self.update_time),
        )


def trace_of(business_code: str, order_no: str) -> str:
    """Return the trace number of an order."""
    return f"{business_code}-{order_no}"


def look_again(now: datetime, *, tries: int) -> datetime:
    """Return when an open payment or refund that was looked at `tries` times is due."""
    return now + INQUIRY[min(tries, len(INQUIRY) - 1)]
