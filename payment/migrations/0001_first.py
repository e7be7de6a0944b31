"""Payments, refunds, cases."""

from mesh.migrate import run_sql, sql_file
from payment.states import PAYMENT, REFUND

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("payment.migrations", "0001_first.sql"))
    run_sql(PAYMENT.sql_guard("payment"))
    run_sql(REFUND.sql_guard("refund"))
