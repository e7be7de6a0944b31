"""Revisions of the schema, in one line."""
