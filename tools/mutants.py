"""Break the code on purpose and see that the tests notice.

Each `tests/mutants/<name>.patch` is a unified diff that plants one fault; its header names the
tests that must turn red:

    # expect: tests/service/ledger/test_post.py::test_a_replay_books_nothing

The tests first run green on a copy of the working tree. Then each patch is applied to a fresh
copy. RED: at least one named test failed. SURVIVED: they passed, so nothing guards that line.
BROKEN: the patch does not apply, or the tests could not run; that proves nothing either way.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PATCHES = ROOT / "tests" / "mutants"
EXPECT = re.compile(r"^# expect:(.*)$", re.MULTILINE)
RUN_SECONDS_MAX = 900


@dataclass(frozen=True)
class Mutant:
    """One planted fault and the tests that must see it."""

    name: str
    patch: Path
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant. `detail` is the evidence: failed tests, or what went wrong."""

    name: str
    verdict: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class Run:
    """One pytest run: its exit code, the tests that failed, the end of what it printed."""

    code: int
    failed: tuple[str, ...]
    tail: str


def read_mutants(folder: Path) -> list[Mutant]:
    """Every patch by name. Raises SystemExit for one that names no test."""
    mutants = []
    for patch in sorted(folder.glob("*.patch")):
        tests = tuple(" ".join(EXPECT.findall(patch.read_text("utf-8"))).split())
        if not tests:
            sys.exit(f"{patch.name}: no line '# expect: <pytest node ids>'")
        mutants.append(Mutant(patch.stem, patch, tests))
    return mutants


@contextmanager
def working_copy() -> Iterator[Path]:
    """A copy of all files that git tracks or would track, with this environment beside it."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in os.fsdecode(listed.stdout).split("\0"):
            if name and (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        (copy / ".venv").symlink_to(sys.prefix)
        yield copy


def apply(patch: Path, copy: Path) -> str:
    """Apply the patch inside the copy; the complaint of git when that fails, else nothing."""
    done = subprocess.run(
        ["git", "apply", str(patch)],
        cwd=copy,
        # The copy may lie below some repository; git would then skip paths outside its index.
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout.strip() or "git apply failed" if done.returncode else ""


def run_tests(copy: Path, tests: Iterable[str]) -> Run:
    """Run the tests of the copy against the code of the copy, not the installed one."""
    report = copy / "build" / "mutant.xml"
    paths = os.pathsep.join([str(copy), str(copy / "gen" / "python")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
    report.parent.mkdir(exist_ok=True)
    printed = report.with_suffix(".txt")
    with printed.open("w") as out:
        # A session of its own, so that a hung run ends with every server that it started.
        run = subprocess.Popen(
            [*command, f"--junit-xml={report}", *tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = run.wait(RUN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return Run(-1, (), f"no end after {RUN_SECONDS_MAX} seconds")
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
    return Run(code, failures(report), "\n".join(printed.read_text().splitlines()[-15:]))


def failures(report: Path) -> tuple[str, ...]:
    """The tests whose body failed. A set-up that broke is an error, and not among them."""
    if not report.exists():
        return ()
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314  pytest wrote it just now
    return tuple(str(case.get("name")) for case in cases if case.find("failure") is not None)


def try_mutant(mutant: Mutant) -> Outcome:
    """Plant the fault in a fresh copy and run its tests."""
    start = time.monotonic()
    with working_copy() as copy:
        complaint = apply(mutant.patch, copy)
        if complaint:
            verdict, detail = "BROKEN", complaint
        else:
            run = run_tests(copy, mutant.tests)
            if run.code == 1 and run.failed:
                verdict, detail = "RED", ", ".join(run.failed)
            elif run.code == 0:
                verdict, detail = "SURVIVED", "every named test passed"
            else:
                verdict, detail = "BROKEN", f"pytest ended with {run.code}\n{run.tail}"
    return Outcome(mutant.name, verdict, round(time.monotonic() - start, 1), detail)


def check_green(mutants: list[Mutant]) -> None:
    """The named tests pass on the unharmed tree. Raises SystemExit when they do not."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    print(f"green check: {len(tests)} named tests on the unharmed tree", flush=True)
    with working_copy() as copy:
        run = run_tests(copy, tests)
    if run.code != 0:
        sys.exit(f"not green, so a red mutant would prove nothing\n{run.tail}")


def main() -> int:
    """Run the mutants; 0 when all are red."""
    parser = argparse.ArgumentParser(description="Every planted fault must turn a test red.")
    parser.add_argument("--only", metavar="TEXT", help="mutants whose name contains TEXT")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the outcomes there too")
    options = parser.parse_args()
    mutants = [m for m in read_mutants(PATCHES) if (options.only or "") in m.name]
    if options.only and not mutants:
        sys.exit(f"no mutant is named like {options.only!r}")
    if mutants:
        check_green(mutants)
    outcomes = []
    for number, mutant in enumerate(mutants, 1):
        outcome = try_mutant(mutant)
        outcomes.append(outcome)
        print(f"{outcome.verdict} {outcome.name}  ({number}/{len(mutants)}, {outcome.seconds} s)")
        if outcome.verdict != "RED":
            print("  " + outcome.detail.replace("\n", "\n  "))
        sys.stdout.flush()
    red = sum(outcome.verdict == "RED" for outcome in outcomes)
    if options.json:
        found = {"red": red, "of": len(outcomes), "mutants": [asdict(o) for o in outcomes]}
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(f"{red} of {len(outcomes)} red")
    return 0 if red == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
