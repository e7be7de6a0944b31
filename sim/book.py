"""The provider's truth: every charge and refund as it is, kept in memory and in the journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sim.clock import now_ms, to_text
from sim.faults import Fault, Kind
from sim.journal import Journal, Record


class State(StrEnum):
    """Where an order is. All but PENDING are final."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asked for. `of` is the charge that a refund gives back, else empty."""

    kind: Kind
    acquirer: str
    number: str
    of: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str


@dataclass(slots=True, kw_only=True)
class Order:
    """A charge or a refund. `moved_minor` is what really moved, 0 until it did."""

    ask: Ask
    provider_no: str
    fault: Fault
    state: State
    time_ms: int  # When it reached its state.
    moved_minor: int = 0
    given_back_minor: int = 0  # Of a charge: refunds that moved or still may.
    is_told: bool = False  # Its final state reached the caller, or nobody tries any more.

    @property
    def reported_minor(self) -> int:
        """The amount that replies and callbacks speak of: what moved, else what was asked."""
        return self.moved_minor if self.state is State.SUCCEEDED else self.ask.amount_minor


Key = tuple[str, str, str]


class Book:
    """All orders of all acquirers. Changes are in memory at once and in the journal in order.

    Nobody may be told of a change before `Journal.settled` has returned.
    """

    def __init__(self, journal: Journal) -> None:
        """Read the book from what `journal` holds."""
        self._journal = journal
        self._orders: dict[Key, Order] = {}
        for record in journal.replay():
            self._apply(record)

    def find(self, acquirer: str, kind: Kind, number: str) -> Order | None:
        """Return the order of this number, None when there is none."""
        return self._orders.get((acquirer, kind, number))

    def open(self, ask: Ask, *, fault: Fault) -> Order:
        """Return a new PENDING order. The number must be free, the money must be there."""
        assert (ask.acquirer, ask.kind, ask.number) not in self._orders, ask
        order = Order(
            ask=ask,
            provider_no=f"{ask.acquirer}-{len(self._orders) + 1:012d}",
            fault=fault,
            state=State.PENDING,
            time_ms=now_ms(),
        )
        self._journal.append(
            {
                "open": ask,
                "provider_no": order.provider_no,
                "fault": fault,
                "time_ms": order.time_ms,
            }
        )
        self._insert(order)
        return order

    def settle(self, order: Order, *, state: State, moved_minor: int = 0) -> None:
        """Bring a PENDING order to its final state."""
        assert order.state is State.PENDING, order
        self._append(
            {
                "settle": _key(order),
                "state": state,
                "moved_minor": moved_minor,
                "time_ms": now_ms(),
            }
        )

    def tell(self, order: Order) -> None:
        """Note that the caller knows the final state, or that nobody tries any more."""
        self._append({"tell": _key(order)})

    def orders(self) -> Sequence[Order]:
        """Return all orders, oldest first."""
        return tuple(self._orders.values())

    def truth(self) -> Iterator[Record]:
        """Yield every order as it is, oldest first."""
        for order in self.orders():
            yield {
                "kind": order.ask.kind,
                "acquirer": order.ask.acquirer,
                "number": order.ask.number,
                "of": order.ask.of,
                "state": order.state,
                "amount_minor": order.ask.amount_minor,
                "moved_minor": order.moved_minor,
                "currency": order.ask.currency,
                "time": to_text(order.time_ms),
            }

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        self._apply(record)

    def _apply(self, record: Record) -> None:
        """Change the book by one record, whether it is new or read from the journal."""
        if "open" in record:
            self._insert(_order_of(record))
        elif "settle" in record:
            self._settle(record)
        else:
            self._order(record["tell"]).is_told = True

    def _insert(self, order: Order) -> None:
        self._orders[order.ask.acquirer, order.ask.kind, order.ask.number] = order
        if order.ask.kind is Kind.REFUND:
            self._charge_of(order).given_back_minor += order.ask.amount_minor

    def _settle(self, record: Record) -> None:
        order = self._order(record["settle"])
        order.state = State(record["state"])
        order.moved_minor, order.time_ms = record["moved_minor"], record["time_ms"]
        if order.ask.kind is Kind.REFUND and order.state is State.FAILED:
            self._charge_of(order).given_back_minor -= order.ask.amount_minor

    def _charge_of(self, refund: Order) -> Order:
        return self._orders[refund.ask.acquirer, Kind.CHARGE, refund.ask.of]

    def _order(self, key: Sequence[str]) -> Order:
        acquirer, kind, number = key
        return self._orders[acquirer, kind, number]


def _key(order: Order) -> list[str]:
    return [order.ask.acquirer, order.ask.kind, order.ask.number]


def _order_of(record: Record) -> Order:
    """Return the order as it was when this record was written."""
    ask = record["open"]
    return Order(
        ask=Ask(**ask | {"kind": Kind(ask["kind"])}),
        provider_no=record["provider_no"],
        fault=Fault(record["fault"]),
        state=State.PENDING,
        time_ms=record["time_ms"],
    )
