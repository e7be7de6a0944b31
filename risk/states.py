"""The life of a decision: what became of the amount it took out of a limit."""

from __future__ import annotations

from enum import StrEnum, auto

from mesh.states import Machine


class State(StrEnum):
    """Where the reserved amount is."""

    NONE = auto()  # Nothing was reserved: blocked, or nobody limits this payer.
    RESERVED = auto()  # It counts against the limit; the payment is under way.
    CONFIRMED = auto()  # The payer was charged: it counts for good.
    RELEASED = auto()  # The payer was certainly not charged: it was given back.


class Event(StrEnum):
    """What happens to the payment that was evaluated."""

    SUCCEEDED = auto()
    FAILED = auto()


# A payment under review moves nothing: the money may have been taken, so it goes on counting.
# What a person makes of it may undo what was said before: a payment that was closed and is
# accepted counts after all, one that had succeeded and was given back does not.
DECISION = Machine(
    "decision",
    State.RESERVED,
    [
        (State.RESERVED, Event.SUCCEEDED, State.CONFIRMED),
        (State.RESERVED, Event.FAILED,    State.RELEASED),
        (State.RELEASED, Event.SUCCEEDED, State.CONFIRMED),
        (State.CONFIRMED, Event.FAILED,   State.RELEASED),
    ],
)  # fmt: skip
