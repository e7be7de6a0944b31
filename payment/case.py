"""Cases: why somebody has to look, what a rule wants done, how one may be resolved.

Frozen records and the tables about them. Amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import partial

from mesh.errors import Refused
from mesh.numbers import RELEASE
from payment.states import CASE, CaseEvent, CaseState, GiveBackState
from tongbao.payment.v1 import reasons_pb2 as reasons

_refuse = partial(Refused, "payment.tongbao", reasons.Reason)


class CaseKind(StrEnum):
    """Why somebody has to look. Also the `failure_reason` of what is under review."""

    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"  # What the channel reports is not what was asked.
    LATE_SUCCESS = "LATE_SUCCESS"  # Money moved after we had said that it had not.
    CHANNEL_REVERSED = "CHANNEL_REVERSED"  # The channel takes back its own success.
    DUPLICATE_SUCCESS = "DUPLICATE_SUCCESS"  # The payer was charged twice for one trade.
    LEDGER_REFUSED = "LEDGER_REFUSED"  # Money came in and its own accounts refused it.
    INQUIRY_EXHAUSTED = "INQUIRY_EXHAUSTED"  # The channel has had its time, nobody can say.
    REFUND_BLOCKED = "REFUND_BLOCKED"  # A give-back that no channel carries out.


class Subject(StrEnum):
    """What the number of a case is the number of."""

    PAYMENT = auto()
    ATTEMPT = auto()  # A further charge, beside a payment that is as it should be.
    REFUND = auto()
    GIVE_BACK = auto()


class Place(StrEnum):
    """Where money stands that nobody may keep yet."""

    NOWHERE = ""
    SUSPENSE = auto()  # Nobody knows whose it is.
    DUPLICATE = auto()  # The payer's, who paid twice.


class Action(StrEnum):
    """What a rule wants done."""

    MANUAL = auto()
    AUTO_REFUND = auto()  # GIVE_BACK, without a person.


class Resolution(StrEnum):
    """How a case is resolved. Mirrors `Resolution` in the contract."""

    NONE = ""
    ACCEPT = auto()
    GIVE_BACK = auto()
    RESEND = auto()
    CLOSE_AS_IS = auto()


# These need a second person.
MOVES_MONEY = frozenset({Resolution.ACCEPT, Resolution.GIVE_BACK})
# Kinds of which money may stand somewhere that a rule can give back by itself.
REFUNDABLE = frozenset(
    {CaseKind.LATE_SUCCESS, CaseKind.DUPLICATE_SUCCESS, CaseKind.AMOUNT_MISMATCH}
)

_ANY = frozenset({Resolution.ACCEPT, Resolution.GIVE_BACK})
_ON = frozenset({Resolution.ACCEPT, Resolution.CLOSE_AS_IS})
_BACK = frozenset({Resolution.GIVE_BACK})
_AS_IS = frozenset({Resolution.CLOSE_AS_IS})
_AGAIN = frozenset({Resolution.RESEND, Resolution.CLOSE_AS_IS})

# What may be decided about what. A payment under review has to leave it, so there is no
# CLOSE_AS_IS for it; a second charge can never become a first one, so it can only go back. Money
# that its account refused is of an order that has ended: it goes on to that account, not back.
ALLOWED: Mapping[tuple[Subject, CaseKind], frozenset[Resolution]] = {
    (Subject.PAYMENT, CaseKind.AMOUNT_MISMATCH): _ANY,
    (Subject.PAYMENT, CaseKind.LATE_SUCCESS): _ANY,
    (Subject.PAYMENT, CaseKind.CHANNEL_REVERSED): _ANY,
    (Subject.PAYMENT, CaseKind.DUPLICATE_SUCCESS): _BACK,
    (Subject.PAYMENT, CaseKind.LEDGER_REFUSED): _ON,
    (Subject.PAYMENT, CaseKind.INQUIRY_EXHAUSTED): _AGAIN,
    (Subject.ATTEMPT, CaseKind.DUPLICATE_SUCCESS): _BACK,
    # 退票: who has the money, the payer or we? Not so for a refund that failed and was paid
    # all the same: the merchant has been told and may have refunded it again.
    (Subject.REFUND, CaseKind.CHANNEL_REVERSED): _ANY,
    (Subject.REFUND, CaseKind.AMOUNT_MISMATCH): _AS_IS,
    (Subject.REFUND, CaseKind.LATE_SUCCESS): _AS_IS,
    (Subject.REFUND, CaseKind.DUPLICATE_SUCCESS): _AS_IS,
    (Subject.REFUND, CaseKind.LEDGER_REFUSED): _ON,
    (Subject.REFUND, CaseKind.INQUIRY_EXHAUSTED): _AGAIN,
    (Subject.GIVE_BACK, CaseKind.CHANNEL_REVERSED): _AS_IS,
    (Subject.GIVE_BACK, CaseKind.LATE_SUCCESS): _AS_IS,
    (Subject.GIVE_BACK, CaseKind.AMOUNT_MISMATCH): _AS_IS,
    (Subject.GIVE_BACK, CaseKind.REFUND_BLOCKED): _AS_IS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Money that stands where nobody may keep it, and which attempt moved it there."""

    place: Place = Place.NOWHERE
    amount_minor: int = 0
    currency_code: str = ""
    attempt_no: str = ""
    channel_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of `exception_case`. `number` is the order or attempt that it is about.

    `payment_no` is the payment whose payer or merchant it concerns. `due_time` is when its
    timer looks at it, None while it waits for a person; `tries` how often it did. `rounds`
    counts the give-backs, or releases, that were begun for it.
    """

    case_id: str
    kind: CaseKind
    subject: Subject
    number: str
    payment_no: str
    app_id: str
    trace_no: str
    facts: Mapping[str, str]
    parked_on: Place = Place.NOWHERE
    parked_minor: int = 0
    parked_currency_code: str = ""
    attempt_no: str = ""
    channel_code: str = ""
    state: CaseState = CaseState.OPEN
    version: int = 1
    action: Action = Action.MANUAL
    rule: str = ""
    owner: str = ""
    resolution: Resolution = Resolution.NONE
    proposed_by: str = ""
    rounds: int = 0
    due_time: datetime | None = None
    tries: int = 0
    deadline: datetime
    create_time: datetime
    update_time: datetime

    def moved(self, event: CaseEvent, *, now: datetime, **changes: object) -> Case:
        """Return it as it is after `event`. Raises Illegal.

        What is being carried out is due at once; everything else waits for a person.
        """
        state = self.state if event is CaseEvent.ASSIGN else CASE.next(self.state, event)
        due_time = self.due_time if event is CaseEvent.ASSIGN else None
        if state is CaseState.EXECUTING:
            due_time = now
        kept = {"state": state, "version": self.version + 1, "due_time": due_time}
        return replace(self, **kept | {"update_time": now} | changes)  # type: ignore[arg-type]

    def check_state(self, *states: CaseState) -> None:
        """Raise Refused(CASE_NOT_READY) unless it is in one of `states`."""
        if self.state not in states:
            raise _refuse(
                reasons.REASON_CASE_NOT_READY, case_id=self.case_id, state=self.state.name
            )

    def check_resolution(self, resolution: Resolution) -> None:
        """Raise Refused(RESOLUTION_NOT_ALLOWED) unless it may be resolved so.

        ACCEPT takes what moved for what was asked, so both must be the same money: a merchant
        who is owed 100 is not paid with 99, and nobody sells yuan for dollars here.
        """
        allowed = ALLOWED.get((self.subject, self.kind), _AS_IS)
        problem = ""
        if resolution not in allowed:
            problem = "possible are " + ", ".join(sorted(one.name for one in allowed))
        elif resolution is Resolution.ACCEPT and not self._is_equal:
            problem = "what moved is not what was asked"
        elif self.rounds >= ROUNDS_MAX and replace(self, resolution=resolution).begins_round:
            problem = f"it was tried {ROUNDS_MAX} times"
        if problem:
            raise _refuse(
                reasons.REASON_RESOLUTION_NOT_ALLOWED,
                case_id=self.case_id,
                kind=self.kind,
                resolution=resolution.name,
                problem=problem,
            )

    @property
    def begins_round(self) -> bool:
        """Whether what is decided moves what is parked, under a number of its own."""
        releases = self.resolution is Resolution.ACCEPT and self.kind is CaseKind.LEDGER_REFUSED
        return self.parked_minor > 0 and (releases or self.resolution is Resolution.GIVE_BACK)

    @property
    def _is_equal(self) -> bool:
        moved = (self.facts.get("moved_minor"), self.facts.get("moved_currency_code"))
        asked = (self.facts.get("order_minor"), self.facts.get("order_currency_code"))
        return moved == asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of a case's history: who did what, and where the case was after it."""

    version: int
    actor: str
    event: CaseEvent
    state: CaseState
    resolution: Resolution
    text: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does something to a case. `request_id` is empty unless an operator asked."""

    actor: str
    text: str = ""
    request_id: str = ""
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One version of a rule: which cases it is for, and what becomes of them.

    An empty field, or no amount, fits any case.
    """

    rule_id: str
    version: int
    kind: CaseKind
    app_id: str
    product_code: str
    channel_code: str
    amount_max_minor: int
    action: Action
    delay_seconds: int
    deadline_seconds: int
    owner: str
    lifted: bool
    author: str
    create_time: datetime

    def fits(self, case: Case, *, product_code: str) -> bool:
        """Return whether it is for `case`, of a trade of that product."""
        wanted = (
            (self.app_id, case.app_id),
            (self.product_code, product_code),
            (self.channel_code, case.channel_code),
        )
        small = not self.amount_max_minor or case.parked_minor <= self.amount_max_minor
        named = all(ours in ("", theirs) for ours, theirs in wanted)
        return self.kind is case.kind and not self.lifted and named and small

    @property
    def weight(self) -> tuple[bool, bool, bool, bool]:
        """How much it says about a case: product before app, app before channel, amount."""
        return (
            bool(self.product_code),
            bool(self.app_id),
            bool(self.channel_code),
            bool(self.amount_max_minor),
        )

    @property
    def name(self) -> str:
        """Return which version of which rule it is."""
        return f"{self.rule_id}:{self.version}"


_UNRULED_TIME = timedelta(days=1)  # Of a kind that nobody has written a rule for.


def ruled(case: Case, rules: Iterable[Rule], *, product_code: str) -> Case:
    """Return a new `case` with what the rule says that fits it best: pure, the same for ever.

    Only money that stands somewhere can be given back by itself.
    """
    fitting = [rule for rule in rules if rule.fits(case, product_code=product_code)]
    if not fitting:
        return replace(case, deadline=case.create_time + _UNRULED_TIME)
    best = max(fitting, key=lambda rule: (rule.weight, rule.rule_id))
    automatic = best.action is Action.AUTO_REFUND and case.parked_minor > 0
    begins = case.create_time + timedelta(seconds=best.delay_seconds)
    return replace(
        case,
        action=Action.AUTO_REFUND if automatic else Action.MANUAL,
        rule=best.name,
        owner=best.owner,
        due_time=begins if automatic else None,
        deadline=case.create_time + timedelta(seconds=best.deadline_seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """One row of `give_back`: money of a case on its way back to the payer.

    `attempt_no` is the charge that is given back, `refund_attempt_no` what gives it back.
    """

    give_back_no: str
    case_id: str
    payment_no: str
    attempt_no: str
    app_id: str
    business_code: str
    trace_no: str
    source: Place
    currency_code: str
    amount_minor: int
    channel_code: str
    state: GiveBackState = GiveBackState.CREATED
    version: int = 1
    refund_attempt_no: str = ""
    failure_reason: str = ""
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPosting:
    """What the ledger put into suspense, and why. The amount is in minor units."""

    template: str
    source_no: str
    app_id: str
    trace_no: str
    channel_code: str
    currency_code: str
    amount_minor: int
    refusal: str


ROUNDS_MAX = 24
_LETTERS = "BCDEFGHJKLMNPQRSTUVWXYZ0"
_RELEASED = {Subject.PAYMENT: RELEASE, Subject.REFUND: "M"}


def give_back_no(attempt_no: str, *, round_no: int) -> str:
    """Return the number under which `attempt_no` is given back in its `round_no`, from 1.

    It follows from the attempt alone, so the same decision makes one refund, whoever carries
    it out and however often: the attempt's digits, under a system code of their own. A round
    that certainly failed is followed by another number, as any failed order is.
    """
    assert 1 <= round_no <= ROUNDS_MAX, round_no
    return f"{attempt_no[:8]}G{_LETTERS[round_no - 1]}{attempt_no[10:]}"


def release_no(number: str, *, subject: Subject, round_no: int) -> str:
    """Return the number under which money of `number` leaves suspense in its `round_no`, from 1.

    As that of a give-back: what its account refused stays refused under its number, so whoever
    tries again needs another one.
    """
    assert 1 <= round_no <= ROUNDS_MAX, round_no
    return f"{number[:8]}{_RELEASED[subject]}{_LETTERS[round_no - 1]}{number[10:]}"


def is_give_back(number: str) -> bool:
    """Return whether `number` is that of a give-back."""
    return number[8:9] == "G"
