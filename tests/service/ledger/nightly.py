"""A plugin of pytest for `make nightly`: the tests that have a seed, seed by seed.

It chooses them, says how far they are, and in the end which seeds held or which one did not.
"""

import time
from collections import Counter

import pytest

from tests.service.ledger.seeds import Seed, night


def _seed_of(item):
    seed = item.callspec.params.get("seed") if hasattr(item, "callspec") else None
    return seed if isinstance(seed, Seed) else None


class _Night:
    """What was run so far."""

    def __init__(self, config):
        self.config = config
        self.began, self.left = time.monotonic(), Counter()
        self.seed_of, self.held, self.passed = {}, [], Counter()
        self.differs = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        """Keep what has a seed; all of one seed before the next, so the first to fail is told."""
        chosen = sorted((one for one in items if _seed_of(one) is not None), key=_seed_of)
        config.hook.pytest_deselected(items=[one for one in items if _seed_of(one) is None])
        items[:] = chosen
        self.seed_of = {one.nodeid: _seed_of(one) for one in chosen}
        self.left = Counter(self.seed_of.values())

    def pytest_report_teststatus(self, report):
        """One line for each seed takes the place of dots."""
        if not report.passed:
            return None
        return ("passed" if report.when == "call" else "", "", "")

    def pytest_runtest_logreport(self, report):
        seed = self.seed_of[report.nodeid]
        if report.failed and self.differs is None:
            self.differs = (seed, report.nodeid)
        if report.when == "call" and report.passed:
            self.passed[report.nodeid.rpartition("::")[2].partition("[")[0]] += 1
        if report.when != "teardown":
            return
        self.left[seed] -= 1
        if not self.left[seed] and self.differs is None:
            self.held.append(seed)
            far = f"seed {seed} holds: {len(self.held)} of {len(night())}, {self._s()}"
            self.config.get_terminal_writer().write(f"{far}\n", flush=True)

    def pytest_terminal_summary(self, terminalreporter):
        for name, count in sorted(self.passed.items()):
            terminalreporter.write_line(f"{count:6} x {name}")
        if self.differs is not None:
            seed, nodeid = self.differs
            terminalreporter.write_line(f"seed {seed} DIFFERS: {nodeid}")
            terminalreporter.write_line(f"repeat it: make nightly FROM={seed} SEEDS=1")
        elif self.held:
            held = f"seeds {self.held[0]} to {self.held[-1]} hold"
            terminalreporter.write_line(f"{held}: {sum(self.passed.values())} runs, {self._s()}")

    def _s(self):
        return f"{time.monotonic() - self.began:.0f} s"


def pytest_configure(config):
    config.pluginmanager.register(_Night(config), "night")
