"""What the verbs about one account share: finding it, and changing it once per request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.desk import Desk
from ledger.model import CUSTOMERS, refuse
from ledger.store.account_change import Became, Change, Changed, Verb, change_account
from ledger.store.account_view import AccountView, Named, find_view
from mesh.context import acting
from mesh.errors import Refused, reused
from tongbao.ledger.v1 import reasons_pb2 as reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every change of an account brings: its own number, its content, the account, why."""

    request_id: str
    fingerprint: bytes
    named: Named
    cause: str

    def change(self, verb: Verb) -> Change:
        """Return the change that `verb` makes by this request, as far as all verbs share it."""
        return Change(
            verb=verb,
            actor=f"op:{acting().caller}",
            cause=self.cause,
            request_id=self.request_id,
            fingerprint=verb.encode() + b" " + self.fingerprint,
        )


async def the_account(desk: Desk, named: Named) -> AccountView:
    """Return the account as of now. Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND."""
    if named.account is None:
        found = await find_view(desk.db, account_id=named.account_id)
        called = str(named.account_id)
    else:
        book_id = await desk.accounts.book_of(named.business_code or named.account.business_code)
        called = named.account.name
        found = await find_view(desk.db, book_id=book_id, name=called)
    if found is None:
        raise refuse(reasons.REASON_ACCOUNT_NOT_FOUND, account=called)
    return found


async def the_customers_account(desk: Desk, named: Named) -> AccountView:
    """Return the account of a customer as of now.

    Raises Refused: BOOK_UNKNOWN, ACCOUNT_NOT_FOUND, ACCOUNT_INDISPENSABLE.
    """
    view = await the_account(desk, named)
    kind = view.account.kind
    if kind not in CUSTOMERS:
        account_id = view.account_id
        raise refuse(reasons.REASON_ACCOUNT_INDISPENSABLE, account_id=account_id, kind=kind.name)
    return view


async def change_once(desk: Desk, view: AccountView, change: Change) -> tuple[AccountView, bool]:
    """Return the account after `change`, and whether it had been made before.

    Raises Refused, in this order: REQUEST_REUSED, ACCOUNT_CLOSED, ACCOUNT_NOT_EMPTY,
    LIMITS_CROSSED, LIMIT_BREACHED.
    """
    while True:
        changed = await change_account(
            desk.db, change, book_id=view.book_id, account_id=view.account_id
        )
        if changed.became is not Became.AGAIN:
            break
    if changed.became is Became.REUSED:
        raise reused(field="request_id", number=change.request_id)
    if changed.became in _REFUSALS:
        raise _REFUSALS[changed.became](view.account_id, changed)
    after = await the_account(desk, Named(account_id=view.account_id))
    return after, changed.became is Became.KNOWN


def _closed(account_id: int, _: Changed) -> Refused:
    return refuse(reasons.REASON_ACCOUNT_CLOSED, account_id=account_id)


def _not_empty(account_id: int, changed: Changed) -> Refused:
    return refuse(
        reasons.REASON_ACCOUNT_NOT_EMPTY,
        account_id=account_id,
        posted_minor=changed.posted_minor,
        pending_in_minor=changed.pending_in_minor,
        pending_out_minor=changed.pending_out_minor,
    )


def _crossed(account_id: int, changed: Changed) -> Refused:
    return refuse(
        reasons.REASON_LIMITS_CROSSED,
        account_id=account_id,
        floor_minor=changed.floor_minor,
        cap_minor=changed.cap_minor,
    )


def _below_floor(account_id: int, changed: Changed) -> Refused:
    return refuse(
        reasons.REASON_LIMIT_BREACHED,
        account_id=account_id,
        limit="floor",
        limit_minor=changed.floor_minor,
        stands_minor=changed.posted_minor - changed.pending_out_minor,
    )


def _above_cap(account_id: int, changed: Changed) -> Refused:
    return refuse(
        reasons.REASON_LIMIT_BREACHED,
        account_id=account_id,
        limit="cap",
        limit_minor=changed.cap_minor,
        stands_minor=changed.posted_minor + changed.pending_in_minor,
    )


_REFUSALS: dict[Became, Callable[[int, Changed], Refused]] = {
    Became.CLOSED: _closed,
    Became.NOT_EMPTY: _not_empty,
    Became.CROSSED: _crossed,
    Became.BELOW_FLOOR: _below_floor,
    Became.ABOVE_CAP: _above_cap,
}
