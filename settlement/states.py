"""The life of a clearing item."""

from __future__ import annotations

from enum import StrEnum, auto


class State(StrEnum):
    """Where an item is."""

    PENDING = auto()  # Not in a settlement batch: the merchant's money is pending 待结算.
