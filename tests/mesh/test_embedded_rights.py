"""Who may do what on the embedded PostgreSQL, and that nobody enters without a password."""

import shutil
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mesh.embedded import Postgres, pgfiles, roles
from tests.mesh.servers import SMALL, as_root, prepared, run


@pytest.fixture(scope="module")
async def server():
    """A running server with two services, each with a table."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-pg-"))
    home.chmod(0o711)
    server = Postgres(home, options=SMALL)
    for dsn in (await prepared(server)).values():
        run(dsn, "CREATE TABLE secret_thing (value text)")
    yield server
    await server.stop()
    server.remove()
    shutil.rmtree(home)


def test_a_service_owns_what_it_makes_in_its_own_schema(server):
    """The role's search path leads there, so statements need no prefix."""
    [[owner, schema]] = run(
        server.dsn("payment"),
        "SELECT tableowner, schemaname FROM pg_tables WHERE tablename = 'secret_thing'"
        " AND schemaname = current_schema",
    )
    assert (owner, schema) == ("payment", "payment")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT value FROM ledger.secret_thing",
        "INSERT INTO ledger.secret_thing VALUES ('x')",
        "CREATE TABLE ledger.mine (value text)",
        "CREATE TABLE public.mine (value text)",
        "CREATE SCHEMA mine",
        "SET ROLE ledger",
        "SELECT pg_read_file('PG_VERSION')",
        "ALTER ROLE ledger PASSWORD 'x'",
    ],
)
def test_a_service_cannot_touch_what_is_anothers(server, statement):
    """Neither a neighbour's schema nor the common one nor the server's files."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(server.dsn("payment"), statement)


def test_nothing_is_shared(server):
    """The common schema that every PostgreSQL has is closed."""
    asks = "SELECT has_schema_privilege('public', 'USAGE')"
    assert run(server.dsn("payment"), asks) == [(False,)]


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_a_service_cannot_enter_other_databases(server, database):
    """There is nothing for it there."""
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        run(server.dsn("payment", database=database), "SELECT 1")


@pytest.mark.parametrize("over", ["socket", "tcp"])
@pytest.mark.parametrize("user", ["payment", "postgres"])
@pytest.mark.parametrize("password", ["wrong", ""])
def test_nobody_enters_without_the_right_password(server, over, user, password, tmp_path):
    """Neither over the socket nor over TCP, neither a service nor the superuser."""
    host = str(server.layout.sockets) if over == "socket" else "127.0.0.1"
    dsn = make_conninfo(
        host=host, port=server.port, user=user, password=password, dbname="tongbao",
        passfile=str(tmp_path / "none"),
    )  # fmt: skip
    with pytest.raises(psycopg.OperationalError, match=r"password"):
        run(dsn, "SELECT 1")


def test_the_right_password_opens_the_tcp_port_too(server):
    """The refusals above are about passwords, not about the port."""
    dsn = make_conninfo(server.dsn("payment"), host="127.0.0.1")
    assert run(dsn, "SELECT current_user") == [("payment",)]


def test_every_door_asks_for_scram(server):
    """Trust authentication is nowhere, and passwords are kept as scram verifiers."""
    rules = run(server.admin_dsn, "SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert rules == [("scram-sha-256",)]
    kept = run(server.admin_dsn, "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin")
    assert set(kept) == {("SCRAM-SHA-256",)}


def test_what_is_acknowledged_is_on_disk(server):
    """The settings that durability rests on, and checksums."""
    names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    for name in names:
        assert run(server.admin_dsn, f"SHOW {name}") == [("on",)], name


def test_a_role_has_its_own_time_limits(server):
    """No statement of a service holds others up without end."""
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        [[value]] = run(server.dsn("payment"), f"SHOW {name}")
        assert value == roles.ROLE_SETTINGS[name]


def test_passwords_are_long_and_only_ours_to_read(server):
    """Every secret file is 0600, in a directory that is 0700."""
    folder = server.home / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {file.name for file in files} == {"postgres", "postgres-payment", "postgres-ledger"}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(file.read_text().strip()) >= 32


def test_text_sorts_by_bytes(server):
    """The order of numbers does not depend on the machine's language."""
    rows = run(server.dsn("payment"), "SELECT x FROM (VALUES ('a'), ('B'), ('ä')) v(x) ORDER BY x")
    assert rows == [("B",), ("a",), ("ä",)]
    assert run(server.dsn("payment"), "SELECT upper('ä')") == [("Ä",)]


@as_root
def test_the_server_does_not_run_as_root(server):
    """It runs as nobody, and its files are nobody's."""
    assert Path(f"/proc/{server.pid}").stat().st_uid == pgfiles.NOBODY
    assert server.data.stat().st_uid == pgfiles.NOBODY
