"""What unit tests share: they are plain functions that run a coroutine to its end."""

import asyncio

import pytest


@pytest.fixture
def run():
    """Run a coroutine to its end on a loop of its own."""
    with asyncio.Runner() as runner:
        yield runner.run
