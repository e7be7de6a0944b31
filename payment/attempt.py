"""What channel says of a leg: the word, and what it means for the order that the leg is of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

from payment.case import CaseKind, Parked, Place
from payment.states import Event

if TYPE_CHECKING:
    from payment.model import Payment, Refund


class AttemptState(StrEnum):
    """What channel says of an attempt. Mirrors `Attempt.State` in its contract."""

    PROCESSING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    CLOSED = auto()
    REVIEW = auto()


SAYS = {
    AttemptState.SUCCEEDED: Event.MOVED,
    AttemptState.FAILED: Event.REFUSED,
    AttemptState.CLOSED: Event.ENDED,
    AttemptState.REVIEW: Event.CONFLICT,
}
# Under review at channel, and yet what was asked has moved: later than channel had said, which
# tried elsewhere meanwhile, or once more than it should.
_MOVED_ALL_THE_SAME = (CaseKind.LATE_SUCCESS, CaseKind.DUPLICATE_SUCCESS)
MONEY = (Event.MOVED, Event.CONFLICT)  # Something moved, or may have.


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
    reported_currency_code: str = ""
    cost_minor: int = 0
    qr_code: str = ""
    failure_reason: str = ""
    is_past_horizon: bool = False

    @property
    def number(self) -> str:
        """The payment or refund whose leg it tries."""
        return self.leg_no.rpartition("-")[0]

    @property
    def moved_minor(self) -> int:
        """What moved, if money moved, in `moved_currency_code`."""
        return self.reported_minor or self.amount_minor

    @property
    def moved_currency_code(self) -> str:
        """In which currency money moved."""
        return self.reported_currency_code or self.currency_code

    def fits(self, order: Payment | Refund) -> bool:
        """Return whether what moved is what `order` asked for."""
        moved = (self.moved_currency_code, self.moved_minor)
        asked = (order.currency_code, order.amount_minor)
        return moved == asked and self.amount_minor == order.amount_minor

    def says(self, order: Payment | Refund) -> Event | None:
        """Return what has happened to `order` by this; None while nothing is known."""
        if self.state is AttemptState.SUCCEEDED and not self.fits(order):
            return Event.CONFLICT
        reviewed = self.failure_reason if self.state is AttemptState.REVIEW else ""
        if reviewed in _MOVED_ALL_THE_SAME and self.fits(order):
            return Event.MOVED
        ours = order.state.value == "succeeded" and self.attempt_no == order.attempt_no
        if reviewed == CaseKind.CHANNEL_REVERSED and not ours:
            return Event.REFUSED  # It moved and went back, and nobody was told that it moved.
        return SAYS.get(self.state)

    def was_heard(self, order: Payment | Refund) -> bool:
        """Return whether `order` is where it is by this word, or by one that came after it.

        The last word of an attempt is REVIEW: channel says nothing more of it, a person decides.
        """
        is_old = order.attempt_state in (self.state, AttemptState.REVIEW)
        return is_old and self.attempt_no == order.attempt_no

    @property
    def is_second(self) -> bool:
        """Whether it says that money moved a second time under its own number."""
        return self.failure_reason == CaseKind.DUPLICATE_SUCCESS

    def repeats(self, order: Payment | Refund) -> bool:
        """Return whether money moved again for an order that had its money moved before."""
        moved = self.says(order) in MONEY
        decided = order.state.value in ("succeeded", "review")
        return moved and decided and (self.attempt_no != order.attempt_no or self.is_second)

    def parked(self, kind: CaseKind) -> Parked:
        """Return where the money of a payment stands once a case of `kind` is opened by this.

        Nowhere when the channel says that it has none of it any more.
        """
        if kind is CaseKind.CHANNEL_REVERSED and not self.reported_minor:
            return Parked(attempt_no=self.attempt_no, channel_code=self.channel_code)
        again = kind is CaseKind.DUPLICATE_SUCCESS
        return Parked(
            place=Place.DUPLICATE if again else Place.SUSPENSE,
            amount_minor=self.moved_minor,
            currency_code=self.moved_currency_code,
            attempt_no=self.attempt_no,
            channel_code=self.channel_code,
        )

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
            "moved_currency_code": self.moved_currency_code,
            "order_state": order.state.name,
            "order_currency_code": order.currency_code,
            "order_minor": str(order.amount_minor),
        }
