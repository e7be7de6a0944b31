"""The arithmetic of a bench, on numbers that can be checked by hand."""

import os
import subprocess
import sys

import pytest

from bench.drained import is_drained, problems
from bench.figures import (
    Counts,
    Done,
    Machine,
    cpu_each,
    each,
    errors,
    others,
    percentile_ms,
    rate,
    whole_table,
)
from bench.meters import cpu_us

CALLS = [
    Done(began=0.0, ended=0.9, paid=1),  # Before the window.
    Done(began=0.5, ended=1.0, paid=1),  # The first moment belongs to it, 500 ms.
    Done(began=1.0, ended=1.1, paid=8),  # A pack of eight, 100 ms.
    Done(began=1.0, ended=2.0, paid=1),  # 1000 ms.
    Done(began=1.5, ended=1.6, paid=0, errors=("UNKNOWN", "BALANCE_NOT_ENOUGH")),
    Done(began=2.0, ended=3.0, paid=1),  # The last moment does not.
]
WINDOW = {"begin": 1.0, "end": 3.0}


def test_a_rate_counts_what_ended_in_the_window():
    """Ten payments in two seconds; errors count for nothing."""
    assert rate(CALLS, **WINDOW) == 5.0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 100), (0.5, 100), (0.8, 100), (0.9, 500), (0.99, 1000)]
)
def test_a_percentile_counts_payments_and_not_calls(share, expected):
    """Eight of ten were in one call of 100 ms; by nearest rank."""
    assert percentile_ms(CALLS, share, **WINDOW) == pytest.approx(expected)


def test_a_percentile_of_nothing_is_zero():
    """No payment ended in the window."""
    assert percentile_ms(CALLS[4:5], 0.5, **WINDOW) == 0.0


def test_errors_are_counted_by_name():
    """Whatever the call, in order of the name."""
    assert list(errors([*CALLS, CALLS[4]]).items()) == [("BALANCE_NOT_ENOUGH", 2), ("UNKNOWN", 2)]


def test_costs_are_divided_by_payments():
    """Gains only; what waiting for work commits is taken out; housekeeping is left out."""
    before = Counts(commits=100, wal_bytes=1_000, rows={"a.x": 5, "a.y": 1},
                    statements={"s": 1}, statement_rows={"s": 4})  # fmt: skip
    after = Counts(commits=350, wal_bytes=51_000, rows={"a.x": 205, "a.y": 1, "b.z": 0},
                   statements={"s": 26, "t": 50}, statement_rows={"s": 104, "t": 50})  # fmt: skip
    assert each(before, after, 100, idle_commits=50) == {
        "commits_per_payment": 2.0,
        "statements_per_payment": 0.75,
        "rows_per_statement": {"s": 4.0, "t": 1.0},
        "wal_bytes_per_payment": 500,
        "rows_per_payment": {"a.x": 2.0},
    }


def test_cpu_is_told_by_process_and_in_sum():
    """A process that was not there before has used all of it since."""
    before, after = {"trade": 1_000_000}, {"trade": 1_050_000, "load": 20_000}
    assert cpu_each(before, after, 100) == {"load": 200, "trade": 500, "sum": 700}


def test_work_of_others_is_told_in_percent():
    """Busy less ours, and what the host took, of all that could have been."""
    before = Machine(busy_us=100, stolen_us=0, all_us=1_000)
    after = Machine(busy_us=700, stolen_us=50, all_us=2_000)
    found = {"other_processes_percent": 20.0, "stolen_percent": 5.0}
    assert others(before, after, 400) == found
    assert others(before, after, 900)["other_processes_percent"] == 0  # Ticks are rounded.


@pytest.mark.parametrize(
    ("name", "whole"),
    [("trade_2026", "trade"), ("transfer_20261116", "transfer"),
     ("transfer_late", "transfer"), ("trade_default", "trade"),
     ("trade_key", "trade_key"), ("webhook_attempt", "webhook_attempt")],
)  # fmt: skip
def test_a_partition_counts_for_its_table(name, whole):
    """By year, by week, and the rest."""
    assert whole_table(name) == whole


def test_what_is_paid_must_be_booked_cleared_and_told():
    """Any difference is a problem of its own; a call without an answer may have paid."""
    whole = {"paid": 10, "open": 0, "booked": 10, "cleared": 10, "unpublished": 0}
    assert is_drained(whole)
    assert problems(whole, told=10, in_doubt=0) == []
    assert problems(whole, told=8, in_doubt=2) == []
    assert problems(whole, told=11, in_doubt=0)
    assert problems(whole, told=7, in_doubt=2)
    for name, count in (("open", 1), ("booked", 9), ("cleared", 11), ("unpublished", 1)):
        assert problems(whole | {name: count}, told=10, in_doubt=0), name


def test_cpu_of_a_process_grows_with_its_work():
    """Read from the kernel: ours, and that of a child that has ended."""
    before = cpu_us(os.getpid(), deep=True)
    burn = "n = 0\nfor _ in range(5_000_000): n += 1"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert cpu_us(os.getpid(), deep=True) - before > 50_000
