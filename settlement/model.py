"""The nouns of this service: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto

from settlement.states import State


class Kind(StrEnum):
    """What is cleared, and so the sense of the amounts: a refund counts against the merchant."""

    PAYMENT = auto()
    REFUND = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingItem:
    """What one success means for merchant and platform, in minor units of `currency_code`.

    All amounts are positive; `kind` gives the sense. `net_minor` is what the merchant gets for
    a payment, or gives back for a refund. Fee and cost are snapshots taken before the charge.
    """

    source_no: str
    kind: Kind
    app_id: str
    trace_no: str
    trade_no: str
    merchant_id: str
    currency_code: str
    gross_minor: int
    fee_minor: int  # Payment: what the merchant pays us. Refund: what of it we give back.
    cost_minor: int  # What the channel takes from us; 0 for a refund.

    @property
    def net_minor(self) -> int:
        """What of the gross is the merchant's."""
        return self.gross_minor - self.fee_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One clearing item as a trace shows it."""

    source_no: str
    kind: Kind
    merchant_id: str
    currency_code: str
    gross_minor: int
    fee_minor: int
    cost_minor: int
    net_minor: int
    state: State
    create_time: datetime
    update_time: datetime
