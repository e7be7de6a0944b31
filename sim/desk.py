"""What an acquirer does with a request that it has understood."""

from __future__ import annotations

from sim.book import Ask, Book, Order, State
from sim.faults import Fault, Kind, Op, Rules
from sim.requests import Asked, Refusal, invalid
from sim.robot import Robot


class Desk:
    """Finds, opens and closes the orders of one acquirer."""

    def __init__(self, acquirer: str, *, book: Book, rules: Rules, robot: Robot) -> None:
        self._acquirer, self._book, self._rules, self._robot = acquirer, book, rules, robot

    def fault_of(self, asked: Asked) -> Fault:
        """Return what is to go wrong with this request. A rule is used up by it."""
        return self._rules.take(
            acquirer=self._acquirer,
            op=asked.op,
            number=asked.number,
            amount_minor=asked.ask.amount_minor if asked.ask else None,
            known=self._find(asked) is not None,
        )

    def serve(self, asked: Asked, *, fault: Fault) -> Order:
        """Do what is asked and return the order as it is then; `fault` stays with a new one.

        Raises Refusal: INVALID_PARAMETER, CHARGE_EXISTS, REFUND_EXISTS, NOT_FOUND,
        REFUND_EXCEEDS, ALREADY_PAID.
        """
        order = self._find(asked)
        if asked.ask is not None:
            return self._open(asked.ask, order, fault)
        if order is None:
            raise Refusal(404, "NOT_FOUND")
        if asked.op is Op.CLOSE:
            self._close(order)
        return order

    def _find(self, asked: Asked) -> Order | None:
        return self._book.find(self._acquirer, asked.op.kind, asked.number)

    def _open(self, ask: Ask, known: Order | None, fault: Fault) -> Order:
        """Return the order of this number, made now if there is none."""
        if known is not None:
            if known.ask != ask:
                raise Refusal(409, f"{ask.kind.upper()}_EXISTS")
            return known
        if ask.kind is Kind.REFUND:
            self._check_refund(ask)
        order = self._book.open(ask, fault=fault)
        self._robot.expect(order)
        return order

    def _check_refund(self, ask: Ask) -> None:
        charge = self._book.find(self._acquirer, Kind.CHARGE, ask.of)
        if charge is None:
            raise Refusal(404, "NOT_FOUND")
        if charge.ask.currency != ask.currency:
            raise invalid("currency")
        if ask.amount_minor > charge.moved_minor - charge.given_back_minor:
            raise Refusal(409, "REFUND_EXCEEDS")

    def _close(self, charge: Order) -> None:
        """Close a charge that nobody has paid; one that ended without money stays as it is."""
        if charge.state is State.SUCCEEDED:
            raise Refusal(409, "ALREADY_PAID")
        if charge.state is State.PENDING:
            self._book.settle(charge, state=State.CLOSED)
