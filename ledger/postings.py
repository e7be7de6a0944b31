"""What is booked when: THE table of templates, and how a business event becomes entries.

A template is an ordered list of legs. A leg has one amount, one account that is debited with
it and one that is credited, so whatever is booked is balanced by construction. Legs of zero
are left out. What a template needs to know follows from the accounts that it names.

Names and codes are in the journal for ever: templates may be added, never changed. The table
is in `ledger/templates/`, a module for each family; `docs/reference/templates.md` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from ledger.model import Posting, refuse
from ledger.templates.funds import CLOSES, FUNDS, RESOLUTIONS
from ledger.templates.merchants import MERCHANTS
from ledger.templates.parts import Template
from ledger.templates.payments import PAYMENTS
from ledger.templates.trades import TRADES
from mesh.numbers import derived_id
from tongbao.ledger.v1 import reasons_pb2 as reasons

# By what they are about, in the order of their page.
FAMILIES: Mapping[str, Mapping[str, Template]] = {
    "Payments and refunds 收款与退款": PAYMENTS,
    "Merchants: settlement, reserve, payout, debt 商户": MERCHANTS,
    "Escrow, split, dispute, wallets, promotion 担保、分账、拒付、钱包、营销": TRADES,
    "Real money 资金": FUNDS,
    "Resolutions of differences 差错处理": RESOLUTIONS,
    "Close of a period 损益结转": CLOSES,
}
TEMPLATES: Mapping[str, Template] = {
    name: template for family in FAMILIES.values() for name, template in family.items()
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
