"""What every flow of this service works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.clock import Clock
from mesh.db import Database

IDLE_MAX = 50_000  # Payments that wait for their end.


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow."""

    db: Database
    clock: Clock
    _idle: dict[str, None] = field(default_factory=dict)

    def note_idle(self, payment_no: str) -> None:
        """Remember that nothing is reserved for the payment, until its end is told."""
        if len(self._idle) >= IDLE_MAX:
            del self._idle[next(iter(self._idle))]  # The oldest: its end is looked up then.
        self._idle[payment_no] = None

    def is_idle(self, payment_no: str) -> bool:
        """Return whether nothing is reserved for the payment, and forget it; False: look."""
        return self._idle.pop(payment_no, self) is None
