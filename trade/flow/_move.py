"""Move a trade by a pure rule: read, decide, compare and set; again when somebody was first."""

from __future__ import annotations

from collections.abc import Callable

from mesh.batch import NotExecuted
from mesh.context import note
from trade.desk import Desk
from trade.flow._tell import tell_trade
from trade.model import Trade
from trade.store import kept, trade

_TRIES_MAX = 20


async def move_until_current(
    desk: Desk,
    *,
    app_id: str,
    trade_no: str,
    after: Callable[[Trade], Trade],
    seen: Trade | None = None,
) -> Trade:
    """Return the trade after `after`, which returns the same trade when nothing changes.

    Raises NotExecuted when others were first every time.
    """
    for _ in range(_TRIES_MAX):
        if seen is None:
            seen = await kept.find_trade(desk.db, app_id=app_id, trade_no=trade_no)
            assert seen is not None, f"no trade {trade_no} of {app_id}"
        note(trace_no=seen.trace_no)
        moved = after(seen)
        if moved is seen:
            return seen
        event, letter = await tell_trade(desk, seen, moved)
        if await trade.move_trade(desk.db, seen, moved, event=event, letter=letter):
            desk.watchers.saw(moved)
            return moved
        seen = None
    raise NotExecuted(f"{trade_no} was moved by others {_TRIES_MAX} times")
