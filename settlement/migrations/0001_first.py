"""Clearing items."""

from mesh.migrate import run_sql, sql_file
from settlement.states import ITEM

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("settlement.migrations", "0001_first.sql"))
    run_sql(ITEM.sql_guard("clearing_item"))
