"""A running risk service."""

import pytest


@pytest.fixture
async def risk(ground):
    """The service in this process."""
    async with ground.run("risk") as handle:
        yield handle
