"""The nouns of this service: legs, attempts, channel accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto
from functools import partial

from channel.states import State
from mesh.errors import Refused
from tongbao.channel.v1 import reasons_pb2 as reasons

refuse = partial(Refused, "channel.tongbao", reasons.Reason)

# Code of the built-in account and of its adapter: the platform's own wallets.
BALANCE = "balance"


class Operation(StrEnum):
    """What a leg asks for. Mirrors `Operation` in the contract."""

    PAY = auto()
    REFUND = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One leg to carry out. `tool` is the contract's name without its prefix: `QR_PAYER`.

    `fingerprint` tells a repeated leg from another one under the same number.
    `original_leg_no` is the leg to give back, `original_attempt_no` which attempt of it, its
    latest when empty; both are empty unless it is a refund.
    """

    leg_no: str
    app_id: str
    business_code: str
    user_no: str
    subject: str
    trace_no: str
    operation: Operation
    tool: str
    currency_code: str
    amount_minor: int
    original_leg_no: str
    original_attempt_no: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one leg at one channel. `attempt_no` is the number the provider sees.

    `sends` counts how often the request was handed to the network, the first time included;
    `sent_time` is when it last was. `tries` is the place on the ladder of inquiry;
    `due_time` is when to ask next, None when it is final. Times are business time. `closing`
    says that nobody wants it any more: it is not sent again, inquiry closes it; without any
    send it was closed before it was submitted.
    """

    attempt_no: str
    leg_no: str
    app_id: str
    business_code: str
    user_no: str
    subject: str
    trace_no: str
    operation: Operation
    tool: str
    channel_code: str
    currency_code: str
    amount_minor: int
    reported_minor: int
    reported_currency_code: str
    cost_minor: int
    original_attempt_no: str
    provider_no: str
    qr_code: str
    failure_reason: str
    state: State
    version: int
    due_time: datetime | None
    tries: int
    sends: int
    sent_time: datetime
    closing: bool
    create_time: datetime
    update_time: datetime

    @property
    def is_open(self) -> bool:
        """Return whether its outcome is still to come."""
        return self.state is State.PROCESSING


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAccount:
    """Our account at a provider, as operators set it up.

    Tools and currencies are sorted. `cost_ppm` is what the provider takes of a charge. The
    lowest `priority` is tried first.
    """

    channel_code: str
    adapter: str
    base_url: str
    provider_account: str
    secret: str = field(repr=False)
    tools: tuple[str, ...]
    currency_codes: tuple[str, ...]
    cost_ppm: int
    priority: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A callback that was verified and kept."""

    callback_id: int
    channel_code: str
    attempt_no: str
    verdict: str
    create_time: datetime
