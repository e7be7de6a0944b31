"""`tongbao demo` as a person runs it: from nothing, again on the same home, and on forged rows."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.plan import Story
from mesh.embedded import Postgres
from mesh.embedded.roles import DATABASE

ROOT = Path(__file__).parents[2]
ORDERS = 120

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def tongbao(*arguments, home, cwd=ROOT):
    """Run the command to its end; nothing is set but the home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGBAO_")}
    return subprocess.run(
        [sys.executable, "-m", "mesh.cli", *arguments, "--home", str(home)],
        cwd=cwd,
        env=kept,
        capture_output=True,
        text=True,
        timeout=300,
    )


def demo(*arguments, home):
    """Run the demo; return its exit code and its JSON document."""
    done = tongbao("demo", "--exit-after-check", "--json", *arguments, home=home)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    told["stderr"] = done.stderr
    return done.returncode, told


def broken(told):
    return [verdict["rule"] for verdict in told["checker"] if not verdict["holds"]]


@pytest.fixture(scope="module")
def played():
    """A home in which the demo has run once, and what it told."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-demo-"))
    home.chmod(0o711)  # PostgreSQL's user has to pass.
    code, told = demo("--orders", str(ORDERS), home=home)
    yield home, code, told
    tongbao("down", home=home)
    Postgres(home).remove()
    shutil.rmtree(home, ignore_errors=True)


def test_from_nothing_every_story_is_played_and_every_rule_holds(played):
    """Cold start, 120 orders, every fault, refunds, webhooks, and the checker's PASS lines."""
    _, code, told = played
    assert (code, told["ok"], broken(told)) == (0, True, []), told["stderr"]
    assert told["failures"] == told["left_open"] == []
    assert set(told["orders"]) == set(Story)
    assert sum(sum(states.values()) for states in told["orders"].values()) == ORDERS
    assert told["orders"]["wrong_amount"].keys() == {"REVIEW"}
    assert told["orders"]["outage"].keys() == told["orders"]["hang"].keys() == {"PAID"}
    for story in ("close_untried", "close_unpaid", "expire_untried", "expire_unpaid"):
        assert told["orders"][story].keys() == {"CLOSED"}, story
    assert told["orders"]["close_paid"].keys() == told["orders"]["close_paying"].keys() == {"PAID"}
    assert told["refunds"]["FAILED"] == 1
    assert told["refunds"]["SUCCEEDED"] > 20
    seen = {verdict["rule"]: verdict["seen"] for verdict in told["checker"]}
    assert seen["trade = payment = channel in every trace"] == ORDERS
    assert all(f"PASS  {rule}" in told["stderr"] for rule in seen)


def test_it_says_how_long_it_took(played):
    """Seconds to the first payment and to the end, in this order."""
    _, _, told = played
    assert 0 < told["first_payment_s"] < told["demo_s"]


def test_on_a_home_that_runs_it_is_used_and_left_running(played):
    """A second run finds its world again; all orders of both runs are judged."""
    home, _, _ = played
    up = tongbao("up", "--detach", home=home)
    assert up.returncode == 0, up.stderr
    code, told = demo("--orders", "20", home=home)
    assert (code, broken(told)) == (0, []), told["stderr"]
    seen = {verdict["rule"]: verdict["seen"] for verdict in told["checker"]}
    assert seen["trade = payment = channel in every trace"] == ORDERS + 20
    assert tongbao("status", home=home).returncode == 0


def test_the_verbs_for_people_speak_to_what_runs(played):
    """A token, a trace through `call`, an error with its next step, the clock."""
    home, _, _ = played
    assert tongbao("up", "--detach", home=home).returncode in (0, 1)  # It may run already.
    assert tongbao("token", "mall", home=home).stdout.count(".") == 2
    data = json.dumps({"traceNo": "MALL-R1-0001"})
    done = tongbao("call", "TradeService/GetTrace", "-d", data, "--json", home=home)
    entries = json.loads(done.stdout)["entries"]
    assert {entry["service"] for entry in entries} >= {"trade", "risk", "payment", "channel",
                                                       "ledger"}  # fmt: skip
    times = [entry["createTime"] for entry in entries]
    assert len(times) > 5
    done = tongbao("call", "GetTrace", "-d", '{"traceNo": "MALL-nothing"}', "--json", home=home)
    told = json.loads(done.stderr)
    assert (done.returncode, told["reason"], told["domain"]) == (
        1, "TRACE_NOT_FOUND", "trade.tongbao",
    )  # fmt: skip
    assert told["metadata"] == {"trace_no": "MALL-nothing"}
    assert told["next"]
    done = tongbao("call", "PayTrade", "-d", '{"requestId": "not good"}', home=home)
    assert done.returncode == 1
    assert "request_id: " in done.stderr
    for wrong in (["token", "nobody"], ["call", "GetTrace", "--as", "nobody"]):
        assert tongbao(*wrong, home=home).returncode == 1
    for wrong in (
        ["call", "GetNothing"],
        ["call", "GetTrace", "-d", "{"],
        ["clock", "advance", "1x"],
    ):
        assert tongbao(*wrong, home=home).returncode == 2
    before = json.loads(tongbao("clock", "show", "--json", home=home).stdout)
    moved = tongbao("clock", "advance", "1d2h", "--json", home=home)
    after = json.loads(moved.stdout)
    assert (moved.returncode, after["agreed"]) == (0, True)
    gained = {name: after["shift_seconds"][name] - seconds
              for name, seconds in before["shift_seconds"].items()}  # fmt: skip
    assert set(gained.values()) == {93_600}
    assert "sim" in gained  # The provider's day ends with ours.


def test_a_row_edited_by_the_superuser_makes_it_fail(played):
    """One amount in the journal and one fee in settlement: FAIL lines, exit code 1."""
    home, _, _ = played
    assert tongbao("down", home=home).returncode == 0
    forge(home)
    code, told = demo("--orders", "1", home=home)
    assert (code, told["ok"]) == (1, False)
    assert set(broken(told)) == {
        "the journal proves itself: hash chain, replay, double entry, vouchers",
        "ledger = what happened, account by account, in every trace",
        "every success and refund is cleared once, with the fee that was agreed",
    }
    assert "FAIL  the journal proves itself" in told["stderr"]


def forge(home):
    """Edit two rows as whoever owns the server can, past every trigger."""

    async def edit():
        async with Postgres(home) as server:
            dsn = make_conninfo(server.admin_dsn, dbname=DATABASE)
            with psycopg.connect(dsn, autocommit=True) as admin:
                admin.execute("SET session_replication_role = replica")
                for statement in (_JOURNAL, _CLEARING):
                    assert admin.execute(statement).rowcount == 1, statement

    asyncio.run(edit())


_JOURNAL = """
UPDATE ledger.transfer SET amount = amount + 1 WHERE (id, book_id) IN (
    SELECT t.id, t.book_id FROM ledger.transfer t JOIN ledger.voucher v USING (txn, book_id)
    WHERE v.template = 'COLLECTED' ORDER BY t.seq LIMIT 1)
"""
_CLEARING = """
UPDATE settlement.clearing_item SET fee_minor = fee_minor + 1, net_minor = net_minor - 1
WHERE source_no = (
    SELECT source_no FROM settlement.clearing_item WHERE kind = 'payment' AND net_minor > 1
    ORDER BY source_no LIMIT 1)
"""
