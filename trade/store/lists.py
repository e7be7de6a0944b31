"""What is listed, the newest first, and along which index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mesh.clock import Clock
from mesh.db import Database
from mesh.lists import Listing, Page, Wanted, list_rows
from mesh.numbers import Kind, first_at
from trade.model import Refund, Trade
from trade.store.columns import (
    REFUND,
    TRADE,
    WEBHOOK,
    WEBHOOK_ATTEMPT,
    refund,
    trade,
    webhook,
    webhook_attempt,
)
from trade.webhook import Webhook, WebhookAttempt

# A number is made a moment after its row's creation time; clocks of replicas differ a little.
_MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `since` until before `until`, in business time; None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def low(self, kind: Kind, clock: Clock) -> str:
        """Return what no number of the span is below."""
        if self.since is None:
            return ""
        return first_at(kind, (self.since - _MARGIN).astimezone(clock.zone))

    def high(self, kind: Kind, clock: Clock) -> str:
        """Return what every number of the span is below."""
        if self.until is None:
            return ""
        return first_at(kind, (self.until + _MARGIN).astimezone(clock.zone))


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFilter:
    """Which trades; empty values ask for nothing."""

    states: Sequence[str]
    span: Span
    merchant_id: str
    user_no: str
    product_code: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFilter:
    """Which refunds; empty values ask for nothing."""

    trade_no: str
    states: Sequence[str]
    span: Span


async def find_trades(
    db: Database, clock: Clock, wanted: TradeFilter, page: Page, *, app_id: str
) -> tuple[list[Trade], str]:
    """Return a page of the app's trades and the token of the next one."""
    rows, token = await list_rows(
        db,
        _TRADES,
        Wanted(
            along={
                "app_id": app_id,
                "merchant_id": wanted.merchant_id,
                "user_no": wanted.user_no,
            },
            picks={
                "state": wanted.states,
                "product_code": wanted.product_code,
                "type": wanted.type,
            },
            low=wanted.span.low(Kind.TRADE, clock),
            high=wanted.span.high(Kind.TRADE, clock),
            since=wanted.span.since,
            until=wanted.span.until,
        ),
        page,
    )
    return [one for row in rows if (one := trade(row)) is not None], token


async def find_refunds(
    db: Database, clock: Clock, wanted: RefundFilter, page: Page, *, app_id: str
) -> tuple[list[Refund], str]:
    """Return a page of the app's refunds and the token of the next one."""
    rows, token = await list_rows(
        db,
        _REFUNDS,
        Wanted(
            along={"app_id": app_id, "trade_no": wanted.trade_no},
            picks={"state": wanted.states},
            low=wanted.span.low(Kind.REFUND, clock),
            high=wanted.span.high(Kind.REFUND, clock),
            since=wanted.span.since,
            until=wanted.span.until,
        ),
        page,
    )
    return [one for row in rows if (one := refund(row)) is not None], token


async def find_webhooks(
    db: Database, page: Page, *, app_id: str, trace_no: str, states: Sequence[str]
) -> tuple[list[Webhook], str]:
    """Return a page of the app's webhooks, perhaps of one trace, and the next one's token."""
    wanted = Wanted(along={"app_id": app_id, "trace_no": trace_no}, picks={"state": states})
    rows, token = await list_rows(db, _WEBHOOKS, wanted, page)
    return [webhook(row) for row in rows], token


async def find_webhook_attempts(
    db: Database, page: Page, *, app_id: str, webhook_id: str
) -> tuple[list[WebhookAttempt], str]:
    """Return a page of the tries of the app's webhook, and the next one's token."""
    wanted = Wanted(along={"app_id": app_id, "webhook_id": webhook_id})
    rows, token = await list_rows(db, _ATTEMPTS, wanted, page)
    return [webhook_attempt(row) for row in rows], token


_TRADES = Listing(table="trade", key="trade_no", columns=tuple(TRADE))
_REFUNDS = Listing(table="refund", key="refund_no", columns=tuple(REFUND))
_WEBHOOKS = Listing(table="webhook", key="webhook_id", columns=tuple(WEBHOOK))
_ATTEMPTS = Listing(
    table="webhook_attempt",
    key="attempt_id",
    columns=(*WEBHOOK_ATTEMPT, "app_id"),
    key_of=int,
)
