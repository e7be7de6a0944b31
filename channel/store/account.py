"""Statements about channel accounts: a handful of rows, off the hot path."""

from __future__ import annotations

from channel.model import ChannelAccount
from mesh.db import Database, Row

_COLUMNS = (
    "channel_code, adapter, base_url, provider_account, secret, tools, currency_codes, cost_ppm,"
    " priority, version"
)


async def list_accounts(db: Database) -> list[Row]:
    """Return every account, its secret sealed, by priority and code."""
    return await db.rows(_LIST_ACCOUNTS)


async def find_account(db: Database, channel_code: str) -> Row | None:
    """Return the account of this code, its secret sealed."""
    rows = await db.rows(_FIND_ACCOUNT, channel_code=channel_code)
    return rows[0] if rows else None


async def put_account(db: Database, account: ChannelAccount, *, sealed: bytes) -> bool:
    """Write `account`, whose version is one above the one that is there.

    False when somebody changed it first; then nothing was done.
    """
    rows = await db.rows(
        _PUT_ACCOUNT,
        channel_code=account.channel_code,
        adapter=account.adapter,
        base_url=account.base_url,
        provider_account=account.provider_account,
        secret=sealed,
        tools=list(account.tools),
        currency_codes=list(account.currency_codes),
        cost_ppm=account.cost_ppm,
        priority=account.priority,
        version=account.version,
    )
    return bool(rows)


_LIST_ACCOUNTS = f"SELECT {_COLUMNS} FROM channel_account ORDER BY priority, channel_code"

_FIND_ACCOUNT = f"""
SELECT {_COLUMNS} FROM channel_account WHERE channel_code = %(channel_code)s
"""

_PUT_ACCOUNT = f"""
INSERT INTO channel_account AS c ({_COLUMNS})
VALUES (%(channel_code)s, %(adapter)s, %(base_url)s, %(provider_account)s, %(secret)s, %(tools)s,
        %(currency_codes)s, %(cost_ppm)s, %(priority)s, %(version)s)
ON CONFLICT (channel_code) DO UPDATE
SET adapter = excluded.adapter, base_url = excluded.base_url,
    provider_account = excluded.provider_account, secret = excluded.secret,
    tools = excluded.tools, currency_codes = excluded.currency_codes,
    cost_ppm = excluded.cost_ppm, priority = excluded.priority, version = excluded.version,
    update_time = business_now()
WHERE c.version = excluded.version - 1
RETURNING version
"""
