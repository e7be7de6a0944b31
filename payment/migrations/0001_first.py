"""Payments, refunds, cases."""

from mesh.migrate import run_sql, sql_file
from payment.states import CASE, GIVE_BACK, PAYMENT, REFUND

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("payment.migrations", "0001_first.sql"))
    run_sql(PAYMENT.sql_guard("payment"))
    run_sql(REFUND.sql_guard("refund"))
    run_sql(CASE.sql_guard("exception_case"))
    run_sql(GIVE_BACK.sql_guard("give_back"))
