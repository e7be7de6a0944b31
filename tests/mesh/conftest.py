"""What the tests of the runtime share."""

from tests.services import ground

__all__ = ["ground"]
