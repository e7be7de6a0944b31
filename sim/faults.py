"""What can go wrong at a provider: one table of faults, where each can strike, and by what digits.

README.md says of every fault what happens.
"""

from __future__ import annotations

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
    """How it goes wrong."""

    NONE = "none"
    # Before processing: the provider never learns of the request.
    RESET = "reset"
    HANG = "hang"
    SYSTEM_ERROR = "system_error"
    # In the reply: the request is processed all the same.
    PROCESSED_HANG = "processed_hang"
    PROCESSED_RESET = "processed_reset"
    PROCESSED_ERROR = "processed_error"
    NEW_CODE = "new_code"
    HIDDEN = "hidden"
    BAD_SIGNATURE = "bad_signature"
    STALE_REPLY = "stale_reply"
    MALFORMED = "malformed"
    BAD_GATEWAY = "bad_gateway"
    REDIRECT = "redirect"
    DRIP = "drip"
    HUGE_BODY = "huge_body"
    # Afterwards: kept with the order that the request made. First what the payer does.
    REFUSED_LATER = "refused_later"
    PAYS_LATE = "pays_late"
    NEVER_PAID = "never_paid"
    PAYER_PAYING = "payer_paying"
    PAID_AFTER_CLOSE = "paid_after_close"
    PAID_TWICE = "paid_twice"
    REVERSED = "reversed"
    WRONG_AMOUNT = "wrong_amount"
    WRONG_CURRENCY = "wrong_currency"
    # Then how the caller hears of it.
    LOST_CALLBACK = "lost_callback"
    LATE_CALLBACK = "late_callback"
    EARLY_CALLBACK = "early_callback"
    TRIPLE_CALLBACK = "triple_callback"
    STALE_CALLBACK = "stale_callback"
    FORGED_CALLBACK = "forged_callback"
    WRONG_ACCOUNT = "wrong_account"
    SHUFFLED_CALLBACK = "shuffled_callback"
    REVERSED_FIRST = "reversed_first"
    # And the bill.
    MISSING_IN_BILL = "missing_in_bill"


BEFORE = frozenset({Fault.RESET, Fault.HANG, Fault.SYSTEM_ERROR})

_IN_ANY_REPLY = frozenset(
    {
        Fault.PROCESSED_RESET,
        Fault.PROCESSED_ERROR,
        Fault.NEW_CODE,
        Fault.BAD_SIGNATURE,
        Fault.STALE_REPLY,
        Fault.MALFORMED,
        Fault.BAD_GATEWAY,
        Fault.REDIRECT,
        Fault.DRIP,
        Fault.HUGE_BODY,
    }
)

# After these nobody tells the caller unasked: it has to find out.
SILENT = frozenset({Fault.LOST_CALLBACK, Fault.HIDDEN})

_CREATING = frozenset(op for op in Op if op.is_creating)
_CHARGE = frozenset({Op.CHARGE})

# What a payer does wrong has no counterpart in a refund, and a refund of more than was paid
# would be our own mistake.
OPS: dict[Fault, frozenset[Op]] = (
    dict.fromkeys(Fault, _CREATING)
    | dict.fromkeys({Fault.NONE, *BEFORE, *_IN_ANY_REPLY}, frozenset(Op))
    | {
        Fault.HIDDEN: frozenset(Op) - {Op.CLOSE},
        Fault.NEVER_PAID: _CHARGE,
        Fault.PAYER_PAYING: frozenset({Op.CHARGE, Op.CLOSE}),
        Fault.PAID_AFTER_CLOSE: _CHARGE,
        Fault.PAID_TWICE: _CHARGE,
        Fault.WRONG_AMOUNT: _CHARGE,
        Fault.WRONG_CURRENCY: _CHARGE,
    }
)

# By the last two digits of an amount in minor units, or by its last four: 77.01 and so on.
MAGIC = {
    90: Fault.LOST_CALLBACK,
    91: Fault.PROCESSED_HANG,
    92: Fault.RESET,
    93: Fault.PAYS_LATE,
    94: Fault.REFUSED_LATER,
    95: Fault.TRIPLE_CALLBACK,
    96: Fault.WRONG_AMOUNT,
    97: Fault.HANG,
    98: Fault.MISSING_IN_BILL,
    99: Fault.PROCESSED_ERROR,
    7701: Fault.PAYER_PAYING,
    7702: Fault.NEVER_PAID,
    7703: Fault.PAID_AFTER_CLOSE,
    7704: Fault.PAID_TWICE,
    7705: Fault.REVERSED,
    7706: Fault.REVERSED_FIRST,
    7707: Fault.WRONG_CURRENCY,
    7708: Fault.LATE_CALLBACK,
    7709: Fault.EARLY_CALLBACK,
    7710: Fault.STALE_CALLBACK,
    7711: Fault.FORGED_CALLBACK,
    7712: Fault.WRONG_ACCOUNT,
    7713: Fault.SHUFFLED_CALLBACK,
    7714: Fault.HIDDEN,
    7715: Fault.PROCESSED_RESET,
    7716: Fault.NEW_CODE,
    7717: Fault.BAD_SIGNATURE,
    7718: Fault.STALE_REPLY,
    7719: Fault.MALFORMED,
    7720: Fault.BAD_GATEWAY,
    7721: Fault.REDIRECT,
    7722: Fault.DRIP,
    7723: Fault.HUGE_BODY,
    7724: Fault.SYSTEM_ERROR,
}

# How long the faults that wait do so, in virtual seconds, unless a rule says otherwise.
AFTER_S = {
    Fault.PAYS_LATE: 60,
    Fault.LATE_CALLBACK: 600,
}


def magic(amount_minor: int) -> Fault:
    """Return the fault that an amount asks for."""
    by_four = MAGIC.get(amount_minor % 10_000)
    return by_four or MAGIC.get(amount_minor % 100, Fault.NONE)
