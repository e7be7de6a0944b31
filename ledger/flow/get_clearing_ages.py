"""How old is what stands on clearing accounts 待清算: by accounting day, first in, first out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ledger.desk import Desk
from ledger.model import refuse
from ledger.store.clearing import ClearingAccount, clearing_accounts
from tongbao.ledger.v1 import reasons_pb2 as reasons

# From so many days to so many, both included; None has no end.
BUCKETS: Sequence[tuple[int, int | None]] = (
    (0, 0),
    (1, 1),
    (2, 2),
    (3, 3),
    (4, 7),
    (8, 30),
    (31, None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingAge:
    """What stands on a clearing account and how old it is, in minor units; what we owe the
    channel is below zero. `open_minor` has an amount for each of BUCKETS; they add up to the
    balance. `oldest` is the oldest day of which something is open, None when nothing is.
    """

    channel_code: str
    currency_code: str
    balance_minor: int
    oldest: date | None
    open_minor: Sequence[int]


async def get_clearing_ages(desk: Desk, *, book_id: int) -> tuple[date, Sequence[ClearingAge]]:
    """Return the date a book is at, and its clearing accounts by currency and channel.

    Raises Refused(BOOK_NOT_FOUND).
    """
    found = await clearing_accounts(desk.db, book_id=book_id)
    if found is None:
        raise refuse(reasons.REASON_BOOK_NOT_FOUND, book_id=book_id)
    today, accounts = found
    return today, [_age(account, today) for account in accounts]


def _age(account: ClearingAccount, today: date) -> ClearingAge:
    open_minor = [0] * len(BUCKETS)
    oldest = None
    for acct_date, minor in _open_by_day(account):
        if minor:
            open_minor[_bucket((today - acct_date).days)] += minor
            oldest = acct_date
    return ClearingAge(
        channel_code=account.channel_code,
        currency_code=account.currency_code,
        balance_minor=account.balance_minor,
        oldest=oldest,
        open_minor=open_minor,
    )


def _open_by_day(account: ClearingAccount) -> list[tuple[date, int]]:
    """Return what is open of each day, the newest first.

    As the oldest goes first, the balance is what came in last: days are taken from the newest
    back until it is used up. A balance on the credit side is made of credits, below zero.
    """
    left, sign = abs(account.balance_minor), 1 if account.balance_minor > 0 else -1
    found = []
    for day in account.days:
        taken = min(left, max(day.debit_minor if sign > 0 else day.credit_minor, 0))
        found.append((day.acct_date, sign * taken))
        left -= taken
    return found


def _bucket(age_days: int) -> int:
    return next(
        place for place, (_, last) in enumerate(BUCKETS) if last is None or age_days <= last
    )
