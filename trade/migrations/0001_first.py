"""Apps, merchants, products, wallets; trades, refunds; webhooks."""

from mesh.migrate import run_sql, sql_file
from trade.states import REFUND, TRADE, WEBHOOK

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schema."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    run_sql(sql_file("trade.migrations", "0001_first.sql"))
    run_sql(TRADE.sql_guard("trade"))
    run_sql(REFUND.sql_guard("refund"))
    run_sql(WEBHOOK.sql_guard("webhook"))
