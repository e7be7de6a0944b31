"""What is booked when: THE table of templates, and how a business event becomes entries.

A template is an ordered list of legs. A leg has one amount, one account that is debited with
it and one that is credited, so whatever is booked is balanced by construction. Legs of zero
are left out. What a template needs to know follows from the accounts that it names.

Names and codes are in the journal for ever: templates may be added, never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from ledger.model import BALANCE, Account, AccountKind, Posting, refuse
from mesh.numbers import derived_id
from tongbao.ledger.v1 import reasons_pb2 as reasons


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount that a business event brings. Within a template the name is the leg's name."""

    name: str
    of: Callable[[Posting], int]


AMOUNT = Amount("amount", lambda event: event.amount_minor)
NET = Amount("net", lambda event: event.amount_minor - event.fee_minor)
FEE = Amount("fee", lambda event: event.fee_minor)
COST = Amount("cost", lambda event: event.cost_minor)


@dataclass(frozen=True, slots=True)
class Side:
    """An account as a template names it: its kind, and the owner it has in an event.

    `fact` is the field of the event that must not be empty for that; empty if none.
    """

    kind: AccountKind
    owner: Callable[[Posting], str]
    fact: str = ""

    def name(self, event: Posting) -> str:
        """Return the name of the account in `event`."""
        return Account(self.kind, self.owner(event), event.currency_code).name


def _nobody(_: Posting) -> str:
    return ""


WALLET = Side(AccountKind.WALLET, lambda event: f"{event.business_code}/{event.user_no}", "user_no")
PENDING = Side(AccountKind.MERCHANT_PENDING, lambda event: event.merchant_id, "merchant_id")
CHANNEL = Side(AccountKind.CLEARING, lambda event: event.channel_code, "channel_code")
WALLETS = Side(AccountKind.CLEARING, lambda _: BALANCE)
TRANSIT = Side(AccountKind.REFUND_TRANSIT, _nobody)
SUSPENSE = Side(AccountKind.SUSPENSE, _nobody)
DUPLICATE = Side(AccountKind.DUPLICATE, _nobody)
# What is owed to us by whoever had the money: as their own accounts are called.
MERCHANT_DEBT = Side(AccountKind.RECEIVABLE, lambda event: event.merchant_id, "merchant_id")
WALLET_DEBT = Side(AccountKind.RECEIVABLE, WALLET.owner, WALLET.fact)
FEE_INCOME = Side(AccountKind.FEE_INCOME, _nobody)
CHANNEL_COST = Side(AccountKind.CHANNEL_COST, _nobody)


@dataclass(frozen=True, slots=True)
class Leg:
    """`amount` goes from the credit side of `credit` to the debit side of `debit`."""

    debit: Side
    credit: Side
    amount: Amount


@dataclass(frozen=True, slots=True)
class Template:
    """How one kind of event is booked. `code` and the place of a leg make the leg's code.

    With `opens`, accounts that are not there are opened first: money in doubt comes in
    currencies that nobody foresaw, and must be booked all the same.
    """

    code: int
    legs: tuple[Leg, ...]
    opens: bool = False

    def facts(self) -> list[str]:
        """Return the fields an event must bring beside its amount, each once, in order."""
        sides = [side for leg in self.legs for side in (leg.debit, leg.credit)]
        return list(dict.fromkeys(side.fact for side in sides if side.fact))


# What a channel takes is owed to it from the moment it charges (reconciliation.md N1).
_COST = Leg(CHANNEL_COST, CHANNEL, COST)
_COST_BACK = Leg(CHANNEL, CHANNEL_COST, COST)

TEMPLATES: Mapping[str, Template] = {
    # A payment by wallet: the leg of the balance adapter. PaymentSucceeded books the rest
    # by COLLECTED like that of any channel, so that clearing of wallets returns to zero.
    "WALLET_PAID": Template(1, (Leg(WALLET, WALLETS, AMOUNT),)),
    "WALLET_REFUNDED": Template(2, (Leg(WALLETS, WALLET, AMOUNT),)),
    # Money in 收款: the channel owes us, we owe the merchant, or the wallet's owner 充值.
    "COLLECTED": Template(3, (Leg(CHANNEL, PENDING, NET), Leg(CHANNEL, FEE_INCOME, FEE), _COST)),
    "RECHARGED": Template(4, (Leg(CHANNEL, WALLET, AMOUNT), _COST)),
    # Refund: out of the merchant's account before any channel is asked, fee share from us.
    "REFUND_ASKED": Template(5, (Leg(PENDING, TRANSIT, NET), Leg(FEE_INCOME, TRANSIT, FEE))),
    "REFUND_SUCCEEDED": Template(6, (Leg(TRANSIT, CHANNEL, AMOUNT),)),
    "REFUND_FAILED": Template(7, (Leg(TRANSIT, PENDING, NET), Leg(TRANSIT, FEE_INCOME, FEE))),
    # Money in whose owner is in doubt 挂账: at the channel's amount for a payment under
    # review; whole for one that its own accounts refused.
    "MISMATCH_SUSPENDED": Template(8, (Leg(CHANNEL, SUSPENSE, AMOUNT),), opens=True),
    "COLLECT_SUSPENDED": Template(9, (Leg(CHANNEL, SUSPENSE, AMOUNT), _COST)),
    # A second charge of one trade, under the number of its attempt.
    "DUPLICATE_PARKED": Template(10, (Leg(CHANNEL, DUPLICATE, AMOUNT),), opens=True),
    # Back to the payer 账务冲退, by REFUND_SUCCEEDED under the give-back's number.
    "SUSPENSE_RETURN_ASKED": Template(11, (Leg(SUSPENSE, TRANSIT, AMOUNT),), opens=True),
    "DUPLICATE_RETURN_ASKED": Template(12, (Leg(DUPLICATE, TRANSIT, AMOUNT),), opens=True),
    "SUSPENSE_RETURN_FAILED": Template(13, (Leg(TRANSIT, SUSPENSE, AMOUNT),)),
    "DUPLICATE_RETURN_FAILED": Template(14, (Leg(TRANSIT, DUPLICATE, AMOUNT),)),
    # A person accepts what stood in suspense: from here on as if it had been collected.
    "SUSPENSE_COLLECTED": Template(
        15, (Leg(SUSPENSE, PENDING, NET), Leg(SUSPENSE, FEE_INCOME, FEE), _COST)
    ),
    "SUSPENSE_RECHARGED": Template(16, (Leg(SUSPENSE, WALLET, AMOUNT), _COST)),
    # The channel takes a success back 冲正: the exact mirror, so that clearing says what the
    # channel says. Whoever spent the money meanwhile owes it; nobody goes below zero.
    "COLLECT_REVERSED": Template(
        17, (Leg(PENDING, CHANNEL, NET), Leg(FEE_INCOME, CHANNEL, FEE), _COST_BACK)
    ),
    "RECHARGE_REVERSED": Template(18, (Leg(WALLET, CHANNEL, AMOUNT), _COST_BACK)),
    "COLLECT_REVERSED_OWED": Template(
        19,
        (Leg(MERCHANT_DEBT, CHANNEL, NET), Leg(FEE_INCOME, CHANNEL, FEE), _COST_BACK),
        opens=True,
    ),
    "RECHARGE_REVERSED_OWED": Template(
        20, (Leg(WALLET_DEBT, CHANNEL, AMOUNT), _COST_BACK), opens=True
    ),
    "SUSPENSE_REVERSED": Template(21, (Leg(SUSPENSE, CHANNEL, AMOUNT), _COST_BACK)),
    # A person says that the channel has the money after all: each mirrors one of the above.
    "COLLECT_RESTORED": Template(
        22, (Leg(CHANNEL, PENDING, NET), Leg(CHANNEL, FEE_INCOME, FEE), _COST)
    ),
    "RECHARGE_RESTORED": Template(23, (Leg(CHANNEL, WALLET, AMOUNT), _COST)),
    "COLLECT_RESTORED_OWED": Template(
        24, (Leg(CHANNEL, MERCHANT_DEBT, NET), Leg(CHANNEL, FEE_INCOME, FEE), _COST)
    ),
    "RECHARGE_RESTORED_OWED": Template(25, (Leg(CHANNEL, WALLET_DEBT, AMOUNT), _COST)),
    "SUSPENSE_RESTORED": Template(30, (Leg(CHANNEL, SUSPENSE, AMOUNT), _COST)),
    # A refund came back to us 退票, and what a person made of that: the merchant has the money
    # again, or the payer kept it.
    "REFUND_RETURNED": Template(26, (Leg(CHANNEL, SUSPENSE, AMOUNT),), opens=True),
    "REFUND_RETURN_CREDITED": Template(
        27, (Leg(SUSPENSE, PENDING, NET), Leg(SUSPENSE, FEE_INCOME, FEE))
    ),
    "REFUND_RETURN_UNDONE": Template(28, (Leg(SUSPENSE, CHANNEL, AMOUNT),)),
    # A payer has money that nobody gave: a refund that had failed, or another amount.
    "REFUND_SUSPENDED": Template(29, (Leg(SUSPENSE, CHANNEL, AMOUNT),), opens=True),
}


_FACTS = {name: template.facts() for name, template in TEMPLATES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEntry:
    """One transfer to be made. Accounts by name; the amount in minor units."""

    id: UUID
    code: int
    debit: str
    credit: str
    amount_minor: int


def plan(event: Posting) -> tuple[UUID, list[PlannedEntry]]:
    """Return the id of the voucher and its entries, in order; at least one.

    The ids follow from number, template and leg, so whoever books the event again books the
    same. An amount that makes no sense, such as a fee above the amount, is planned as it is:
    the ledger refuses it like everything else that it cannot book.

    Raises Refused: TEMPLATE_UNKNOWN, FACT_MISSING.
    """
    template = TEMPLATES.get(event.template)
    if template is None:
        raise refuse(reasons.REASON_TEMPLATE_UNKNOWN, template=event.template)
    if event.amount_minor <= 0:
        raise _missing(event, "amount")
    for fact in _FACTS[event.template]:
        if not getattr(event, fact):
            raise _missing(event, fact)
    try:
        txn = derived_id(event.source_no, event.template)
    except ValueError:  # No date in it, so it is not the number of an order.
        raise _missing(event, "source_no") from None
    return txn, [
        PlannedEntry(
            id=derived_id(event.source_no, event.template, leg.amount.name),
            code=10 * template.code + place,
            debit=leg.debit.name(event),
            credit=leg.credit.name(event),
            amount_minor=amount_minor,
        )
        for place, leg in enumerate(template.legs, start=1)
        if (amount_minor := leg.amount.of(event)) != 0
    ]


def _missing(event: Posting, field: str) -> Exception:
    return refuse(reasons.REASON_FACT_MISSING, template=event.template, field=field)
