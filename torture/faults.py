"""The table of faults, and what a seed makes of it: which, when, where and for how long.

A plan follows from its seed alone, so a seed repeats the same decisions. What the machine
makes of them (who was where at that moment) does not repeat.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torture.wires import ACQUIRERS, CALLBACKS, CALLERS, NATS, NEIGHBOURS, POSTGRES, WEBHOOKS

SERVICES = ("trade", "payment", "channel", "ledger", "settlement", "risk")
_CONSUMERS = ("ledger", "settlement", "trade", "payment", "risk")
AT_ONCE_MAX = 3
_KINDS_MIN = 6
_ODDS = 0.45  # That a kind is among those of a seed.
# In every seed, once at least: what the platform is about, and what happens most.
_ALWAYS = ("cut answers", "kill service")
_AFTERSHOCKS_MAX = 2

LINKS: Mapping[str, Sequence[str]] = {
    "service-service": NEIGHBOURS,
    "service-postgres": tuple(f"{service}>{POSTGRES}" for service in SERVICES),
    "service-nats": tuple(f"{service}>{NATS}" for service in SERVICES),
    "channel-provider": tuple(f"channel>{name}" for name in ACQUIRERS),
    "provider-channel": (CALLBACKS,),
    "trade-receiver": (WEBHOOKS,),
    "caller-trade": (CALLERS,),
}
_ANSWERED = ("service-service", "service-postgres", "service-postgres", "service-postgres",
             "channel-provider", "channel-provider", "caller-trade")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One decision: at `at_ms` of the run, for `seconds`, which may be 0."""

    at_ms: int
    kind: str
    target: str
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault. `busy_s` is how long its target is not itself again afterwards."""

    name: str
    targets: Sequence[str]
    seconds: tuple[float, float] = (0.0, 0.0)
    busy_s: float = 0.0
    facts: Callable[[random.Random], Mapping[str, Any]] = lambda _: {}
    occupies: Callable[[str], frozenset[str]] = lambda target: frozenset({target})


def _whole(name: str) -> Callable[[str], frozenset[str]]:
    return lambda _: frozenset({name})


def _rolling(target: str) -> frozenset[str]:
    """Two processes of one service work at the same time; that takes a supervisor and schemas."""
    return frozenset({target, "supervisor", POSTGRES})


def _store(target: str) -> frozenset[str]:
    """NATS is killed behind the back of a supervisor that is held, while a consumer lags."""
    return frozenset({NATS, "supervisor", target, f"{target}>{NATS}"})


def _links(groups: Sequence[str]) -> Sequence[str]:
    """Return links so that every group is drawn as often, however many links it has."""
    most = max(len(LINKS[group]) for group in groups)
    return [LINKS[group][place % len(LINKS[group])] for group in groups for place in range(most)]


_ANYWHERE = _links(tuple(LINKS))

KINDS: Sequence[Kind] = (
    Kind(name="kill service", targets=SERVICES, busy_s=3),
    Kind(name="kill postgres", targets=("all", "postmaster"), busy_s=4, occupies=_whole(POSTGRES)),
    Kind(
        name="kill backend",
        targets=("SIGKILL", "SIGTERM"),
        busy_s=1,
        facts=lambda draw: {"place": draw.randrange(100)},
        occupies=_whole(POSTGRES),
    ),
    Kind(name="kill nats", targets=(NATS,), busy_s=2),
    Kind(name="kill simulator", targets=("sim",), busy_s=2),
    Kind(name="kill supervisor", targets=("supervisor",), busy_s=9),
    Kind(name="roll service", targets=SERVICES, busy_s=8, occupies=_rolling),
    Kind(name="pause service", targets=SERVICES, seconds=(0.5, 4)),
    Kind(name="pause postgres", targets=(POSTGRES,), seconds=(0.5, 3)),
    Kind(name="pause nats", targets=(NATS,), seconds=(0.5, 4)),
    Kind(name="pause simulator", targets=("sim",), seconds=(0.5, 4)),
    Kind(name="pause supervisor", targets=("supervisor",), seconds=(0.5, 4)),
    # The target is a consumer that is cut off before: what it has not taken yet is lost.
    Kind(name="wipe nats", targets=_CONSUMERS, seconds=(0.3, 2), busy_s=2, occupies=_store),
    Kind(name="roll back nats", targets=_CONSUMERS, seconds=(0.3, 2), busy_s=2, occupies=_store),
    Kind(name="partition", targets=_ANYWHERE, seconds=(0.5, 5)),
    Kind(
        name="one way",
        targets=_ANYWHERE,
        seconds=(0.5, 5),
        facts=lambda draw: {"way": draw.choice(("up", "down"))},
    ),
    Kind(name="reset", targets=_ANYWHERE, seconds=(0.0, 1.5)),
    Kind(
        name="half close",
        targets=_ANYWHERE,
        facts=lambda draw: {"way": draw.choice(("up", "down"))},
    ),
    Kind(
        name="delay",
        targets=_ANYWHERE,
        seconds=(1, 5),
        facts=lambda draw: {"delay_ms": draw.randint(5, 200), "jitter_ms": draw.randint(0, 200)},
    ),
    Kind(
        name="throttle",
        targets=_ANYWHERE,
        seconds=(1, 5),
        facts=lambda draw: {"bytes_a_second": draw.randint(4_000, 40_000)},
    ),
    # The statement, the call or the request has arrived; nobody hears what became of it.
    Kind(
        name="cut answers",
        targets=_links(_ANSWERED),
        seconds=(0.5, 3),
        facts=lambda draw: {"cut_ppm": draw.randint(50_000, 400_000)},
    ),
    Kind(name="provider outage", targets=ACQUIRERS, seconds=(0.5, 4)),
    Kind(name="provider hang", targets=ACQUIRERS, seconds=(0.5, 4)),
    Kind(
        name="provider errors",
        targets=ACQUIRERS,
        facts=lambda draw: {
            "op": draw.choice(("charge", "refund", "query", "query_refund")),
            "fault": draw.choice(("system_error", "bad_signature", "reset")),
            "times": draw.randint(1, 6),
        },
    ),
)
# What may strike again while everything comes back.
_AFTERSHOCKS = ("kill service", "kill postgres", "kill nats", "kill backend", "pause service")


def plan_faults(seed: int, *, seconds: float) -> Sequence[Fault]:
    """Return the faults of a seed for a window of `seconds`, in order.

    A seed has its own mixture: some kinds, each with its own weight, at its own pace.
    """
    draw = random.Random(f"faults {seed}")  # noqa: S311  # To be repeated, not to be secret.
    mixture = [kind for kind in KINDS if draw.random() < _ODDS or kind.name in _ALWAYS]
    while len(mixture) < _KINDS_MIN:
        mixture.append(draw.choice([kind for kind in KINDS if kind not in mixture]))
    weights = [draw.randint(1, 4) for _ in mixture]
    pace = draw.uniform(0.5, 1.6)
    due = [kind for kind in mixture if kind.name in _ALWAYS]
    found: list[Fault] = []
    busy: list[tuple[float, frozenset[str]]] = []  # Until when, what.
    now = draw.uniform(0.5, 1.5)
    while now < seconds - 1:
        [kind] = draw.choices(due or mixture, None if due else weights)
        fault = _drawn(kind, draw, at=now)
        busy = [one for one in busy if one[0] > now]
        mine = kind.occupies(fault.target)
        if len(busy) < AT_ONCE_MAX and not any(mine & theirs for _, theirs in busy):
            found.append(fault)
            due = [one for one in due if one is not kind]
            busy.append((now + fault.seconds + kind.busy_s, mine))
        now += draw.expovariate(1 / pace)
    return found


def plan_aftershocks(seed: int) -> Sequence[Fault]:
    """Return what strikes while a seed's installation comes back; times from its heal."""
    draw = random.Random(f"aftershocks {seed}")  # noqa: S311  # To be repeated.
    kinds = [kind for kind in KINDS if kind.name in _AFTERSHOCKS]
    found = []
    for place in range(draw.randint(0, _AFTERSHOCKS_MAX)):
        at = 0.3 + place * 2 + draw.uniform(0, 1.5)
        found.append(_drawn(draw.choice(kinds), draw, at=at))
    return found


def _drawn(kind: Kind, draw: random.Random, *, at: float) -> Fault:
    return Fault(
        at_ms=int(at * 1000),
        kind=kind.name,
        target=draw.choice(kind.targets),
        seconds=round(draw.uniform(*kind.seconds), 2),
        facts=kind.facts(draw),
    )
