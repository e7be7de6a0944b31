"""Get the trial balance 试算平衡."""

from __future__ import annotations

from ledger.desk import Desk
from ledger.store import report


async def get_trial_balance(desk: Desk) -> list[report.Total]:
    """Return debits and credits by currency, kind and owner, as of one moment.

    It reads the balances; that these agree with the journal is what ProveBook shows.
    """
    return await report.trial_balance(desk.db)
