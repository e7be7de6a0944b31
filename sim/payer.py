"""The payers and their banks: who pays when, what goes wrong with it, what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.book import Book, Key, Order, State, What
from sim.clock import Clock
from sim.faults import AFTER_S, Fault, Kind

OTHER_CURRENCY = {"USD": "CNY"}  # What a wrong currency is; for all others it is USD.

# Nothing happens to these by itself before somebody closes them.
_WAITING = frozenset({Fault.NEVER_PAID, Fault.PAYER_PAYING, Fault.PAID_AFTER_CLOSE})
_FAILING = frozenset({Fault.REFUSED_LATER, Fault.FORGED_CALLBACK})
_REVERSED = frozenset({Fault.REVERSED, Fault.REVERSED_FIRST})


@dataclass(frozen=True, slots=True)
class _Next:
    """What happens to an order next, and when."""

    what: What
    time_ms: int


class Payers:
    """Let orders happen as their faults say. What they did is in the book, and goes on from it."""

    def __init__(
        self, book: Book, *, clock: Clock, delay_ms: int, tell: Callable[[Order], None]
    ) -> None:
        """A payer takes `delay_ms`. `tell` is called after every happening."""
        self._book, self._clock, self._delay_ms, self._tell = book, clock, delay_ms, tell
        self._paying: set[Key] = set()

    def expect(self, order: Order) -> None:
        """See to it that what happens to `order` next does, if anything does."""
        coming = self._next(order)
        if coming is not None:
            state = order.state

            def act() -> None:
                if order.state is state and self._next(order) == coming:
                    self.act(order, coming.what)

            self._clock.at(coming.time_ms, act)

    def begin_paying(self, order: Order) -> None:
        """Let the payer whose fault is to pay while somebody closes begin to."""
        if order.key not in self._paying:
            self._paying.add(order.key)
            self.expect(order)

    def pay_now(self, order: Order) -> None:
        """Let the payer pay before the reply is out."""
        coming = self._next(order)
        if coming is not None and order.state is State.PENDING:
            self.act(order, coming.what)

    def act(self, order: Order, what: What) -> None:
        """Let `what` happen now."""
        if what is What.FAILED:
            self._book.happen(order, what)
        elif what in (What.PAID_AGAIN, What.REVERSED):
            moved, currency = order.moved_minor, order.moved_currency
            self._book.happen(order, what, moved_minor=moved, currency=currency)
        else:
            extra = 1 if order.fault is Fault.WRONG_AMOUNT else 0
            asked = order.ask.currency
            other = order.fault is Fault.WRONG_CURRENCY
            self._book.happen(
                order,
                what,
                moved_minor=order.ask.amount_minor + extra,
                currency=OTHER_CURRENCY.get(asked, "USD") if other else asked,
            )
        self._tell(order)
        self.expect(order)

    def _next(self, order: Order) -> _Next | None:
        """Return what happens next: a function of the order alone, and of who began to pay."""
        fault, then = order.fault, order.time_ms + self._delay_of(order)
        match order.state:
            case State.PENDING if fault in _WAITING and order.key not in self._paying:
                return None
            case State.PENDING if fault in _FAILING:
                return _Next(What.FAILED, then)
            case State.PENDING:
                is_charge = order.ask.kind is Kind.CHARGE
                return _Next(What.PAID if is_charge else What.REFUNDED, then)
            case State.CLOSED if fault is Fault.PAID_AFTER_CLOSE:
                return _Next(What.PAID, then)
            case State.SUCCEEDED if fault in _REVERSED:
                return _Next(What.REVERSED, then)
            case State.SUCCEEDED if fault is Fault.PAID_TWICE and not order.extra_minor:
                return _Next(What.PAID_AGAIN, then)
        return None

    def _delay_of(self, order: Order) -> int:
        """Return how long after its present state the next thing happens to `order`."""
        waits = order.state is not State.PENDING or order.fault is Fault.PAYS_LATE
        after_s = AFTER_S.get(order.fault) if order.after_s is None else order.after_s
        if waits and order.fault is not Fault.LATE_CALLBACK and after_s is not None:
            return after_s * 1000
        return self._delay_ms
