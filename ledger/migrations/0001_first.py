"""The books, and the functions that write them."""

from __future__ import annotations

from mesh.migrate import run_sql, sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
    for part in (
        "books",
        "seal",
        "book_name",
        "reversal",
        "post",
        "post_chains",
        "forbid",
        "refusal",
        "account_change",
        "statement",
        "suspense",
        "subjects",
        "days",
        "close",
        "push",
        "history",
        "post_late",
    ):
        run_sql(sql_file("ledger.migrations", f"0001_{part}.sql"))
