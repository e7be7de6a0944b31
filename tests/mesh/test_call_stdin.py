"""`tongbao call -d -`: a request too long for a command line, or one made by another program."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dash", [["-d", "-"], ["--data", "-"], ["--data=-"]])
def test_a_dash_reads_the_request_from_stdin(tmp_path, dash):
    """What is there and is no request is complained of; nothing needs to run for that."""
    done = subprocess.run(
        [sys.executable, "-m", "mesh.cli", "call", "TradeService/GetTrade", *dash,
         "--home", str(tmp_path)],
        cwd=ROOT, input='{"tea": 1}', capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 2, done.stdout + done.stderr
    assert 'no field named "tea"' in done.stderr
