"""What the tests of services share."""

from tests.services import ground

__all__ = ["ground"]
