"""One seed, from nothing to a verdict: bring up, break, heal, wait until quiet, judge."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic

from checker.rules import UNDER_FAULTS
from checker.verdict import Harm, Verdict, judge
from demo.client import CallFailed
from demo.collect import Collector
from demo.drain import waiting
from demo.stage import Stage
from mesh.embedded.places import StartError
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ledger_pb
from torture.callers import Callers
from torture.deeds import Op, plan_deeds
from torture.faults import plan_aftershocks, plan_faults
from torture.history import History
from torture.installation import Installation
from torture.nemesis import Nemesis
from torture.scene import Scene, open_scene

RATE = 5.0  # Deeds a second.
BACK_UP_S = 60.0
QUIET_S = 90.0
_LEAP_S, _LEAP_EVERY_S = 30, 2.0
_LOOK_S, _LOOK_EVERY_S = 3.0, 0.7
_TELL_EVERY_S = 10.0
_AGAIN_S = 1.0  # Between two verdicts.
_SETTLED_S = 8.0  # What is still wrong after so long without a message stays wrong.

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one seed. `faults` are by kind, `harms` by what they mean to a caller.

    `left_open` has not ended in time, `left_behind` are processes that had to be killed.
    """

    seed: int
    seconds: float
    payments: int
    faults: Mapping[str, int]
    harms: Mapping[str, int]
    heal_seconds: float
    left_open: Sequence[str]
    left_behind: Sequence[str]
    verdicts: Sequence[Verdict]

    @property
    def holds(self) -> bool:
        """Whether nothing at all was found."""
        return not sum(self.harms.values()) and not self.left_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How things stood when nothing moved any more, or when the time was over."""

    heal_seconds: float
    payments: int
    left_open: Sequence[str]
    verdicts: Sequence[Verdict]


async def run_trial(seed: int, *, seconds: float, folder: Path, say: Say) -> Outcome:
    """Torture one new installation in `folder` for `seconds`; return what became of it.

    Raises StartError when it never came up. Afterwards the folder holds the history, the
    journals of simulator and receiver and the verdict; all logs too, when something was found.
    """
    began = monotonic()
    history = History(_fresh(folder) / "history.jsonl")
    installation = Installation(folder, seed=str(seed))
    try:
        async with installation, open_scene(installation, history, seed=seed) as scene:
            say(f"up in {monotonic() - began:.1f} s")
            end = await _play(scene, seed=seed, seconds=seconds, say=say)
        outcome = Outcome(
            seed=seed,
            seconds=round(monotonic() - began, 1),
            payments=end.payments,
            faults=history.read().faults,
            harms=_harms(end),
            heal_seconds=round(end.heal_seconds, 1),
            left_open=end.left_open,
            left_behind=installation.left,
            verdicts=end.verdicts,
        )
        _keep(folder, installation, outcome)
        return outcome
    finally:
        history.close()
        installation.remove()


async def _play(scene: Scene, *, seed: int, seconds: float, say: Say) -> _End:
    """Storm, heal, and judge what is left."""
    deeds = plan_deeds(seed, seconds=seconds, rate=RATE)
    callers = Callers(scene.world, scene.clients)
    nemesis = Nemesis(scene.installation, scene.stage.simulator, scene.history)
    funding = [deed for deed in deeds if deed.op is Op.FUND]
    await callers.carry_out(funding, began=monotonic())
    say("wallets are filled; now everything goes wrong")
    calling = asyncio.create_task(callers.carry_out(deeds[len(funding) :], began=monotonic()))
    looking = asyncio.create_task(_look(scene.stage, scene.history))
    try:
        async with asyncio.timeout(seconds + BACK_UP_S):
            await asyncio.gather(
                nemesis.strike(plan_faults(seed, seconds=seconds)), asyncio.sleep(seconds)
            )
        began = monotonic()
        say(f"{callers.done} of {len(deeds)} deeds are done; healing")
        await nemesis.make_up()
        await nemesis.strike(plan_aftershocks(seed))
        await nemesis.make_up()
        await scene.installation.wait_healthy(within=BACK_UP_S)
        scene.patience.ends_in(QUIET_S)
        return await _quiet(scene, calling, began=began, say=say)
    finally:
        for task in (calling, looking):
            task.cancel()
        await asyncio.wait([calling, looking])


async def _quiet(scene: Scene, calling: asyncio.Task[None], *, began: float, say: Say) -> _End:
    """Wait until every caller has its answer and nothing moves any more, and judge.

    An event whose taker was killed comes again after half a minute: what is missing may be on
    its way, and what is right may be done again. So the verdict counts when no message is on
    its way; what it finds then must still be so some seconds later.
    """
    leaping = asyncio.create_task(_leap(scene.installation))
    telling = asyncio.create_task(_tell(calling, say))
    give_up = monotonic() + QUIET_S
    try:
        await asyncio.wait([calling], timeout=QUIET_S)
        if calling.done():
            calling.result()
        quiet_since = None
        while True:
            moving = await scene.bus.on_its_way()
            quiet_since = None if moving != 0 else quiet_since or monotonic()
            is_last = monotonic() > give_up
            if quiet_since is not None or is_last:
                end = await _try_to_judge(scene, began=began)
                holds = end is not None and not sum(_harms(end).values())
                settled = quiet_since is not None and monotonic() - quiet_since > _SETTLED_S
                if end is not None and (holds or is_last or (settled and not end.left_open)):
                    return end
                if is_last:
                    raise StartError(
                        "the installation did not come back",
                        why=f"it does not answer {QUIET_S:.0f} s after the last fault",
                        next_step=f"Read {scene.installation.home}/logs",
                    )
            await asyncio.sleep(_AGAIN_S)
    finally:
        for task in (leaping, telling):
            task.cancel()
        await asyncio.wait([leaping, telling])


async def _try_to_judge(scene: Scene, *, began: float) -> _End | None:
    """Return how things stand; None while somebody does not answer."""
    try:
        return await _judged(scene, began=began)
    except CallFailed:
        return None


async def _leap(installation: Installation) -> None:
    """Let business time run ahead: what waits for minutes comes in seconds."""
    while True:
        await asyncio.sleep(_LEAP_EVERY_S)
        await installation.pass_time(_LEAP_S)


async def _tell(calling: asyncio.Task[None], say: Say) -> None:
    """Say from time to time what is waited for."""
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        say("waiting for " + ("what moves" if calling.done() else "callers without an answer"))


async def _look(stage: Stage, history: History) -> None:
    """Look at the trial balance all the time, whenever somebody shows it."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        number = history.read_begins("auditor", "GetTrialBalance")
        request, gaps = ledger_pb.GetTrialBalanceRequest(), Counter[str]()
        try:
            async with asyncio.timeout(_LOOK_S):
                answer = await stage.operator.ask(stage.doors.ledger_ops.GetTrialBalance, request)
        except (CallFailed, TimeoutError):
            continue
        for line in answer.message.lines:
            gaps[line.currency_code] += line.debit_minor - line.credit_minor
        history.looked(number, "auditor", gaps)


async def _judged(scene: Scene, *, began: float) -> _End:
    """Return the verdict on every rule as things stand now. Raises CallFailed."""
    seen = scene.history.read()
    collector = Collector(scene.stage, scene.world)
    evidence = replace(
        await collector.evidence(scene.history, scene.receiver),
        sights=seen.sights,
        snapshots=seen.snapshots,
        intrusions=seen.intrusions,
    )
    traces = {trace_no: list(map(asdict, found)) for trace_no, found in evidence.traces.items()}
    truth = list(map(asdict, evidence.movements))
    shown = {"traces": traces, "truth": truth, "trial": list(map(asdict, evidence.trial))}
    folder = scene.installation.home.parent
    (folder / "end.json").write_text(json.dumps(shown, ensure_ascii=False))
    entries = [one for found in evidence.traces.values() for one in found]
    return _End(
        heal_seconds=monotonic() - began,
        payments=sum(one.kind == "payment" for one in entries),
        left_open=[
            f"{trace_no}: {what}"
            for trace_no, found in evidence.traces.items()
            for what in waiting(found)
        ],
        verdicts=judge(UNDER_FAULTS, evidence),
    )


def _fresh(folder: Path) -> Path:
    """Return the folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _harms(end: _End) -> dict[str, int]:
    """Return what was found by what it means; what has not ended in time is lost."""
    found = Counter(harm for verdict in end.verdicts for harm in verdict.harms())
    found[Harm.LOST] += len(end.left_open)
    return {harm.value: found[harm] for harm in Harm}


def _keep(folder: Path, installation: Installation, outcome: Outcome) -> None:
    """Write the verdict down, and keep the logs if they may be needed."""
    with suppress(FileNotFoundError):
        shutil.copy(installation.home / "sim" / "journal.ndjson", folder / "simulator.jsonl")
    told = asdict(outcome) | {"holds": outcome.holds}
    (folder / "verdict.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    if outcome.holds:
        shutil.rmtree(installation.home, ignore_errors=True)
        (folder / "end.json").unlink()
