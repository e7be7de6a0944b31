"""The core of the ledger on PostgreSQL 16 as well: the same tests, in a server of that major.

They run in a process of their own, because all tests of a session share one server.
"""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from mesh.config import load
from tests.service.ledger.seeds import VARIABLE

HERE = Path(__file__).resolve()
ROOT = HERE.parents[3]
CORE = (
    "posting_function",
    "posting_oracle",
    "posting_races",
    "reversals",
    "day_close",
    "statement",
    "prove_book",
    "verify",
)


async def test_the_server_is_of_the_major_that_was_asked_for(postgres, home):
    """TONGBAO_POSTGRES_MAJOR reaches the server of the tests."""
    with psycopg.connect(postgres.admin_dsn) as connection:
        assert connection.info.server_version // 10_000 == load(home=home).postgres_major


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(load().postgres_major == 16, reason="these are the tests on 16")
def test_the_core_holds_on_16():
    """Whatever fails is shown as its own run shows it."""
    files = [str(HERE.with_name(f"test_{name}.py")) for name in CORE]
    own = f"{HERE}::test_the_server_is_of_the_major_that_was_asked_for"
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", own, *files]
    environment = {**os.environ, "TONGBAO_POSTGRES_MAJOR": "16", VARIABLE: "0 3"}
    run = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr
