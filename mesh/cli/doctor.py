"""`tongbao doctor`: what is wrong, what will be, and what to do about it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import asdict

from mesh.cli.output import AsJson, Home, show
from mesh.config import Settings, load


def doctor(*, home: Home = None, as_json: AsJson = False) -> int:
    """Look at machine, keys, databases, messages and services, and say what to do next.

    Changes nothing, and also works when nothing runs: SKIP is what it could not look at then.
    WARN is what will hurt later or is not meant for real money. Examples: `tongbao doctor`,
    `tongbao doctor --json | grep FAIL`. Exit codes: 0 nothing FAILs; 1 something does.

    Parameters
    ----------
    home
        The home to look at. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON object a line, a check each.
    """
    return asyncio.run(_show(load(home=home), as_json=as_json))


async def _show(settings: Settings, *, as_json: bool) -> int:
    from mesh.doctor import Verdict, examine  # Here: `--help` shall be quick.

    logging.disable(logging.ERROR)  # What libraries say of a server that is away, we say.
    counts: Counter[str] = Counter()
    async for finding in examine(settings):
        counts[finding.verdict] += 1
        text = f"{finding.verdict:<4}  {finding.check:<14}  {finding.seen}"
        if finding.next_step:
            text += f"\n{'':22}→ {finding.next_step}"
        show(text, asdict(finding), as_json=as_json)
    if not as_json:
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
        show(told, None, as_json=False)
    return 1 if counts[Verdict.FAIL] else 0
