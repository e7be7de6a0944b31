"""Put: check a channel account, open its books, write it."""

from __future__ import annotations

from dataclasses import replace

from channel.adapters import ADAPTERS
from channel.desk import Desk
from channel.model import BALANCE, ChannelAccount, refuse
from channel.store import account as store
from mesh.money import known
from tongbao.channel.v1 import reasons_pb2 as reasons


async def put_channel_account(desk: Desk, wanted: ChannelAccount) -> tuple[int, bool]:
    """Make the account of this code what `wanted` says, whatever its version.

    Returns its version, and whether it was so before. Its clearing accounts are open before
    it can be chosen: refusals of the ledger are remembered (decisions.md 12).

    Raises Refused: ADAPTER_UNKNOWN, TOOL_UNSUPPORTED, CURRENCY_UNKNOWN.
    """
    _check(wanted)
    while True:
        row = await store.find_account(desk.db, wanted.channel_code)
        current = desk.accounts.opened(row) if row else None
        version = current.version if current else 0
        if current is not None and current == replace(wanted, version=version):
            return version, True
        for currency_code in wanted.currency_codes:
            await desk.books.open_clearing(wanted.channel_code, currency_code)
        new = replace(wanted, version=version + 1)
        written = await store.put_account(desk.db, new, sealed=desk.accounts.sealed(new))
        desk.accounts.forget()
        if written:
            return new.version, False


def _check(wanted: ChannelAccount) -> None:
    names = sorted(ADAPTERS.keys() - {BALANCE})  # Wallets are reached by the built-in account.
    if wanted.adapter not in names:
        raise refuse(reasons.REASON_ADAPTER_UNKNOWN, adapter=wanted.adapter, known=", ".join(names))
    for tool in wanted.tools:
        if tool not in ADAPTERS[wanted.adapter].spec.tools:
            raise refuse(reasons.REASON_TOOL_UNSUPPORTED, adapter=wanted.adapter, tool=tool)
    for currency_code in wanted.currency_codes:
        if not known(currency_code):
            raise refuse(reasons.REASON_CURRENCY_UNKNOWN, currency_code=currency_code)
