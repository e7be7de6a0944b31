"""What a seed decides: always the same, within limits, and over many seeds everything."""

import os
import subprocess
import sys

import pytest

from demo.plan import CHARGE_FAULTS
from torture import processes
from torture.callers import _SCRIPTS
from torture.deeds import OPS, Op, plan_deeds
from torture.faults import AT_ONCE_MAX, KINDS, LINKS, plan_aftershocks, plan_faults
from torture.nemesis import _STRIKES

SEEDS = range(1, 41)
SECONDS = 25.0


@pytest.mark.parametrize("plan", [
    lambda seed: plan_faults(seed, seconds=SECONDS),
    plan_aftershocks,
    lambda seed: plan_deeds(seed, seconds=SECONDS, rate=5.0),
])  # fmt: skip
def test_a_seed_decides_the_same_again_and_another_one_differently(plan):
    """A seed that found something can be played again."""
    assert plan(7) == plan(7)
    assert len({str(plan(seed)) for seed in SEEDS}) > len(SEEDS) // 2


def busy(fault):
    kind = next(one for one in KINDS if one.name == fault.kind)
    begins = fault.at_ms / 1000
    return begins, begins + fault.seconds + kind.busy_s, kind.occupies(fault.target)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_come_in_order_in_time_and_never_too_many_at_once(seed):
    """And none strikes what another one still holds."""
    faults = plan_faults(seed, seconds=SECONDS)
    times = [fault.at_ms for fault in faults]
    assert times == sorted(times)
    assert 3 <= len(faults) <= 60
    assert times[-1] < SECONDS * 1000
    for begins, _, mine in map(busy, faults):
        others = [one for one in map(busy, faults) if one[0] < begins < one[1]]
        assert len(others) < AT_ONCE_MAX
        assert not any(mine & theirs for *_, theirs in others)


def test_over_many_seeds_every_kind_strikes_every_edge_and_every_process():
    """A kind that is never drawn would be a promise that nobody keeps."""
    drawn = [fault for seed in SEEDS for fault in plan_faults(seed, seconds=SECONDS)]
    assert {fault.kind for fault in drawn} == {kind.name for kind in KINDS}
    cut = {fault.target for fault in drawn if fault.kind in ("partition", "one way", "reset")}
    assert all(cut & set(links) for links in LINKS.values())
    killed = {fault.target for fault in drawn if fault.kind == "kill service"}
    assert killed == {"trade", "payment", "channel", "ledger", "settlement", "risk"}
    assert any(plan_aftershocks(seed) for seed in SEEDS)


def test_every_kind_has_its_strike_and_every_op_its_script():
    """A row of a table without a function would break in the middle of a run."""
    assert set(_STRIKES) == {kind.name for kind in KINDS}
    assert set(_SCRIPTS) == set(Op) == {*OPS, Op.FUND}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_run_has_one_of_each_op_and_faults_only_where_they_are_meant(seed):
    """Magic amounts are for those who ask for them: a fault elsewhere would be unexplained."""
    deeds = plan_deeds(seed, seconds=SECONDS, rate=5.0)
    assert {deed.op for deed in deeds} == set(Op)
    assert len({deed.trace_no for deed in deeds}) == len(deeds)
    digits = set(CHARGE_FAULTS.values())
    for deed in deeds:
        faulty = deed.amount_minor % 100 in digits
        assert faulty == (deed.op is Op.QR_FAULTY)
        if deed.op is not Op.REFUND_FAULTY:
            over = deed.op is Op.REFUND_OVER
            assert over or not any(part % 100 in digits for part in deed.parts)


ORPHAN = """
import subprocess, sys
program = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(program, stdout=subprocess.DEVNULL)
child.returncode = 0  # Nobody here waits for it.
print(child.pid, flush=True)
"""
HARNESS = f"""
import subprocess, sys
from torture import processes
processes.become_subreaper()
made = subprocess.run([sys.executable, "-c", {ORPHAN!r}], stdout=subprocess.PIPE, check=True)
orphan = int(made.stdout)
assert orphan in [one.pid for one in processes.children(processes.me())], "it is ours now"
[name] = processes.end_descendants()
assert str(orphan) in name
while processes.descendants(processes.me()):
    processes.reap(keep=())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans go to a subreaper on Linux only")
def test_orphans_become_ours_are_ended_and_let_go():
    """In a process of its own: pytest is no subreaper."""
    done = subprocess.run([sys.executable, "-c", HARNESS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_else_gets_a_signal():
    """Our parent is no descendant of ours."""
    assert not processes.send(os.getppid(), 0)
