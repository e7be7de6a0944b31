"""All services, a simulated provider and a receiver of webhooks, for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.defects.mall import Mall, open_mall
from tests.services import Ground, ground

__all__ = ["ground"]


@pytest.fixture
async def mall(ground: Ground, tmp_path) -> AsyncIterator[Mall]:
    """A business line with everything behind it."""
    async with open_mall(ground, tmp_path) as opened:
        yield opened
