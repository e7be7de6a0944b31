"""Limits, the deny list, decisions."""

from mesh.migrate import run_sql, sql_file
from risk.states import DECISION

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("risk.migrations", "0001_first.sql"))
    run_sql(DECISION.sql_guard("decision"))
