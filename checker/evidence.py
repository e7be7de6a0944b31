"""What the checker judges: plain records of what was asked, told, delivered, moved and shown.

Nothing here comes from a service's own memory of itself but what its public rpcs show.
Amounts are minor units. States and kinds are spelled as in the contracts, without prefixes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OK = "OK"
# Codes after which nobody knows whether the call was carried out.
MAYBE = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED", "UNAVAILABLE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a caller was answered. `code` is a gRPC code; what an error lacks is empty."""

    code: str
    reason: str = ""
    replayed: bool = False
    trade_no: str = ""
    trade_state: str = ""
    payment_no: str = ""
    payment_state: str = ""
    refund_no: str = ""
    refund_state: str = ""
    failure_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that changes something, written down before it was sent.

    `number` is the caller's own number of this call: request id or refund order number.
    `answer` is None when the caller never got one.
    """

    seq: int
    story: str
    verb: str
    app: str
    trace_no: str
    number: str
    amount_minor: int
    currency_code: str
    trade_type: str = ""
    tool: str = ""
    merchant_id: str = ""
    user_no: str = ""
    answer: Told | None = None

    @property
    def was_done(self) -> bool:
        """Whether it was acknowledged."""
        return self.answer is not None and self.answer.code == OK

    @property
    def may_be_done(self) -> bool:
        """Whether it was carried out, as far as its answer says."""
        return self.answer is None or self.was_done or self.answer.code in MAYBE


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One order as the provider has it. `moved_minor` is 0 until money moved.

    `kind` is `charge`, `refund`, or `second_charge`: a charge paid once more, under a number of
    the provider's. `of` is the charge that is given back, or was paid again. `state` REVERSED
    says that money moved and went back; then nothing has moved.
    """

    kind: str
    acquirer: str
    number: str
    of: str
    state: str
    amount_minor: int
    moved_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook as the receiver's own log has it, in order of arrival.

    `state` and the amounts are read from `body`; `signed` says whether it was signed by us.
    """

    app: str
    webhook_id: str
    event_type: str
    number: str
    trace_no: str
    version: int
    state: str
    body: str
    signed: bool
    answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of GetTrace. Times are RFC 3339 or empty."""

    service: str
    kind: str
    number: str
    state: str = ""
    amount_minor: int = 0
    currency_code: str = ""
    create_time: str = ""
    update_time: str = ""
    due_time: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeNow:
    """GetTrade at the end."""

    trade_no: str
    trace_no: str
    state: str
    version: int
    amount_minor: int
    refunded_minor: int
    currency_code: str
    merchant_id: str = ""
    user_no: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNow:
    """GetRefund at the end."""

    refund_no: str
    trade_no: str
    trace_no: str
    state: str
    version: int
    amount_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One line of the trial balance, or one wallet."""

    kind: str
    owner: str
    currency_code: str
    debit_minor: int
    credit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a merchant pays, as it was agreed. `policy` is RETURN or KEEP."""

    rate_ppm: int
    least_minor: int
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a trade or refund looked to its app at some moment between two times.

    Times are nanoseconds of one monotonic clock: of the question and of the answer.
    """

    number: str
    trace_no: str
    state: str
    version: int
    asked_ns: int
    told_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The trial balance at one moment in the middle of everything: debits less credits."""

    told_ns: int
    gap_minor: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrusion:
    """A call that nobody may make, and how it was answered. `expected` is the right reason."""

    what: str
    verb: str
    expected: str
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything together, taken when nothing moved any more.

    `cost_ppm` is by channel account and names the external ones; `wallets` have the balance
    as credit; `proof` is what ProveBook found. The last three are of runs under faults: what
    was seen while it went on.
    """

    calls: Sequence[Call]
    movements: Sequence[Movement]
    deliveries: Sequence[Delivery]
    traces: Mapping[str, Sequence[Entry]]
    trades: Mapping[str, TradeNow]
    refunds: Mapping[str, RefundNow]
    wallets: Sequence[Balance]
    trial: Sequence[Balance]
    proof: Sequence[str]
    cost_ppm: Mapping[str, int]
    terms: Mapping[str, Terms]
    sights: Sequence[Sight] = ()
    snapshots: Sequence[Snapshot] = ()
    intrusions: Sequence[Intrusion] = ()
