"""Carries a plan of faults out, each at its time, and takes everything back."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

import aiohttp

from demo.simulator import Simulator
from torture import processes
from torture.faults import Fault
from torture.history import History
from torture.installation import SUPERVISOR, Installation
from torture.relay import DOWN, FAIR, UP, Weather
from torture.wires import NATS, POSTGRES

_GONE_S = 3.0
_POLL_S = 0.01


class Nemesis:
    """Strikes an installation. `simulator` is its provider's control."""

    def __init__(self, target: Installation, simulator: Simulator, history: History) -> None:
        self._target, self._simulator, self._history = target, simulator, history
        self._stopped: set[int] = set()
        self._snapshot = target.home / "nats-snapshot"
        self._store = target.home / "nats" / "store"

    async def strike(self, faults: Sequence[Fault]) -> None:
        """Return when all faults are over; times count from now."""
        began = monotonic()
        if any(fault.kind == "roll back nats" for fault in faults):
            await self._take_snapshot()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._one(fault, at=began + fault.at_ms / 1000))

    async def make_up(self) -> None:
        """Take back whatever still weighs on the installation."""
        for wire in self._target.wires.all:
            await self._target.proxy.weather(wire.name)
        self._go_on(list(self._stopped))
        for acquirer in ("sim-a", "sim-b"):
            await self._provider(acquirer, on=False)

    async def _one(self, fault: Fault, *, at: float) -> None:
        await asyncio.sleep(max(0.0, at - monotonic()))
        facts = {"target": fault.target, "seconds": fault.seconds, **fault.facts}
        begun = self._history.fault_begins(fault.kind, facts)
        hit = False
        try:
            hit = await _STRIKES[fault.kind](self, fault)
        finally:
            self._history.fault_ends(fault.kind, begun, hit=hit)

    async def _kill(self, fault: Fault) -> bool:
        return self._target.send(fault.target, signal.SIGKILL)

    async def _kill_postgres(self, fault: Fault) -> bool:
        """The postmaster alone, whose backends then leave by themselves, or all at once."""
        pid = self._target.pids().get(POSTGRES)
        if pid is None:
            return False
        backends = processes.children(pid) if fault.target == "all" else []
        hit = processes.send(pid, signal.SIGKILL)
        for one in backends:
            processes.send(one.pid, signal.SIGKILL)
        return hit

    async def _kill_backend(self, fault: Fault) -> bool:
        pid = self._target.pids().get(POSTGRES)
        backends = processes.children(pid) if pid is not None else []
        if not backends:
            return False
        victim = backends[fault.facts["place"] % len(backends)]
        return processes.send(victim.pid, signal.Signals[fault.target])

    async def _roll(self, fault: Fault) -> bool:
        return await self._target.roll(fault.target)

    async def _pause(self, fault: Fault) -> bool:
        """Stop a process, of PostgreSQL every one, and let it go on later."""
        pid = self._target.pids().get(fault.target)
        if pid is None:
            return False
        pids = [pid]
        if fault.target == POSTGRES:
            pids += [one.pid for one in processes.children(pid)]
        paused = [one for one in pids if processes.send(one, signal.SIGSTOP)]
        self._stopped |= set(paused)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            self._go_on(paused)
        return bool(paused)

    def _go_on(self, pids: Sequence[int]) -> None:
        for pid in pids:
            processes.send(pid, signal.SIGCONT)
            self._stopped.discard(pid)

    async def _wipe(self, fault: Fault) -> bool:
        return await self._lose(fault, lambda: shutil.rmtree(self._store))

    async def _roll_back(self, fault: Fault) -> bool:
        if not self._snapshot.is_dir():
            return False
        return await self._lose(fault, self._put_snapshot_back)

    async def _lose(self, fault: Fault, work: Callable[[], object]) -> bool:
        """Lose the store while one consumer is behind, for whom nothing was acknowledged."""
        link = f"{fault.target}>{NATS}"
        await self._target.proxy.weather(link, Weather(held=(UP, DOWN)))
        try:
            await asyncio.sleep(fault.seconds)
            return await self._without_nats(work)
        finally:
            await self._target.proxy.weather(link, FAIR)

    def _put_snapshot_back(self) -> None:
        shutil.rmtree(self._store)
        shutil.copytree(self._snapshot, self._store)

    async def _take_snapshot(self) -> None:
        """Keep the store as a loss of power would leave it now."""
        await self._without_nats(lambda: shutil.copytree(self._store, self._snapshot))

    async def _without_nats(self, work: Callable[[], object]) -> bool:
        """Kill NATS, do `work` on its store, and let whoever starts it again go on."""
        pids = self._target.pids()
        keeper, pid = pids.get(SUPERVISOR), pids.get(NATS)
        if keeper is None or pid is None or not processes.send(keeper, signal.SIGSTOP):
            return False
        self._stopped.add(keeper)
        try:
            if not processes.send(pid, signal.SIGKILL) or not await _gone(pid):
                return False
            with suppress(FileNotFoundError):  # It was killed before it had made one.
                work()
        finally:
            self._go_on([keeper])
        return True

    async def _weather(self, fault: Fault) -> bool:
        weather = _WEATHERS[fault.kind](fault.facts)
        await self._target.proxy.weather(fault.target, weather)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await self._target.proxy.weather(fault.target, FAIR)
        return True

    async def _cut_answers(self, fault: Fault) -> bool:
        """Weather as well, which may strike nobody when nobody is answered."""
        before = await self._target.proxy.ask(do="cuts", link=fault.target)
        await self._weather(fault)
        after = await self._target.proxy.ask(do="cuts", link=fault.target)
        return bool(after["cuts"] > before["cuts"])

    async def _half_close(self, fault: Fault) -> bool:
        way = fault.facts["way"]
        answer = await self._target.proxy.ask(do="half_close", link=fault.target, way=way)
        return bool(answer["shut"])

    async def _outage(self, fault: Fault) -> bool:
        return await self._for_a_while(self._simulator.outage, fault)

    async def _hang(self, fault: Fault) -> bool:
        return await self._for_a_while(self._simulator.hang, fault)

    async def _for_a_while(self, switch: Callable[..., Awaitable[None]], fault: Fault) -> bool:
        try:
            await switch(fault.target, on=True)
            await asyncio.sleep(fault.seconds)
        except (aiohttp.ClientError, TimeoutError):  # It is down itself, and forgets all this.
            return False
        finally:
            with suppress(aiohttp.ClientError, TimeoutError):
                await switch(fault.target, on=False)
        return True

    async def _errors(self, fault: Fault) -> bool:
        facts = fault.facts
        try:
            await self._simulator.rule(
                fault.target, op=facts["op"], fault=facts["fault"], times=facts["times"]
            )
        except (aiohttp.ClientError, TimeoutError):
            return False
        return True

    async def _provider(self, acquirer: str, *, on: bool) -> None:
        for switch in (self._simulator.outage, self._simulator.hang):
            with suppress(aiohttp.ClientError, TimeoutError):
                await switch(acquirer, on=on)


async def _gone(pid: int) -> bool:
    """Return whether a killed process has let go of its files, which is when it is a zombie."""
    give_up = monotonic() + _GONE_S
    while monotonic() < give_up:
        if processes.is_gone(pid):
            return True
        await asyncio.sleep(_POLL_S)
    return False


_Strike = Callable[[Nemesis, Fault], Awaitable[bool]]
_STRIKES: Mapping[str, _Strike] = {
    "kill service": Nemesis._kill,
    "kill postgres": Nemesis._kill_postgres,
    "kill backend": Nemesis._kill_backend,
    "kill nats": Nemesis._kill,
    "kill simulator": Nemesis._kill,
    "kill supervisor": Nemesis._kill,
    "roll service": Nemesis._roll,
    "pause service": Nemesis._pause,
    "pause postgres": Nemesis._pause,
    "pause nats": Nemesis._pause,
    "pause simulator": Nemesis._pause,
    "pause supervisor": Nemesis._pause,
    "wipe nats": Nemesis._wipe,
    "roll back nats": Nemesis._roll_back,
    "partition": Nemesis._weather,
    "one way": Nemesis._weather,
    "reset": Nemesis._weather,
    "half close": Nemesis._half_close,
    "delay": Nemesis._weather,
    "throttle": Nemesis._weather,
    "cut answers": Nemesis._cut_answers,
    "provider outage": Nemesis._outage,
    "provider hang": Nemesis._hang,
    "provider errors": Nemesis._errors,
}
_WEATHERS: Mapping[str, Callable[[Mapping[str, object]], Weather]] = {
    "partition": lambda _: Weather(held=(UP, DOWN)),
    "one way": lambda facts: Weather(held=(str(facts["way"]),)),
    "reset": lambda _: Weather(refusing=True),
    "delay": lambda facts: Weather(**facts),  # type: ignore[arg-type]  # Drawn as its fields.
    "throttle": lambda facts: Weather(**facts),  # type: ignore[arg-type]
    "cut answers": lambda facts: Weather(**facts),  # type: ignore[arg-type]
}
