"""One database, and in it for every service a role that owns a schema and sees no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mesh.embedded.places import StartError, secret

DATABASE = "tongbao"
VERSION_MIN = 160_000

# A role's own limits: no statement of a service may hold the others up for longer.
ROLE_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "5s",
}

_LOCK = 0x70_72_65_70  # "prep": two supervisors may start against one external server.


async def prepare_database(
    admin_dsn: str,
    services: Iterable[str],
    *,
    secrets: Path,
    database: str = DATABASE,
    exclusive: bool = False,
) -> dict[str, str]:
    """Make `database` with a role and a schema for each service; return their DSNs.

    May be repeated: what exists is kept, rights and passwords are set again. Passwords are
    in `secrets`, one 0600 file each. `exclusive` closes the server's other databases too.
    Raises StartError when the server cannot be reached, is older than 16, or does not let
    this administrator make roles and databases.
    """
    passwords = {service: secret(password_file(secrets, service)) for service in services}
    try:
        async with await AsyncConnection.connect(admin_dsn, autocommit=True) as admin:
            _check_server(admin)
            await admin.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            for service, password in passwords.items():
                await _make_role(admin, service, password)
            await _make_database(admin, database)
            if exclusive:
                for other in ("postgres", "template1"):
                    await _close(admin, other)
            inside = make_conninfo(admin_dsn, dbname=database)
            async with await AsyncConnection.connect(inside, autocommit=True) as connection:
                await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
                for service in passwords:
                    await _make_schema(connection, service)
                await open_to(connection, database, passwords)
    except psycopg.OperationalError as error:
        raise StartError(
            "cannot reach PostgreSQL",
            why=str(error).strip().splitlines()[-1],
            next_step="Check TONGBAO_POSTGRES_DSN and that the server runs",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StartError(
            f"cannot prepare the database {database}",
            why=str(error).strip().splitlines()[0],
            next_step="Give the administrator of TONGBAO_POSTGRES_DSN CREATEROLE and CREATEDB",
        ) from error
    return {
        service: service_dsn(admin_dsn, service, password, database=database)
        for service, password in passwords.items()
    }


def service_dsn(admin_dsn: str, service: str, password: str, *, database: str = DATABASE) -> str:
    """Return the administrator's DSN with another user, password and database."""
    return make_conninfo(admin_dsn, user=service, password=password, dbname=database)


def password_file(secrets: Path, service: str) -> Path:
    """Return where the password of the role `service` is kept."""
    return secrets / f"postgres-{service}"


async def open_to(
    connection: AsyncConnection[tuple[object, ...]], database: str, services: Iterable[str]
) -> None:
    """Let `services`, and nobody else, connect to `database`."""
    await _close(connection, database)
    for service in services:
        grant = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}")
        await connection.execute(grant.format(sql.Identifier(database), sql.Identifier(service)))


def _check_server(admin: AsyncConnection[tuple[object, ...]]) -> None:
    version = admin.info.server_version
    if version < VERSION_MIN:
        host = conninfo_to_dict(admin.info.dsn).get("host", "the server")
        raise StartError(
            f"cannot use PostgreSQL on {host}",
            why=f"it is version {version // 10_000}, and 16 is the oldest that serves",
            next_step="Upgrade it, or leave TONGBAO_POSTGRES_DSN out to use the embedded one",
        )


async def _close(connection: AsyncConnection[tuple[object, ...]], database: str) -> None:
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
    await connection.execute(revoke.format(sql.Identifier(database)))


async def _make_role(
    admin: AsyncConnection[tuple[object, ...]], service: str, password: str
) -> None:
    """Create or mend the role. The password travels as a scram verifier, never as itself."""
    role = sql.Identifier(service)
    cursor = await admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [service])
    if await cursor.fetchone() is None:
        await admin.execute(sql.SQL("CREATE ROLE {}").format(role))
    verifier = admin.pgconn.encrypt_password(password.encode(), service.encode(), b"scram-sha-256")
    await admin.execute(
        sql.SQL("ALTER ROLE {} LOGIN NOINHERIT NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            role, verifier.decode()
        )
    )
    for name, value in {"search_path": service, **ROLE_SETTINGS}.items():
        setting = sql.SQL("ALTER ROLE {} SET {} = {}")
        await admin.execute(setting.format(role, sql.Identifier(name), value))
    # Whoever is not a superuser may hand a schema over only to a role it can become.
    await admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))


async def _make_database(admin: AsyncConnection[tuple[object, ...]], database: str) -> None:
    cursor = await admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
    if await cursor.fetchone() is not None:
        return
    locale = "LOCALE 'C'"
    if admin.info.server_version >= 170_000:
        locale = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' " + locale)
    await admin.execute(create.format(sql.Identifier(database)))


async def _make_schema(connection: AsyncConnection[tuple[object, ...]], service: str) -> None:
    create = sql.SQL("CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION {name}")
    await connection.execute(create.format(name=sql.Identifier(service)))
