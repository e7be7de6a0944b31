"""`tongbao torture`: seeds of faults against new installations, and the checker's verdict."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh.cli.output import AsJson, show
from mesh.config import ConfigError
from torture import processes, report
from torture.trial import Outcome, run_trial

SECONDS = 25.0
_FOLDER = Path("build/torture")
_SECONDS_MIN = 3.0


def torture(
    *,
    seeds: int = 3,
    seed: int | None = None,
    seconds: float = SECONDS,
    into: Annotated[Path, Parameter(name="--into")] = _FOLDER,
    as_json: AsJson = False,
) -> int:
    """Kill, pause, cut off and rob a running installation, heal it, and check everything.

    Each seed has an installation of its own, a mixture of faults and a load of its own; the
    same seed makes the same decisions again, not the same timing. Nothing that runs already
    is touched. Exit codes: 0 nothing was found; 1 something was, or nothing came up.

    Parameters
    ----------
    seeds
        How many, from 1 on.
    seed
        Only this one.
    seconds
        How long each is tortured, before it may heal.
    into
        Where the histories and verdicts are kept, and the logs where something was found.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    if seconds < _SECONDS_MIN or seeds < 1:
        raise ConfigError(f"--seconds must be at least {_SECONDS_MIN:.0f}, --seeds at least 1")
    wanted = [seed] if seed is not None else list(range(1, seeds + 1))
    processes.become_subreaper()
    try:
        outcomes = asyncio.run(_run(wanted, seconds=seconds, into=into, as_json=as_json))
    except asyncio.CancelledError:  # SIGTERM.
        raise KeyboardInterrupt from None
    sums = report.totals(outcomes)
    data = {"totals": sums, "seeds": [report.as_data(outcome) for outcome in outcomes]}
    show(report.total_line(sums), data, as_json=as_json)
    return 0 if sums["holds"] else 1


async def _run(seeds: list[int], *, seconds: float, into: Path, as_json: bool) -> list[Outcome]:
    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    outcomes = []
    for seed in seeds:
        folder = (into / str(seed)).absolute()
        say = partial(_say, seed)
        outcome = await run_trial(seed, seconds=seconds, folder=folder, say=say)
        outcomes.append(outcome)
        out = sys.stderr if as_json else sys.stdout
        told = [report.line(outcome), *report.details(outcome)]
        if not outcome.holds:
            told.append(f"      kept in {folder}")
        out.write("\n".join(told) + "\n")
        out.flush()
    return outcomes


def _say(seed: int, text: str) -> None:
    sys.stderr.write(f"  seed {seed}: {text}\n")
