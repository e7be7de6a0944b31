"""Judges what happened from outside: what was asked, what the provider knows, what is shown."""
