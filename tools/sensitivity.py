"""Plant faults and see that the torture finds them.

Each `torture/mutants/<name>.patch` is a unified diff that plants one fault; its header names the
seeds to try, in order, until one finds it:

    # seeds: 18 14

CAUGHT: a seed found something, and the harms are named. SURVIVED: no seed did. BROKEN: the
patch does not apply, or nothing came up; that proves nothing either way.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tools.mutants import apply, working_copy

ROOT = Path(__file__).resolve().parents[1]
PATCHES = ROOT / "torture" / "mutants"
SEEDS = re.compile(r"^# seeds:(.*)$", re.MULTILINE)
SEED_SECONDS_MAX = 400
# The copy's own verb, whatever is installed.
PROGRAM = """
import sys
from torture.cli import torture
sys.exit(torture(seed=int(sys.argv[1]), as_json=True))
"""
HARMS = ("lost", "duplicate", "unbalanced", "unexplained")


def seeds_of(patch: Path) -> list[str]:
    """Return the seeds that a patch names. Raises SystemExit when there are none."""
    seeds = " ".join(SEEDS.findall(patch.read_text("utf-8"))).split()
    if not seeds:
        sys.exit(f"{patch.name}: no line '# seeds: <numbers>'")
    return seeds


def found_by(copy: Path, seed: str) -> str | None:
    """Return what a seed finds in `copy`, empty for nothing; None when it gave no verdict."""
    path = f"{copy}{os.pathsep}{copy / 'gen' / 'python'}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, seed],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SEED_SECONDS_MAX,
    )
    try:
        totals = json.loads(done.stdout)["totals"]
    except (ValueError, KeyError):
        return None
    return ", ".join(f"{totals[harm]} {harm}" for harm in HARMS if totals[harm])


def try_mutant(patch: Path) -> tuple[str, str]:
    """Return the verdict on one planted fault, and the evidence."""
    with working_copy() as copy:
        if problem := apply(patch, copy):
            return "BROKEN", problem
        for seed in seeds_of(patch):
            found = found_by(copy, seed)
            if found is None:
                return "BROKEN", f"seed {seed} gave no verdict"
            if found:
                return "CAUGHT", f"by seed {seed}: {found}"
    return "SURVIVED", f"seeds {' '.join(seeds_of(patch))}"


def main() -> int:
    """Try every planted fault; return 0 if all were caught."""
    parser = argparse.ArgumentParser(description="Every planted fault must be found by torture.")
    parser.add_argument("--only", metavar="TEXT", default="", help="those whose name contains TEXT")
    options = parser.parse_args()
    patches = [one for one in sorted(PATCHES.glob("*.patch")) if options.only in one.stem]
    caught = 0
    for patch in patches:
        verdict, evidence = try_mutant(patch)
        caught += verdict == "CAUGHT"
        print(f"{verdict} {patch.stem}: {evidence}", flush=True)
    print(f"{caught} of {len(patches)} caught")
    return 0 if caught == len(patches) and patches else 1


if __name__ == "__main__":
    sys.exit(main())
