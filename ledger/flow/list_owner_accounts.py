"""List what a merchant or a wallet's owner has with us 客户视图."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.desk import Desk
from ledger.model import NATURES, AccountKind
from ledger.store.account_view import AccountView, views_of_owner

# Owned by a channel account, which may be called like a merchant.
_OF_CHANNELS = {AccountKind.CLEARING, AccountKind.CASH, AccountKind.CHANNEL_RECEIVABLE}

_KINDS = [kind for kind, nature in NATURES.items() if nature.owned and kind not in _OF_CHANNELS]


async def list_owner_accounts(
    desk: Desk, *, owner: str, currency_code: str = ""
) -> Sequence[AccountView]:
    """Return all accounts of the owner, in one currency or all, from one snapshot.

    `owner` is a merchant's id, or `<business code>/<user no>`. Sorted by currency, kind, book.
    """
    return await views_of_owner(desk.db, owner=owner, kinds=_KINDS, currency_code=currency_code)
