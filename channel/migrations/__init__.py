"""Revisions of the channel schema, in the order of their numbers."""
