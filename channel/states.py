"""The life of an attempt. Read this file first."""

from __future__ import annotations

from enum import StrEnum, auto

from mesh.states import Machine


class State(StrEnum):
    """Where an attempt is. Mirrors `Attempt.State` in the contract."""

    PROCESSING = auto()  # With the provider, or on its way. Unknown is not failed.
    SUCCEEDED = auto()
    FAILED = auto()
    CLOSED = auto()
    REVIEW = auto()  # What the provider says does not fit; a person decides.


class Event(StrEnum):
    """What a provider can say that ends something. Everything else changes no state."""

    MOVED = auto()  # The money moved, and it is the amount that was asked.
    MISMATCHED = auto()  # Money moved, but not what was asked.
    REFUSED = auto()  # The money did not move, and will not.
    ENDED = auto()  # Over at the provider, without money.
    REVERSED = auto()  # The money moved, and went back.
    MOVED_AGAIN = auto()  # What was asked moved a second time, under another provider number.


# The first final word counts. A later one that says otherwise never replaces it: the attempt
# goes to REVIEW, from where only a person leads on. That a refusal follows an end, or an end
# a refusal, is no contradiction: neither moved money. That money went back says that it had
# moved, whether we ever heard so or not.
ATTEMPT = Machine(
    "attempt",
    State.PROCESSING,
    [
        (State.PROCESSING, Event.MOVED,       State.SUCCEEDED),
        (State.PROCESSING, Event.REFUSED,     State.FAILED),
        (State.PROCESSING, Event.ENDED,       State.CLOSED),
        (State.PROCESSING, Event.MISMATCHED,  State.REVIEW),
        (State.PROCESSING, Event.REVERSED,    State.REVIEW),
        (State.SUCCEEDED,  Event.MISMATCHED,  State.REVIEW),
        (State.SUCCEEDED,  Event.REFUSED,     State.REVIEW),
        (State.SUCCEEDED,  Event.ENDED,       State.REVIEW),
        (State.SUCCEEDED,  Event.REVERSED,    State.REVIEW),
        (State.SUCCEEDED,  Event.MOVED_AGAIN, State.REVIEW),
        (State.FAILED,     Event.MOVED,       State.REVIEW),
        (State.FAILED,     Event.MISMATCHED,  State.REVIEW),
        (State.FAILED,     Event.REVERSED,    State.REVIEW),
        (State.CLOSED,     Event.MOVED,       State.REVIEW),
        (State.CLOSED,     Event.MISMATCHED,  State.REVIEW),
        (State.CLOSED,     Event.REVERSED,    State.REVIEW),
    ],
)  # fmt: skip
