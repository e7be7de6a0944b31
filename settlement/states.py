"""The life of a clearing item."""

from __future__ import annotations

from enum import StrEnum, auto

from mesh.states import Machine


class State(StrEnum):
    """Where an item is."""

    PENDING = auto()  # Not in a settlement batch: the merchant's money is pending 待结算.
    HELD = auto()  # Its payment or refund is under review: no batch may take it.
    CANCELLED = auto()  # It does not count: the money went back.


class Event(StrEnum):
    """What happens to the payment or refund that is cleared."""

    REVIEWED = auto()
    SUCCEEDED = auto()
    ENDED = auto()


ITEM = Machine(
    "clearing_item",
    State.PENDING,
    [
        (State.PENDING,   Event.REVIEWED,  State.HELD),
        (State.PENDING,   Event.ENDED,     State.CANCELLED),
        (State.HELD,      Event.SUCCEEDED, State.PENDING),
        (State.HELD,      Event.ENDED,     State.CANCELLED),
        (State.CANCELLED, Event.REVIEWED,  State.HELD),
        (State.CANCELLED, Event.SUCCEEDED, State.PENDING),
    ],
)  # fmt: skip
