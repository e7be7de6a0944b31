"""What an acquirer does with a request that it has understood."""

from __future__ import annotations

from sim.book import Ask, Book, Key, Order, State
from sim.clock import Clock
from sim.faults import Fault, Kind, Op
from sim.payer import Payers
from sim.requests import Asked, Refusal, invalid
from sim.rules import Rules, Subject, Verdict

HIDDEN_FOR = 2  # So many questions about a hidden order are told that there is none.


class Desk:
    """Finds, opens and closes the orders of one acquirer."""

    def __init__(
        self, acquirer: str, *, book: Book, rules: Rules, payers: Payers, clock: Clock
    ) -> None:
        self._acquirer, self._book, self._rules = acquirer, book, rules
        self._payers, self._clock = payers, clock
        self._hidden: dict[Key, int] = {}

    def verdict_on(self, asked: Asked) -> Verdict:
        """Return what is to go wrong with this request. A rule is used up by it."""
        known = self._find(asked)
        ask = asked.ask or (known and known.ask)
        subject = Subject(
            acquirer=self._acquirer,
            op=asked.op,
            number=asked.number,
            amount_minor=ask.amount_minor if ask else None,
            attach=ask.attach if ask else "",
            is_known=known is not None,
        )
        return self._rules.take(subject, now_ms=self._clock.now_ms())

    def knows(self, asked: Asked) -> bool:
        """Return whether the number stands for an order."""
        return self._find(asked) is not None

    def serve(self, asked: Asked, *, verdict: Verdict) -> Order:
        """Do what is asked and return the order as it is then; the fault stays with a new one.

        Raises Refusal: INVALID_PARAMETER, CHARGE_EXISTS, REFUND_EXISTS, NOT_FOUND,
        REFUND_EXCEEDS, ALREADY_PAID, PAYER_IS_PAYING.
        """
        order = self._find(asked)
        if asked.ask is not None:
            return self._open(asked.ask, order, verdict)
        if order is None or self._is_hidden(order, asked.op, verdict):
            raise Refusal(404, "NOT_FOUND")
        if asked.op is Op.CLOSE:
            self._close(order, verdict.fault)
        return order

    def _find(self, asked: Asked) -> Order | None:
        return self._book.find(self._acquirer, asked.op.kind, asked.number)

    def _is_hidden(self, order: Order, op: Op, verdict: Verdict) -> bool:
        """Return whether this question comes too early for what our own left hand did."""
        if op is Op.CLOSE:
            return False
        left = self._hidden.get(order.key, 0)
        self._hidden[order.key] = max(0, left - 1)
        return left > 0 or verdict.fault is Fault.HIDDEN

    def _open(self, ask: Ask, known: Order | None, verdict: Verdict) -> Order:
        """Return the order of this number, made now if there is none."""
        if known is not None:
            if known.ask != ask:
                raise Refusal(409, f"{ask.kind.upper()}_EXISTS")
            return known
        if ask.kind is Kind.REFUND:
            self._check_refund(ask)
        order = self._book.open(ask, fault=verdict.fault, after_s=verdict.after_s)
        if verdict.fault is Fault.HIDDEN:
            self._hidden[order.key] = HIDDEN_FOR
        self._payers.expect(order)
        return order

    def _check_refund(self, ask: Ask) -> None:
        charge = self._book.find(self._acquirer, Kind.CHARGE, ask.of)
        if charge is None:
            raise Refusal(404, "NOT_FOUND")
        if charge.reported_currency != ask.currency:  # What came is what can go back.
            raise invalid("currency")
        if ask.amount_minor > charge.moved_minor + charge.extra_minor - charge.given_back_minor:
            raise Refusal(409, "REFUND_EXCEEDS")

    def _close(self, charge: Order, fault: Fault) -> None:
        """Close a charge that nobody has paid; one that ended without money stays as it is."""
        if charge.state is State.SUCCEEDED:
            raise Refusal(409, "ALREADY_PAID")
        if charge.state is not State.PENDING:
            return
        if charge.fault is Fault.PAYER_PAYING:
            self._payers.begin_paying(charge)
        if Fault.PAYER_PAYING in (charge.fault, fault):
            raise Refusal(409, "PAYER_IS_PAYING")
        self._book.close(charge)
        self._payers.expect(charge)
