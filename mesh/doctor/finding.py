"""The words in which checks speak."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mesh.config import Settings


class Verdict(StrEnum):
    """What a check says. SKIP: it could not look, and says why."""

    PASS = "PASS"  # noqa: S105  # Not a password.
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do next if it is not well."""

    check: str
    verdict: Verdict
    seen: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is looked at: the settings, and what the supervisor says if one runs."""

    settings: Settings
    services: tuple[str, ...]
    state: dict[str, Any] | None
    learnt: dict[str, str | None] = field(default_factory=dict)  # So that nobody waits twice.

    @property
    def runs(self) -> bool:
        """Whether a supervisor runs in this home."""
        return self.state is not None

    def own(self, service: str, name: str) -> str | None:
        """Return a setting that the supervisor wrote for `service`; None if it never did."""
        file = self.settings.home / "run" / f"{service}.json"
        try:
            value = json.loads(file.read_text()).get(name)
        except (OSError, ValueError):
            return None
        return None if value is None else str(value)


def passed(check: str, seen: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, verdict=Verdict.PASS, seen=seen)


def warned(check: str, seen: str, next_step: str) -> Finding:
    """Return that something will hurt later, or is not meant for production."""
    return Finding(check=check, verdict=Verdict.WARN, seen=seen, next_step=next_step)


def failed(check: str, seen: str, next_step: str) -> Finding:
    """Return that something is wrong now."""
    return Finding(check=check, verdict=Verdict.FAIL, seen=seen, next_step=next_step)


def unseen(scene: Scene, check: str, why: str) -> Finding:
    """Return that it could not be looked at; when everything should run, that is wrong itself."""
    if scene.runs:
        return failed(check, why, "Look: `tongbao status`, `tongbao logs`")
    return skipped(check, why)


def skipped(check: str, why: str, *, next_step: str = "Start it: `tongbao up --detach`") -> Finding:
    """Return that it could not be looked at."""
    return Finding(check=check, verdict=Verdict.SKIP, seen=why, next_step=next_step)
