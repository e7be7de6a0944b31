"""The first schema: channel accounts, attempts and their legs, callbacks."""

from channel.states import ATTEMPT
from mesh.migrate import run_sql, sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("channel.migrations", "0001_first.sql"))
    run_sql(ATTEMPT.sql_guard("attempt"))
