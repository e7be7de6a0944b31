"""`tongbao down`: the end of what `up` started."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from mesh.cli.output import AsJson, Home, show
from mesh.config import load
from mesh.embedded.places import StartError
from mesh.supervisor import is_running, read_state

_STOP_S = 120.0
_POLL_S = 0.05


def down(*, home: Home = None, as_json: AsJson = False) -> int:
    """Stop what `tongbao up` started, in order, and wait for its end.

    May be repeated. Example: `tongbao down --json`. Exit codes: 0 nothing runs any more, or
    nothing ran; 1 it did not end in two minutes.

    Parameters
    ----------
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    place = load(home=home).home
    pid = is_running(place)
    if pid is None:
        show(f"nothing runs in {place}", {"stopped": None}, as_json=as_json)
        return 0
    names = sorted((read_state(place) or {"pids": {}})["pids"])
    with suppress(ProcessLookupError):  # It left by itself just now.
        os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + _STOP_S
    while is_running(place) == pid:
        if time.monotonic() > give_up:
            raise StartError(
                f"pid {pid} does not end",
                why=f"it was asked {_STOP_S:.0f} s ago",
                next_step=f"Read {place}/logs/supervisor.log, then: kill -9 {pid}",
            )
        time.sleep(_POLL_S)
    text = f"stopped pid {pid}: {', '.join(names)}" if names else f"stopped pid {pid}"
    show(text, {"stopped": pid, "names": names}, as_json=as_json)
    return 0
