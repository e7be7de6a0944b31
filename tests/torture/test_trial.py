"""One seed for real, as a person runs it: it is judged, it is kept, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from checker import timed
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
SECONDS = 6.0
# The verb itself, whether it is installed or not.
PROGRAM = """
import sys
from pathlib import Path
from torture.cli import torture
sys.exit(torture(seed=2, seconds={seconds}, into=Path({into!r}), as_json=True))
"""

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(400)]


def start(into, **named):
    program = PROGRAM.format(seconds=SECONDS, into=str(into))
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **named,
    )


def of(folder):
    """Return the processes whose arguments or settings name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in told and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_a_seed_is_tortured_healed_judged_and_gone(fresh_home):
    """Every rule has seen something, and what was done is on record."""
    process = start(fresh_home)
    said, progress = process.communicate()
    assert said, progress
    told = json.loads(said)
    [seed] = told["seeds"]
    assert (process.returncode, told["totals"]["holds"]) == (0, True), progress
    assert seed["payments"] > 20
    assert sum(seed["faults"].values()) > 0
    assert [one["rule"] for one in seed["verdicts"] if one["findings"]] == []
    folder = fresh_home / "2"
    with (folder / "history.jsonl").open() as file:
        seen = timed.read(file)
    assert seen.faults == seed["faults"]
    assert len(seen.calls) > 30
    assert {one.name for one in folder.iterdir()} >= {
        "webhooks.jsonl", "simulator.jsonl", "verdict.json"
    }  # fmt: skip
    assert of(fresh_home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_whoever_interrupts_it_finds_nothing_left(fresh_home, number):
    """Not a process, in the middle of the worst."""
    process = start(fresh_home)
    try:
        await eventually(lambda: (fresh_home / "2" / "home" / "run" / "state.json").exists(),
                         within=120)  # fmt: skip
        assert of(fresh_home)
        process.send_signal(number)
        process.communicate()
        assert process.returncode != 0
        assert of(fresh_home) == []
    finally:
        process.kill()
        process.communicate()
