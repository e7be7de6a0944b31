"""What every schema has, and nothing else."""

from mesh.migrate import run_sql, sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(sql_file("mesh.migrations", "0001_mesh.sql"))
