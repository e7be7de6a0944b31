"""The channel accounts as this process knows them, at most a second old."""

from __future__ import annotations

import asyncio

from channel.adapters import ADAPTERS
from channel.model import BALANCE, ChannelAccount
from channel.store import account as store
from mesh.clock import monotonic
from mesh.db import Database, Row
from mesh.money import DECIMALS
from mesh.seal import Seal

FRESH_SECONDS = 1.0

# The platform's own wallets. Not a row: it needs no secret and nobody may change it.
BUILT_IN = ChannelAccount(
    channel_code=BALANCE,
    adapter=BALANCE,
    base_url="",
    provider_account="",
    secret="",
    tools=tuple(sorted(ADAPTERS[BALANCE].spec.tools)),
    currency_codes=tuple(sorted(DECIMALS)),
    cost_ppm=0,
    priority=0,
    version=1,
)


class Accounts:
    """Reads the accounts anew when what we know is older than a second, never more often."""

    def __init__(self, db: Database, seal: Seal) -> None:
        self._db, self._seal = db, seal
        self._known: dict[str, ChannelAccount] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def all(self) -> list[ChannelAccount]:
        """Return every account, the built-in one included, in the order they are tried."""
        return list((await self._fresh()).values())

    async def get(self, channel_code: str) -> ChannelAccount | None:
        """Return the account of this code."""
        known = self._known if channel_code in self._known and self._is_fresh() else None
        return (known or await self._fresh()).get(channel_code)

    def sealed(self, account: ChannelAccount) -> bytes:
        """Return the account's secret as its row may hold it."""
        return self._seal.close(account.secret, place=_place(account.channel_code))

    def opened(self, row: Row) -> ChannelAccount:
        """Return the account in `row`. Raises ValueError when its secret is not ours."""
        known = self._known.get(row.channel_code)
        if known is not None and known.version == row.version:
            return known
        return ChannelAccount(
            channel_code=row.channel_code,
            adapter=row.adapter,
            base_url=row.base_url,
            provider_account=row.provider_account,
            secret=self._seal.open(bytes(row.secret), place=_place(row.channel_code)),
            tools=tuple(row.tools),
            currency_codes=tuple(row.currency_codes),
            cost_ppm=row.cost_ppm,
            priority=row.priority,
            version=row.version,
        )

    def forget(self) -> None:
        """Read anew at the next use."""
        self._read_at = None

    async def _fresh(self) -> dict[str, ChannelAccount]:
        if self._is_fresh():
            return self._known
        async with self._reading:  # Whoever waited finds what the first one read.
            if not self._is_fresh():
                asked_at = monotonic()
                rows = await store.list_accounts(self._db)
                accounts = [BUILT_IN, *(self.opened(row) for row in rows)]
                self._known = {account.channel_code: account for account in accounts}
                self._read_at = asked_at
            return self._known

    def _is_fresh(self) -> bool:
        return self._read_at is not None and monotonic() - self._read_at < FRESH_SECONDS


def _place(channel_code: str) -> str:
    """Return where the secret of this account is at home; sealed for there, it opens only there."""
    return f"channel_account|secret|{channel_code}"
