"""The nouns of this service: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum, auto

from risk.states import State


class Verdict(StrEnum):
    """What risk says. Mirrors `Decision` in the contract."""

    PASS = auto()
    BLOCK = auto()


class Cause(StrEnum):
    """Why a payment is blocked, as the contract spells it."""

    NOTHING = ""  # It passes.
    DENY_LIST = "DENY_LIST"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One payment to evaluate. `business_date` is the day whose limit it takes from."""

    payment_no: str
    app_id: str
    trace_no: str
    user_no: str
    currency_code: str
    amount_minor: int
    business_date: date
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a payment and, as long as the row lives, will be."""

    verdict: Verdict
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision as a trace shows it."""

    payment_no: str
    verdict: Verdict
    cause: Cause
    state: State
    currency_code: str
    amount_minor: int
    business_date: date
    create_time: datetime
    update_time: datetime
