"""What can go wrong at a provider, by the amount's last two digits or by a scripted rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an order is."""

    CHARGE = "charge"
    REFUND = "refund"


class Op(StrEnum):
    """What a caller can ask of the provider."""

    CHARGE = "charge"
    QUERY = "query"
    CLOSE = "close"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"

    @property
    def kind(self) -> Kind:
        """What kind of order it is about."""
        return Kind.REFUND if self in (Op.REFUND, Op.QUERY_REFUND) else Kind.CHARGE

    @property
    def is_creating(self) -> bool:
        """Whether it makes an order, so that its body says what is wanted."""
        return self in (Op.CHARGE, Op.REFUND)


class Fault(StrEnum):
    """How it goes wrong. README.md says the same at more length."""

    NONE = "none"
    # Before processing: the provider never learns of the request.
    RESET = "reset"
    HANG = "hang"
    SYSTEM_ERROR = "system_error"
    # In the reply: the request is processed all the same.
    PROCESSED_HANG = "processed_hang"
    BAD_SIGNATURE = "bad_signature"
    # Afterwards: kept with the order that the request made.
    LOST_CALLBACK = "lost_callback"
    REFUSED_LATER = "refused_later"
    TRIPLE_CALLBACK = "triple_callback"
    WRONG_AMOUNT = "wrong_amount"


BEFORE = frozenset({Fault.RESET, Fault.HANG, Fault.SYSTEM_ERROR})
IN_REPLY = frozenset({Fault.PROCESSED_HANG, Fault.BAD_SIGNATURE})

_CREATING = frozenset(op for op in Op if op.is_creating)

# A refund of more than was paid would be our own mistake, not a fault of the payer's bank.
OPS: dict[Fault, frozenset[Op]] = dict.fromkeys(Fault, _CREATING) | {
    Fault.NONE: frozenset(Op),
    Fault.RESET: frozenset(Op),
    Fault.HANG: frozenset(Op),
    Fault.SYSTEM_ERROR: frozenset(Op),
    Fault.BAD_SIGNATURE: frozenset(Op),
    Fault.WRONG_AMOUNT: frozenset({Op.CHARGE}),
}

MAGIC = {
    90: Fault.LOST_CALLBACK,
    91: Fault.PROCESSED_HANG,
    92: Fault.RESET,
    94: Fault.REFUSED_LATER,
    95: Fault.TRIPLE_CALLBACK,
    96: Fault.WRONG_AMOUNT,
    97: Fault.HANG,
}


@dataclass(slots=True, kw_only=True)
class Rule:
    """A scripted fault for the next `times` requests that match. None matches any."""

    acquirer: str
    op: Op
    fault: Fault
    times: int
    amount_minor: int | None = None
    number: str | None = None

    def matches(self, *, acquirer: str, op: Op, number: str, amount_minor: int | None) -> bool:
        """Return whether the rule speaks of this request. A query has no amount."""
        return (
            (self.acquirer, self.op) == (acquirer, op)
            and self.amount_minor in (None, amount_minor)
            and self.number in (None, number)
        )


class Rules:
    """Scripted faults in the order in which they came. They do not outlive the process."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._struck: set[tuple[str, str]] = set()

    def add(self, rule: Rule) -> None:
        """Put `rule` after those that are there."""
        self._rules.append(rule)

    def take(
        self, *, acquirer: str, op: Op, number: str, amount_minor: int | None, known: bool
    ) -> Fault:
        """Return the fault of this request: the first rule's that matches, else the amount's.

        A rule is used up by it. A `known` number is never hurt by its amount: the fault
        happened when the order was made, and asking again is how a caller gets over it. So
        it is with a number that was kept from us: sent again, it comes through.
        """
        for rule in self._rules:
            if rule.matches(acquirer=acquirer, op=op, number=number, amount_minor=amount_minor):
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
                return rule.fault
        if known or amount_minor is None:
            return Fault.NONE
        fault = MAGIC.get(amount_minor % 100, Fault.NONE)
        if fault in BEFORE:
            if (acquirer, number) in self._struck:
                return Fault.NONE
            self._struck.add((acquirer, number))
        return fault if op in OPS[fault] else Fault.NONE
