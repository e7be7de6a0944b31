"""What a channel adapter is: pure steps from our orders to calls, from replies to results.

An adapter does no I/O and knows no time. Its methods are generators: each yields what is to
be sent, is handed what came back, and returns a Result; `channel/transport.py` does the
sockets and decides what a network fault means, so an adapter cannot get that wrong.

Three rules hold everywhere. Unknown is not failed: only an explicit, verified answer makes a
Result FAILED. A Result says what the provider said; whether it fits our order is checked by
whoever applies it. Amounts are integers of minor units.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import ClassVar, Protocol

BODY_BYTES_MAX = 1024 * 1024


class Operation(StrEnum):
    """What a channel can be asked to do."""

    PAY = auto()
    QUERY = auto()
    CLOSE = auto()
    REFUND = auto()
    QUERY_REFUND = auto()

    @property
    def moves_money(self) -> bool:
        """Whether the provider may move money because of it."""
        return self in (Operation.PAY, Operation.REFUND)


class Outcome(StrEnum):
    """Where the order stands at the provider."""

    SUCCEEDED = auto()  # The money moved.
    FAILED = auto()  # The money did not move. Final, unless `retry` is SAME.
    ACTION = auto()  # The payer has to do something; the result says what.
    PENDING = auto()  # The provider has it. With `spec.awaits_payer`, so may the payer.
    CLOSED = auto()  # Ended without money.
    REVERSED = auto()  # The money moved, and later went back where it came from.
    NOT_FOUND = auto()  # The provider does not know the number. Not yet a failure.
    UNKNOWN = auto()  # Nobody can say. Never a failure.


class Retry(StrEnum):
    """What may be done next."""

    NONE = auto()  # Nothing: final, or a matter of waiting.
    SAME = auto()  # The same call again, under the same number.
    QUERY = auto()  # Ask for the order before anything else.
    ELSEWHERE = auto()  # Another channel, under a new number.


class Blame(StrEnum):
    """Who has to change something for it to go better."""

    NONE = auto()
    PAYER = auto()
    MERCHANT = auto()
    CHANNEL = auto()
    NETWORK = auto()


class Untrusted(Exception):
    """What came is not provably the provider's: no signature, a wrong one, or an old one."""


class Unreadable(Exception):
    """What came is the provider's, or would have to be, and makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """A request to send, ready to the last byte."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A reply as it came. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCall:
    """A posting to book with the ledger: the fields of `tongbao.ledger.v1.Posting`.

    Booking the same `template` and `source_no` again books nothing and says EXISTS. With
    `forbids` it is not to be booked, now or ever: whether it was before is the answer.
    """

    template: str
    source_no: str
    trace_no: str
    business_code: str
    amount_minor: int
    currency_code: str
    channel_code: str
    user_no: str
    forbids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingOutcome:
    """What the ledger made of a LocalCall. Booked means POSTED or EXISTS.

    `refusal` says why not, e.g. `EXCEEDS_FLOOR`. Refusals are remembered by the ledger.
    """

    is_booked: bool
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the provider says about an order. What cannot be true cannot be made.

    `amount_minor` and `currency_code` are what the provider says it moved, there exactly
    when it SUCCEEDED. `qr_code` is what the payer has to scan, there exactly with ACTION.
    `code` is the provider's own word or ours for what the network did.
    """

    outcome: Outcome
    retry: Retry = Retry.NONE
    blame: Blame = Blame.NONE
    code: str = ""
    message: str = ""
    provider_no: str = ""
    amount_minor: int | None = None
    currency_code: str = ""
    qr_code: str = ""

    def __post_init__(self) -> None:
        unknown = self.outcome is Outcome.UNKNOWN
        if unknown and self.retry not in (Retry.SAME, Retry.QUERY):
            raise ValueError("UNKNOWN is asked about again, never tried elsewhere or left alone")
        if self.retry is Retry.QUERY and not unknown:
            raise ValueError("only what is UNKNOWN has to be asked for")
        if self.retry is Retry.ELSEWHERE and self.outcome is not Outcome.FAILED:
            raise ValueError("only what certainly FAILED may be tried elsewhere")
        if (self.outcome is Outcome.SUCCEEDED) != (self.amount_minor is not None):
            raise ValueError("SUCCEEDED carries the amount that moved, nothing else does")
        if (self.amount_minor is not None) != bool(self.currency_code):
            raise ValueError("an amount has a currency")
        if self.amount_minor is not None and self.amount_minor <= 0:
            raise ValueError("an amount that moved is positive")
        if (self.outcome is Outcome.ACTION) != bool(self.qr_code):
            raise ValueError("ACTION carries what the payer needs, nothing else does")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Our account at a provider. `cost_ppm` is what the provider takes of a charge."""

    channel_code: str
    base_url: str
    provider_account: str
    secret: str = field(repr=False)
    cost_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """A charge to make. `attempt_no` is the number the provider sees."""

    attempt_no: str
    amount_minor: int
    currency_code: str
    subject: str
    notify_url: str
    user_no: str
    business_code: str
    trace_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """A refund to make, of the charge `original_attempt_no`, which is `provider_no` there."""

    attempt_no: str
    original_attempt_no: str
    provider_no: str
    amount_minor: int
    currency_code: str
    notify_url: str
    user_no: str
    business_code: str
    trace_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """An order that was sent, or may have been, with what it said."""

    attempt_no: str
    amount_minor: int
    currency_code: str
    user_no: str
    business_code: str
    trace_no: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time, in seconds since 1970, and the nonce to sign one call with.

    An adapter that calls twice appends to the nonce for its second call.
    """

    timestamp: int
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawNotification:
    """A callback as it came: the request target, headers (names in lower case), raw body.

    `received_at` is when it came, in seconds since 1970: it may be read much later.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """Whose callback it claims to be. Good for finding the account, never to be believed."""

    provider_account: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a verified callback says.

    Copies and retries of it have the same `dedup_key`, anything else said about this number
    by this account has another.
    `operation` is PAY or REFUND: which kind of attempt `number` is.
    """

    number: str
    operation: Operation
    result: Result
    dedup_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """What a channel is able to do and what to expect of it.

    Read `operations` before asking: an operation that is not there is a bug to call.
    `not_found_grace_seconds` is how long after the last send NOT_FOUND means nothing.
    `query_horizon_seconds` is how long asking makes sense; then a person has to decide.
    With `awaits_payer` an open charge waits for its payer, so it is asked about slowly.
    """

    code: str
    tools: frozenset[str]
    operations: frozenset[Operation]
    awaits_payer: bool
    not_found_grace_seconds: int
    query_horizon_seconds: int


Step = Generator[HttpCall | LocalCall, HttpReply | PostingOutcome, Result]


class ChannelAdapter(Protocol):
    """One provider's protocol. Every method is pure: equal arguments, equal bytes.

    The steps may raise Untrusted and Unreadable at what came back; the transport makes
    UNKNOWN of both. They never raise anything else, whatever came back.
    """

    spec: ClassVar[ChannelSpec]

    def pay(self, account: Account, request: PayRequest, stamp: Stamp) -> Step:
        """Charge the payer. The same request again is the same charge."""

    def query(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """Ask how a charge stands."""

    def close(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """End a charge that nobody has paid, so that nobody can pay it any more.

        ACTION and PENDING answer: not now, because the payer is paying at this moment.
        """

    def refund(self, account: Account, request: RefundRequest, stamp: Stamp) -> Step:
        """Give money of a charge back. The same request again is the same refund."""

    def query_refund(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """Ask how a refund stands."""

    def peek(self, notification: RawNotification) -> Peek:
        """Return whose callback it claims to be, without any secret. Raises Unreadable."""

    def read_notification(self, account: Account, notification: RawNotification) -> Notification:
        """Verify a callback and return what it says. Raises Untrusted, Unreadable."""

    def ack(self, *, accepted: bool) -> bytes:
        """Return the body that ends the provider's retries, or the one that does not."""
