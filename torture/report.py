"""How a trial and a whole run read, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from checker.verdict import Harm
from torture.trial import Outcome


def line(outcome: Outcome) -> str:
    """Return the one line of a seed."""
    return (
        f"seed {outcome.seed:<4} {outcome.seconds:5.1f} s  payments {outcome.payments:<4} "
        f"{_harms(outcome.harms)}  healed in {outcome.heal_seconds:4.1f} s  "
        f"faults {sum(outcome.faults.values())}: {_faults(outcome.faults)}"
    )


def details(outcome: Outcome) -> list[str]:
    """Return what was found, where there is something."""
    found = [text for verdict in outcome.verdicts if not verdict.holds for text in verdict.lines()]
    found += [f"STILL OPEN  {what}" for what in outcome.left_open]
    found += [f"HAD TO BE KILLED  {what}" for what in outcome.left_behind]
    return found


def totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the sums of a whole run."""
    faults, harms = Counter[str](), Counter[str]()
    for outcome in outcomes:
        faults.update(outcome.faults)
        harms.update(outcome.harms)
    return {
        "seeds": len(outcomes),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "payments": sum(outcome.payments for outcome in outcomes),
        "faults": dict(sorted(faults.items())),
        "heal_seconds_max": max((outcome.heal_seconds for outcome in outcomes), default=0.0),
        **{harm.value: harms[harm.value] for harm in Harm},
        "holds": all(outcome.holds for outcome in outcomes),
    }


def total_line(sums: Mapping[str, Any]) -> str:
    """Return the last line of a run."""
    return (
        f"{sums['seeds']} seeds  {sums['seconds']} s  payments {sums['payments']}  "
        f"{_harms(sums)}  slowest heal {sums['heal_seconds_max']} s  "
        f"faults {sum(sums['faults'].values())}: {_faults(sums['faults'])}"
    )


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return a seed's outcome for a program."""
    return asdict(outcome) | {"holds": outcome.holds}


def _harms(harms: Mapping[str, Any]) -> str:
    return "  ".join(f"{harm.value} {harms[harm.value]}" for harm in Harm)


def _faults(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(faults.items())) or "none"
