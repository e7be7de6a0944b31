"""Breaks a running installation in every way we know, and has the checker judge what is left."""
