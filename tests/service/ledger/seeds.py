"""Which seeds a test runs: a few in the suite, as many as were asked for in `make nightly`."""

import os

import pytest

VARIABLE = "LEDGER_SEEDS"  # The first one and how many, as in "1 100".


class Seed(int):
    """A seed of `seeds`, which a night may choose; tests have others of their own."""


def night():
    """Return the seeds of the night; None in the suite."""
    asked = os.environ.get(VARIABLE)
    if not asked:
        return None
    first, count = map(int, asked.split())
    return range(first, first + count)


def seeds(count):
    """Give a test the parameter `seed`: 0 to `count` - 1 in the suite, all of the night."""
    return pytest.mark.parametrize("seed", list(map(Seed, night() or range(count))))


def effort(suite, nightly):
    """Return how much of something a seed is worth, in the suite and in the night."""
    return nightly if night() else suite
