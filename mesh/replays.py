"""How a caller is told that its request had been carried out before."""

from __future__ import annotations

from mesh.door import Context

_TRAILER = (("idempotent-replayed", "true"),)


def mark(context: Context, *, replayed: bool) -> None:
    """Say in the trailer that the request was seen before, when it was."""
    if replayed:
        context.set_trailing_metadata(_TRAILER)
