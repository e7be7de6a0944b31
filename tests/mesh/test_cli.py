"""The command line as a person meets it: a process, its exit code, what it writes where."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.config import services
from mesh.supervisor import is_running

ROOT = Path(__file__).parents[2]


def tongbao(*arguments, home, **variables):
    """Run the command; return its finished process. Nothing but `variables` is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGBAO_")}
    return subprocess.run(
        [sys.executable, "-m", "mesh.cli", *arguments],
        cwd=ROOT,
        env={**kept, "TONGBAO_HOME": str(home), "COLUMNS": "100", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_verb_with_a_summary(fresh_home):
    """Also those of other packages, without loading them."""
    done = tongbao("--help", home=fresh_home)
    assert done.returncode == 0
    for verb in ("up", "down", "status", "db"):
        assert re.search(rf"│ {verb} +[A-Z]", done.stdout), verb
    assert "output" not in done.stdout


def test_help_loads_no_verb():
    """So that it is quick: neither gRPC nor the database drivers."""
    code = """if True:
        import sys, mesh.cli
        try:
            mesh.cli.main(["--help"])
        except SystemExit:
            pass
        print(sorted({"grpc", "psycopg", "nats", "pydantic", "alembic"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "verb",
    [
        ["up"], ["down"], ["status"], ["logs"], ["doctor"], ["roll"],
        ["config", "show"], ["config", "explain"],
        ["db", "upgrade"], ["db", "current"], ["db", "partitions"], ["db", "retention"],
    ],
)  # fmt: skip
def test_every_verb_says_its_exit_codes(fresh_home, verb):
    """And offers JSON."""
    done = tongbao(*verb, "--help", home=fresh_home)
    assert "Exit codes:" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize("wrong", [["upp"], ["up", "--frob"], ["status", "--home"], ["db", "down"]])
def test_a_wrong_command_is_misuse(fresh_home, wrong):
    """Exit code 2, and the reason on stderr only."""
    done = tongbao(*wrong, home=fresh_home)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


def test_a_wrong_setting_is_misuse_and_one_line(fresh_home):
    """The variable and the rule; no traceback."""
    done = tongbao("status", home=fresh_home, TONGBAO_HTTP_PORT="70000")
    assert done.returncode == 2
    assert done.stderr.startswith("error: TONGBAO_HTTP_PORT: ")
    assert done.stderr.count("\n") == 1


def test_nothing_running_is_a_failure_of_status_and_a_success_of_down(fresh_home):
    """What was asked of `down` is so already."""
    done = tongbao("status", "--json", home=fresh_home)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"running": False, "home": str(fresh_home)}
    done = tongbao("down", "--json", home=fresh_home)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"stopped": None}


def test_schemas_without_a_database_are_an_error_with_the_next_step(fresh_home):
    """What, why, next; as text and as JSON."""
    done = tongbao("db", "current", home=fresh_home)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "why", "next"]
    done = tongbao("db", "current", "--json", home=fresh_home)
    assert set(json.loads(done.stderr)) == {"error", "why", "next"}


def test_one_services_database_needs_the_services_name(fresh_home):
    """Its DSN must not be used for another's schema."""
    done = tongbao("db", "upgrade", home=fresh_home, TONGBAO_DATABASE_DSN="host=/nowhere")
    assert done.returncode == 2
    assert "--service" in done.stderr
    done = tongbao("db", "upgrade", "--service", "nobody", home=fresh_home)
    assert done.returncode == 2
    assert services()[0] in done.stderr


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_what_stops_the_start_is_said_in_the_foreground_and_when_detached(fresh_home, detach):
    """A taken port: the same three lines, exit code 1, nothing left running."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        done = tongbao("up", *detach, home=fresh_home, TONGBAO_NATS_PORT=str(port))
    assert done.returncode == 1
    error, why, step = done.stderr.splitlines()[-3:]
    assert error == f"error: nats cannot listen on 127.0.0.1:{port}"
    assert why == "why: another program uses the port"
    assert step.startswith("next: ")
    assert "TONGBAO_NATS_PORT" in step
    assert is_running(fresh_home) is None


def test_a_reader_who_has_seen_enough_is_no_error(fresh_home):
    """`tongbao … | head` ends without a word on stderr."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mesh.cli", "config", "show"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"TONGBAO_HOME": str(fresh_home)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (130, "")
