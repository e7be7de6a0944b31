"""The provider's truth: every charge and refund as it is, kept in memory and in the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sim.clock import Clock, to_text
from sim.faults import Fault, Kind
from sim.journal import Journal, Record


class State(StrEnum):
    """Where an order is. Only a fault leads on from any but PENDING."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CLOSED = "CLOSED"
    REVERSED = "REVERSED"  # It succeeded, and the money went back where it came from.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asked for. `of` is the charge that a refund gives back, else empty.

    `attach` is the caller's own note, which we only repeat; empty when there is none.
    """

    kind: Kind
    acquirer: str
    number: str
    of: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    attach: str = ""


class What(StrEnum):
    """What happened to an order that its caller may be told, or that moved money."""

    PAID = "PAID"
    PAID_AGAIN = "PAID_AGAIN"  # A second time, under another of our numbers.
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"
    REVERSED = "REVERSED"


@dataclass(slots=True, kw_only=True)
class Happening:
    """One thing that happened. `moved_minor` is 0 when no money moved; a reversal's is positive.

    `fee_minor` is what we take for it; of a reversal, what we give back of it.
    `is_told`: the caller took it, or nobody tries any more.
    """

    what: What
    provider_no: str
    moved_minor: int
    currency: str
    fee_minor: int
    time_ms: int
    is_told: bool = False


@dataclass(slots=True, kw_only=True)
class Order:
    """A charge or a refund. `moved_minor` is what really moved and stays moved."""

    ask: Ask
    provider_no: str
    fault: Fault
    after_s: int | None  # How long the fault waits, when that was said.
    state: State
    time_ms: int  # When it reached its state.
    moved_minor: int = 0
    moved_currency: str = ""
    extra_minor: int = 0  # Of a charge that was paid twice: the second time.
    given_back_minor: int = 0  # Of a charge: refunds that moved or still may.
    happenings: list[Happening] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What names it in the book."""
        return self.ask.acquirer, self.ask.kind, self.ask.number

    @property
    def qr_code(self) -> str:
        """What the payer of a charge scans."""
        return f"https://pay.sim.invalid/{self.provider_no}"

    @property
    def reported_minor(self) -> int:
        """The amount that replies speak of: what moved, else what was asked."""
        return self.moved_minor if self.state is State.SUCCEEDED else self.ask.amount_minor

    @property
    def reported_currency(self) -> str:
        """The currency that replies speak of."""
        return self.moved_currency or self.ask.currency


Key = tuple[str, str, str]

_STATE = {
    What.PAID: State.SUCCEEDED,
    What.REFUNDED: State.SUCCEEDED,
    What.FAILED: State.FAILED,
    What.REVERSED: State.REVERSED,
}
# What can happen to an order in each state. A closed charge is paid only as a fault.
_MAY_HAPPEN = {
    State.PENDING: {What.PAID, What.REFUNDED, What.FAILED},
    State.CLOSED: {What.PAID},
    State.SUCCEEDED: {What.PAID_AGAIN, What.REVERSED},
}


class Book:
    """All orders of all acquirers. Changes are in memory at once and in the journal in order.

    Nobody may be told of a change before `Journal.settled` has returned.
    """

    def __init__(self, journal: Journal, *, clock: Clock, fees_ppm: Mapping[str, int]) -> None:
        """`replay` what the journal holds before anything else. `fees_ppm` is by acquirer."""
        self._journal, self._clock, self._fees_ppm = journal, clock, fees_ppm
        self._orders: dict[Key, Order] = {}
        self._numbers = 0

    def replay(self, record: Record) -> bool:
        """Apply one record of the journal; return whether it is one of ours."""
        if "open" in record:
            self._insert(_order_of(record))
        elif "happen" in record:
            self._happen(record)
        elif "close" in record:
            self._close(record)
        elif "tell" in record:
            self._tell(record)
        else:
            return False
        return True

    def find(self, acquirer: str, kind: Kind, number: str) -> Order | None:
        """Return the order of this number, None when there is none."""
        return self._orders.get((acquirer, kind, number))

    def open(self, ask: Ask, *, fault: Fault, after_s: int | None = None) -> Order:
        """Return a new PENDING order. The number must be free, the money must be there."""
        assert (ask.acquirer, ask.kind, ask.number) not in self._orders, ask
        record = {
            "open": ask,
            "provider_no": self._next_number(ask.acquirer),
            "fault": fault,
            "after_s": after_s,
            "time_ms": self._clock.now_ms(),
        }
        self._journal.append(record)
        order = _order_of(record | {"open": _fields(ask)})
        self._insert(order)
        return order

    def happen(
        self, order: Order, what: What, *, moved_minor: int = 0, currency: str = ""
    ) -> Happening:
        """Let something happen to `order` now and return it. The money is in `currency`."""
        assert what in _MAY_HAPPEN.get(order.state, ()), (what, order)
        again, takes_fee = what is What.PAID_AGAIN, order.ask.kind is Kind.CHARGE
        fee_ppm = self._fees_ppm[order.ask.acquirer] if takes_fee else 0
        self._append(
            {
                "happen": order.key,
                "what": what,
                "provider_no": self._next_number(order.ask.acquirer) if again else "",
                "moved_minor": moved_minor,
                "currency": currency or order.ask.currency,
                "fee_minor": (moved_minor * fee_ppm + 500_000) // 1_000_000,
                "time_ms": self._clock.now_ms(),
            }
        )
        return order.happenings[-1]

    def close(self, order: Order) -> None:
        """Close a PENDING charge."""
        assert order.state is State.PENDING, order
        self._append({"close": order.key, "time_ms": self._clock.now_ms()})

    def tell(self, order: Order, happening: Happening) -> None:
        """Note that the caller knows what happened, or that nobody tries any more."""
        self._append({"tell": order.key, "nth": order.happenings.index(happening)})

    def orders(self) -> Sequence[Order]:
        """Return all orders, oldest first."""
        return tuple(self._orders.values())

    def truth(self) -> Iterator[Record]:
        """Yield every order as it is, oldest first; a second payment of one is a row after it."""
        for order in self.orders():
            row = {
                "kind": order.ask.kind,
                "acquirer": order.ask.acquirer,
                "number": order.ask.number,
                "of": order.ask.of,
                "state": order.state,
                "amount_minor": order.ask.amount_minor,
                "moved_minor": order.moved_minor,
                "currency": order.ask.currency,
                "moved_currency": order.reported_currency,
                "provider_no": order.provider_no,
                "attach": order.ask.attach,
                "fault": order.fault,
                "time": to_text(order.time_ms),
            }
            yield row
            for one in order.happenings:
                if one.what is What.PAID_AGAIN:
                    yield row | {
                        "kind": "second_charge",
                        "number": one.provider_no,
                        "of": order.ask.number,
                        "state": State.SUCCEEDED,
                        "moved_minor": one.moved_minor,
                        "provider_no": one.provider_no,
                        "time": to_text(one.time_ms),
                    }

    def _next_number(self, acquirer: str) -> str:
        return f"{acquirer}-{self._numbers + 1:012d}"

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        self.replay(record)

    def _insert(self, order: Order) -> None:
        self._orders[order.key] = order
        self._numbers += 1
        if order.ask.kind is Kind.REFUND:
            self._charge_of(order).given_back_minor += order.ask.amount_minor

    def _happen(self, record: Record) -> None:
        order, what = self._order(record["happen"]), What(record["what"])
        happening = Happening(
            what=what,
            provider_no=record["provider_no"] or order.provider_no,
            moved_minor=record["moved_minor"],
            currency=record["currency"],
            fee_minor=record["fee_minor"],
            time_ms=record["time_ms"],
        )
        order.happenings.append(happening)
        if what is What.PAID_AGAIN:
            self._numbers += 1
            order.extra_minor += happening.moved_minor
            return
        order.state, order.time_ms = _STATE[what], happening.time_ms
        order.moved_minor = 0 if what is What.REVERSED else happening.moved_minor
        order.moved_currency = happening.currency if order.moved_minor else ""
        no_refund = what in (What.FAILED, What.REVERSED)
        if order.ask.kind is Kind.REFUND and no_refund:
            self._charge_of(order).given_back_minor -= order.ask.amount_minor

    def _close(self, record: Record) -> None:
        order = self._order(record["close"])
        order.state, order.time_ms = State.CLOSED, record["time_ms"]

    def _tell(self, record: Record) -> None:
        self._order(record["tell"]).happenings[record["nth"]].is_told = True

    def _charge_of(self, refund: Order) -> Order:
        return self._orders[refund.ask.acquirer, Kind.CHARGE, refund.ask.of]

    def _order(self, key: Sequence[str]) -> Order:
        acquirer, kind, number = key
        return self._orders[acquirer, kind, number]


def _fields(ask: Ask) -> Record:
    return {name: getattr(ask, name) for name in Ask.__slots__}


def _order_of(record: Record) -> Order:
    """Return the order as it was when this record was written."""
    ask = record["open"]
    return Order(
        ask=Ask(**ask | {"kind": Kind(ask["kind"])}),
        provider_no=record["provider_no"],
        fault=Fault(record["fault"]),
        after_s=record["after_s"],
        state=State.PENDING,
        time_ms=record["time_ms"],
    )
