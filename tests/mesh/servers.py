"""What the tests of embedded servers share."""

import os

import psycopg
import pytest

from mesh.embedded import prepare_database

SMALL = {"shared_buffers": "16MB", "max_wal_size": "64MB", "min_wal_size": "32MB"}
SERVICES = ("payment", "ledger")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")


def run(dsn, statement):
    """Return the rows of one statement on a connection of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def prepared(server, services=SERVICES):
    """Start `server` with roles for `services`; return their DSNs."""
    await server.start()
    secrets = server.home / "secrets"
    return await prepare_database(server.admin_dsn, services, secrets=secrets, exclusive=True)
