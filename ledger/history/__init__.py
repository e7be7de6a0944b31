"""Closed days that left the database: Parquet files, how they are written, how they are read."""
