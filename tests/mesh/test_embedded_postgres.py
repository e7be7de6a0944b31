"""The embedded PostgreSQL: what it survives, and what it says if it cannot start."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mesh.config import SOCKET_PATH_BYTES_MAX
from mesh.embedded import Postgres, StartError, pgfiles, prepare_database, roles
from mesh.embedded import postgres as postgres_module
from mesh.embedded.pgfiles import workers
from tests.mesh.servers import SERVICES, SMALL, as_root, prepared, run
from tests.waiting import eventually


@pytest.fixture
async def make(tmp_path):
    """Return a function that makes servers; all are stopped and removed at the end.

    Each is in a home that PostgreSQL's user can reach unless `home` says otherwise.
    """
    made = []

    def one(home=None, **named):
        if home is None:
            home = Path(tempfile.mkdtemp(prefix="tongbao-pg-"))
            home.chmod(0o711)
            homes.append(home)
        server = Postgres(home, options=SMALL, **named)
        made.append(server)
        return server

    homes = []
    yield one
    for server in made:
        await server.stop()
        server.remove()
    for home in homes:
        shutil.rmtree(home)


async def test_rows_survive_kill_9_of_all_processes(make):
    """The same data, the same port and the same passwords after each of three power cuts."""
    server = make()
    dsns = await prepared(server)
    port = server.port
    run(dsns["payment"], "CREATE TABLE t (n int)")
    for round_number in range(3):
        run(dsns["payment"], f"INSERT INTO t VALUES ({round_number})")
        await server.kill()
        assert not list(workers(server.data))
        await server.start()
        assert run(dsns["payment"], "SELECT count(*) FROM t") == [(round_number + 1,)]
    assert server.port == port


async def test_another_start_of_the_same_home_finds_the_same_data(make):
    """A new process of ours, the data and the remembered port of the old one."""
    first = make()
    dsns = await prepared(first)
    run(dsns["payment"], "CREATE TABLE t AS SELECT 7 AS n")
    await first.stop()
    second = make(first.home)
    assert await prepared(second) == dsns
    assert run(dsns["payment"], "SELECT n FROM t") == [(7,)]


async def test_a_zombie_postmaster_does_not_stop_the_next(make):
    """Its number still exists until its parent looks; PostgreSQL itself would refuse."""
    first = make()
    await first.start()
    first.send(signal.SIGKILL)
    await eventually(lambda: not list(workers(first.data)))
    zombie = Path(f"/proc/{first.pid}/stat")
    if zombie.parent.parent.is_dir():
        assert zombie.read_text().rpartition(")")[2].split()[0] == "Z"
    second = make(first.home)
    await second.start()
    assert run(second.admin_dsn, "SELECT 1") == [(1,)]
    assert first.process.returncode == -signal.SIGKILL


async def test_a_pid_file_with_a_strangers_number_does_not_stop_the_next(make):
    """After a reboot the number may be anybody's: here it is ours."""
    server = make()
    await server.start()
    await server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")
    await server.start()
    assert run(server.admin_dsn, "SELECT 1") == [(1,)]


async def test_a_killed_initdb_leaves_nothing_that_counts(make):
    """The data directory appears as a whole: half of one is thrown away."""
    server = make()
    layout = pgfiles.lay_out(postgres_module.make_home(server.home), major=18)
    half = layout.root / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    await server.start()
    assert run(server.admin_dsn, "SELECT 1") == [(1,)]
    assert not half.exists()


async def test_killing_spares_whoever_merely_stands_in_the_directory(make):
    """A person's shell there is not a backend."""
    server = make()
    await server.start()
    with subprocess.Popen(["sleep", "60"], cwd=server.data) as bystander:
        await server.kill()
        assert bystander.poll() is None
        bystander.kill()


async def test_a_taken_port_is_named_with_the_setting(make):
    """What, why, and what to do next."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(StartError) as caught:
            await make(port=port).start()
    assert f"127.0.0.1:{port}" in caught.value.what
    assert "TONGBAO_POSTGRES_PORT" in caught.value.next_step


async def test_a_port_taken_during_a_restart_is_named_too(make):
    """Between two starts the port must stay: clients know it."""
    server = make()
    await server.start()
    await server.stop()
    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(StartError, match=f"127.0.0.1:{server.port}"),
    ):
        await server.start()
    await server.start()


async def test_a_remembered_port_taken_by_a_stranger_is_replaced_at_the_next_start(make):
    """Nobody was promised it while nothing ran."""
    first = make()
    await first.start()
    await first.stop()
    with socket.create_server(("127.0.0.1", first.port)):
        second = make(first.home)
        await second.start()
        assert second.port != first.port


async def test_an_unwritable_home_is_named(make):
    """Nobody, not even root, makes directories there."""
    with pytest.raises(StartError) as caught:
        await make(Path("/sys/tongbao")).start()
    assert "/sys/tongbao" in str(caught.value)
    assert "TONGBAO_HOME" in caught.value.next_step


async def test_a_home_that_is_a_file_is_named(make, tmp_path):
    """Somebody's file is in the way."""
    (tmp_path / "home").write_text("")
    with pytest.raises(StartError, match="home is in the way and not a directory"):
        await make(tmp_path / "home").start()


@as_root
async def test_a_full_disk_is_named(make):
    """A disk of 8 MB cannot hold a cluster."""
    disk = Path(tempfile.mkdtemp(prefix="tongbao-disk-"))
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False)
    if mount.returncode != 0:
        disk.rmdir()
        pytest.skip("this container may not mount")
    try:
        disk.chmod(0o711)
        with pytest.raises(StartError, match="disk is full") as caught:
            await make(disk).start()
        assert "Free some space" in caught.value.next_step
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


async def test_data_of_another_version_are_refused_by_name(make):
    """16 does not touch what 18 wrote, and says which setting helps."""
    old = make(major=16)
    await old.start()
    assert run(old.admin_dsn, "SHOW server_version_num")[0][0].startswith("16")
    await old.stop()
    with pytest.raises(StartError) as caught:
        await make(old.home, major=18).start()
    assert "PostgreSQL 16" in caught.value.why
    assert "TONGBAO_POSTGRES_MAJOR=16" in caught.value.next_step


async def test_data_in_use_are_refused_with_the_servers_pid(make, monkeypatch):
    """Two servers never share a data directory."""
    monkeypatch.setattr(postgres_module, "LEAVE_S", 0.1)
    first = make()
    await first.start()
    second = make(first.home)
    with pytest.raises(StartError, match=f"pid {first.pid}"):
        await second.start()
    assert run(first.admin_dsn, "SELECT 1") == [(1,)]


async def test_a_server_that_is_just_leaving_is_waited_for(make):
    """`up` right after the supervisor was killed: the old server is still on its way out."""
    first = make()
    await first.start()
    first.send(signal.SIGINT)
    second = make(first.home)
    await second.start()
    assert run(second.admin_dsn, "SELECT 1") == [(1,)]


async def test_a_home_with_a_long_path_gets_short_sockets(make):
    """A socket's path has at most 107 bytes, home may have more."""
    top = Path(tempfile.mkdtemp(prefix="tongbao-long-"))
    top.chmod(0o711)
    home = top / ("x" * 60) / ("y" * 60)
    home.mkdir(parents=True, mode=0o711)
    server = make(home)
    dsns = await prepared(server)
    host = conninfo_to_dict(dsns["payment"])["host"]
    assert len(os.fsencode(f"{host}/.s.PGSQL.{server.port}")) <= SOCKET_PATH_BYTES_MAX
    assert stat.S_IMODE(Path(host).stat().st_mode) == 0o700
    assert run(dsns["payment"], "SELECT current_user") == [("payment",)]
    await server.stop()
    server.remove()
    shutil.rmtree(top)


@as_root
async def test_under_a_closed_parent_data_go_elsewhere_and_it_is_said_once(make, tmp_path):
    """initdb as nobody cannot reach a home under root's own directories."""
    assert not pgfiles.may_pass(tmp_path, pgfiles.NOBODY)
    first = make(tmp_path)
    dsns = await prepared(first)
    [note] = first.notes
    assert str(first.layout.root) in note
    assert (tmp_path / "postgres").readlink() == first.layout.root
    run(dsns["payment"], "CREATE TABLE t AS SELECT 7 AS n")
    await first.stop()
    second = make(tmp_path)
    await second.start()
    assert second.notes == ()
    assert run(dsns["payment"], "SELECT n FROM t") == [(7,)]


@as_root
async def test_data_elsewhere_of_a_deleted_home_are_put_aside_not_reused(make, tmp_path):
    """The new home has new passwords; the old data are kept and named."""
    first = make(tmp_path / "home")
    await first.start()
    await first.stop()
    shutil.rmtree(tmp_path / "home")
    second = make(tmp_path / "home")
    await second.start()
    aside = Path(second.notes[1].rpartition(" ")[2])
    assert (aside / "data" / "PG_VERSION").exists()
    shutil.rmtree(aside)


@as_root
async def test_programs_that_nobody_can_reach_are_copied(make, monkeypatch, tmp_path):
    """A virtual environment under /root is closed to the server's user."""
    installed = pgfiles._installed(18)
    package = installed.parent.parent
    for name in (f"{package.name}/{installed.parent.name}", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, tmp_path / name, symlinks=True)
    hidden = tmp_path / package.name / installed.parent.name / "bin"
    monkeypatch.setattr(pgfiles, "_installed", lambda major: hidden)
    server = make()
    await server.start()
    assert server.layout.program.is_relative_to(server.layout.root)
    assert run(server.admin_dsn, "SELECT 1") == [(1,)]


async def test_an_administrator_who_is_no_superuser_can_prepare_a_server(make, tmp_path):
    """CREATEROLE and CREATEDB suffice on a server of somebody else's."""
    server = make()
    await server.start()
    run(server.admin_dsn, "CREATE ROLE dba LOGIN CREATEROLE CREATEDB PASSWORD 'dba'")
    admin = make_conninfo(server.admin_dsn, user="dba", password="dba")
    for _ in range(2):
        dsns = await prepare_database(admin, SERVICES, secrets=server.home / "secrets")
    run(dsns["payment"], "CREATE TABLE t AS SELECT 7 AS n")
    assert run(dsns["payment"], "SELECT n FROM payment.t") == [(7,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(dsns["ledger"], "SELECT n FROM payment.t")


async def test_an_administrator_without_rights_is_told_which(make):
    """CREATEROLE is missing."""
    server = make()
    await server.start()
    run(server.admin_dsn, "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    admin = make_conninfo(server.admin_dsn, user="guest", password="guest")
    with pytest.raises(StartError, match="CREATEROLE"):
        await prepare_database(admin, SERVICES, secrets=server.home / "secrets")


async def test_a_server_that_is_too_old_is_refused(make, monkeypatch):
    """The check reads the server's own version; the bar is raised because no old one is here."""
    server = make()
    await server.start()
    monkeypatch.setattr(roles, "VERSION_MIN", 999_999)
    with pytest.raises(StartError, match="it is version 18"):
        await prepare_database(server.admin_dsn, SERVICES, secrets=server.home / "secrets")


async def test_a_server_that_is_not_there_is_named_with_the_setting(tmp_path):
    """The DSN of an external server may be wrong."""
    dsn = make_conninfo(host="127.0.0.1", port=1, user="a", password="geheim", connect_timeout=2)
    with pytest.raises(StartError, match="TONGBAO_POSTGRES_DSN") as caught:
        await prepare_database(dsn, SERVICES, secrets=tmp_path)
    assert "geheim" not in str(caught.value)
