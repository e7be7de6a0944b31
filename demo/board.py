"""What a person sees meanwhile: a live board on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.drive import Tally
from demo.plan import CHARGE_FAULTS, OUTAGES, REFUND_FAULTS

_EVERY_S = 0.25
_LINE_EVERY_S = 5.0


class Teller:
    """Writes lines for people: to stdout, or to stderr when stdout is for a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
        self.is_live = self._console.is_terminal
        self._began = monotonic()

    def say(self, text: str) -> None:
        """Write a line, with the seconds since the start."""
        self.write(f"{monotonic() - self._began:6.1f} s  {text}")

    def write(self, text: str) -> None:
        """Write a line as it is."""
        self._console.print(text, markup=False, soft_wrap=True)

    @asynccontextmanager
    async def board(self, tally: Tally, webhooks: Callable[[], int]) -> AsyncIterator[None]:
        """Show how `tally` grows until the block ends."""
        showing = asyncio.create_task(
            self._live(tally, webhooks) if self.is_live else self._lines(tally, webhooks)
        )
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.wait([showing])
            self.say(_line(tally, webhooks()))

    async def _live(self, tally: Tally, webhooks: Callable[[], int]) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(_picture(tally, webhooks()), refresh=True)
                await asyncio.sleep(_EVERY_S)

    async def _lines(self, tally: Tally, webhooks: Callable[[], int]) -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            self.say(_line(tally, webhooks()))


def _line(tally: Tally, webhooks: int) -> str:
    states = ", ".join(f"{number} {state}" for state, number in sorted(tally.by_state().items()))
    refunds = ", ".join(f"{number} {state}" for state, number in sorted(tally.refunds.items()))
    return f"orders: {states or 'none yet'}; refunds: {refunds or 'none yet'}; webhooks: {webhooks}"


def _picture(tally: Tally, webhooks: int) -> Group:
    seconds = monotonic() - tally.began
    table = Table(box=None, pad_edge=False)
    for column in ("what happens", "orders", "how they stand"):
        table.add_column(column)
    faults = (*CHARGE_FAULTS, *REFUND_FAULTS, *OUTAGES)
    for story, states in sorted(tally.by_story().items()):
        stand = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
        style = "yellow" if story in faults else ""
        table.add_row(story.replace("_", " "), str(states.total()), stand, style=style)
    head = f"{tally.sent} calls in {seconds:.0f} s, {tally.sent / max(seconds, 0.1):.1f} a second"
    return Group(Text(head, style="bold"), Text(_line(tally, webhooks)), table)
