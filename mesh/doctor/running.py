"""What only a running installation can be asked: does each part answer, do the books fit?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from google.protobuf import message_factory

from mesh.cli.call import find_method, send
from mesh.cli.callers import OPERATOR_NAME
from mesh.doctor.finding import Finding, Scene, failed, passed, skipped
from mesh.supervisor.children import listens, serves

BALANCE = "ledger.v1.LedgerOpsService/GetTrialBalance"


async def health(scene: Scene) -> Sequence[Finding]:
    """Whether each service says that it serves, and whatever else runs takes connections."""
    if scene.state is None:
        return (skipped("health", "nothing runs"),)
    state = scene.state

    async def one(name: str) -> Finding:
        step = f"Read it: `tongbao logs {name}`"
        if name not in state["pids"]:
            return failed("health", f"{name} does not run", step)
        port = state["ports"].get(name)
        if name in scene.services:
            well = await serves(scene.settings.socket_dir / f"{name}.sock")
        else:
            well = port is None or await listens(port)
        if not well:
            return failed("health", f"{name} (pid {state['pids'][name]}) does not answer", step)
        restarts = state.get("restarts", {}).get(name, 0)
        return passed("health", f"{name} answers, pid {state['pids'][name]}, {restarts} restarts")

    names = dict.fromkeys([*scene.services, *state["pids"]])
    return await asyncio.gather(*map(one, names))


async def books(scene: Scene) -> Sequence[Finding]:
    """Whether debits and credits of all accounts are equal in each currency."""
    if scene.state is None:
        return (skipped("trial balance", "nothing runs"),)
    method = find_method(BALANCE)
    request = message_factory.GetMessageClass(method.input_type)()
    answer = await asyncio.to_thread(send, scene.settings, method, request, OPERATOR_NAME)
    gaps: defaultdict[str, int] = defaultdict(int)
    for line in answer.lines:
        gaps[line.currency_code] += line.debit_minor - line.credit_minor
    off = {currency: gap for currency, gap in gaps.items() if gap}
    if off:
        step = "Stop paying out and look at the journal: `tongbao call` GetTrialBalance"
        return (failed("trial balance", f"off by {off} in minor units", step),)
    return (passed("trial balance", f"zero over {len(answer.lines)} accounts"),)
