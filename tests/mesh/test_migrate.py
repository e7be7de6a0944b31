"""Migrations: each revision whole or not at all, two runners in turn, SQL to the letter."""

import threading

import psycopg
import pytest

from mesh import migrate as module
from mesh.migrate import MigrationError, migrate, sql_file, standing
from tests.mesh.servers import run

REVISION = """
from mesh.migrate import run_sql
revision = "{number:04}"
down_revision = {down}
def upgrade():
    run_sql({sql!r})
"""


def write(folder, number, sql, *, after=None, name="step"):
    """Write revision `number`, which follows the one before it unless `after` says otherwise."""
    follows = number - 1 if after is None else after
    down = f'"{follows:04}"' if follows else None
    text = REVISION.format(number=number, down=down, sql=sql)
    (folder / f"{number:04}_{name}.py").write_text(text)


@pytest.fixture
def dsn(database):
    """An empty schema of the role `payment`."""
    return database("payment", migrated=False)


def tables(dsn):
    rows = run(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'payment' ORDER BY 1")
    return [name for [name] in rows]


def test_all_that_is_missing_is_applied_and_only_that(dsn, tmp_path):
    """Once, in order, owned by the service; a second run changes nothing."""
    write(tmp_path, 1, "CREATE TABLE a (n int)")
    assert standing(dsn, "payment", folder=tmp_path).applied is None
    assert migrate(dsn, "payment", folder=tmp_path).applied == "0001"
    write(tmp_path, 2, "INSERT INTO a VALUES (7)")
    assert standing(dsn, "payment", folder=tmp_path).newest == "0002"
    for _ in range(2):
        assert migrate(dsn, "payment", folder=tmp_path).applied == "0002"
    assert run(dsn, "SELECT n FROM a") == [(7,)]
    assert tables(dsn) == ["a", "alembic_version"]


def test_signs_that_mean_something_to_drivers_mean_nothing_here(dsn, tmp_path):
    """Percent, colon, several statements and a function body, to the letter."""
    sql = """
    CREATE TABLE a (t text DEFAULT ':name %s %(x)s 100% ' || '5'::text);
    CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
      RETURN format('%s:%s', 1, 2);  -- not a parameter; not an end
    END $$;
    INSERT INTO a DEFAULT VALUES;
    """
    write(tmp_path, 1, sql)
    migrate(dsn, "payment", folder=tmp_path)
    assert run(dsn, "SELECT t, f() FROM a") == [(":name %s %(x)s 100% 5", "1:2")]


def test_a_revision_that_fails_leaves_nothing_and_those_before_it_stand(dsn, tmp_path):
    """Each revision is its own transaction."""
    write(tmp_path, 1, "CREATE TABLE a (n int)")
    write(tmp_path, 2, "CREATE TABLE b (n int); SELECT 1/0")
    with pytest.raises(MigrationError, match="division by zero"):
        migrate(dsn, "payment", folder=tmp_path)
    assert tables(dsn) == ["a", "alembic_version"]
    assert standing(dsn, "payment", folder=tmp_path).applied == "0001"
    write(tmp_path, 2, "CREATE TABLE b (n int)")
    assert migrate(dsn, "payment", folder=tmp_path).applied == "0002"


def test_a_revision_that_gets_no_lock_gives_way_and_comes_back(dsn, tmp_path, monkeypatch):
    """It waits a moment, is undone so that others can go on, and passes when the lock is free."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "50ms")
    write(tmp_path, 1, "CREATE TABLE a (n int)")
    migrate(dsn, "payment", folder=tmp_path)
    write(tmp_path, 2, "ALTER TABLE a ADD COLUMN m int")
    with psycopg.connect(dsn) as holder:
        holder.execute("INSERT INTO a VALUES (1)")
        refused = threading.Event()
        monkeypatch.setattr(module.time, "sleep", lambda _: (refused.set(), holder.rollback()))
        assert migrate(dsn, "payment", folder=tmp_path).applied == "0002"
    assert refused.is_set()


def test_a_lock_that_is_never_free_ends_in_an_error(dsn, tmp_path, monkeypatch):
    """Not in waiting without end."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "10ms")
    monkeypatch.setattr(module, "TRIES", 3)
    write(tmp_path, 1, "CREATE TABLE a (n int)")
    migrate(dsn, "payment", folder=tmp_path)
    write(tmp_path, 2, "ALTER TABLE a ADD COLUMN m int")
    with psycopg.connect(dsn) as holder:
        holder.execute("INSERT INTO a VALUES (1)")
        with pytest.raises(MigrationError, match="lock timeout"):
            migrate(dsn, "payment", folder=tmp_path)


def test_two_runners_take_turns(dsn, tmp_path):
    """Eight at once: each finds the schema complete, none fails, each revision ran once."""
    write(tmp_path, 1, "CREATE TABLE a (n int)")
    write(tmp_path, 2, "INSERT INTO a VALUES (7)")
    ends = []

    def one():
        ends.append(migrate(dsn, "payment", folder=tmp_path).applied)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == ["0002"] * 8
    assert run(dsn, "SELECT n FROM a") == [(7,)]


def test_two_revisions_after_the_same_one_are_refused(dsn, tmp_path):
    """Two branches were merged; somebody must say which comes first."""
    write(tmp_path, 1, "SELECT 1")
    write(tmp_path, 2, "SELECT 1")
    write(tmp_path, 3, "SELECT 1", after=1)
    with pytest.raises(MigrationError, match="follow the same one"):
        migrate(dsn, "payment", folder=tmp_path)


def test_a_file_with_another_name_is_refused(dsn, tmp_path):
    """Files sort in the order they run."""
    (tmp_path / "extra.py").write_text("revision = '1'\ndown_revision = None\n")
    with pytest.raises(MigrationError, match="not named like 0001_what.py"):
        migrate(dsn, "payment", folder=tmp_path)


def test_a_service_without_migrations_is_named():
    """Before anything is connected."""
    with pytest.raises(MigrationError, match="cannot migrate nobody"):
        migrate("host=/nowhere", "nobody")


def test_a_database_that_is_not_there_is_an_error_with_the_next_step(tmp_path):
    """For both verbs, and without the password."""
    write(tmp_path, 1, "SELECT 1")
    dsn = "host=127.0.0.1 port=1 user=a password=geheim connect_timeout=2"
    for verb in (migrate, standing):
        with pytest.raises(MigrationError, match="tongbao status") as caught:
            verb(dsn, "payment", folder=tmp_path)
        assert "geheim" not in str(caught.value)


def test_a_sql_file_is_read_from_its_package():
    """The runtime's own tables are such a file."""
    assert "CREATE" in sql_file("mesh.migrations", "0001_mesh.sql")
