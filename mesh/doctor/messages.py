"""NATS as the services use it: is it safe, are the streams there, who lags behind?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client

from mesh import streams
from mesh.doctor.finding import Finding, Scene, Verdict, failed, passed, skipped, unseen, warned
from mesh.embedded.nats import monitored
from mesh.embedded.places import Ports

CONNECT_S = 5.0
LAG_MAX = 1_000


async def messages(scene: Scene) -> Sequence[Finding]:
    """Look at the server, at each service's stream, and at who reads it."""
    first = scene.services[0]
    url = scene.own(first, "nats_url")
    names = ("nats", "streams", "consumers")
    if url is None or (not scene.runs and scene.settings.nats_url is None):
        return tuple(skipped(name, "nothing runs") for name in names)
    try:
        async with asyncio.timeout(CONNECT_S):
            client = await streams.connect(url, first)
    except (streams.StreamUnavailable, TimeoutError) as error:
        why = f"NATS does not answer: {str(error) or f'within {CONNECT_S:.0f} s'}"
        return tuple(unseen(scene, name, why) for name in names)
    try:
        return (await _server(scene), *await _streams(scene, client))
    finally:
        await client.close()


async def _server(scene: Scene) -> Finding:
    """Return whether every message is on disk before it is acknowledged."""
    port = Ports(scene.settings.home).kept().get("nats_monitor")
    told = None if scene.settings.nats_url or port is None else await monitored(port, "/jsz")
    if told is None:
        return Finding(
            check="nats",
            verdict=Verdict.SKIP,
            seen="it is not ours: whether it syncs always cannot be seen from here",
            next_step="Ask its operator for jetstream { sync_interval: always }",
        )
    config = json.loads(told)["config"]
    if not config.get("sync_always"):
        step = "Set jetstream { sync_interval: always } in nats.conf; `tongbao up` writes it so"
        return failed("nats", "messages are acknowledged before they are on disk", step)
    return passed("nats", f"sync_interval is always, store {config.get('store_dir')}")


async def _streams(scene: Scene, client: Client) -> list[Finding]:
    found, lagging, readers, there = [], [], 0, 0
    for service in scene.services:
        name = streams.stream_of(service)
        try:
            info = await streams.ask(client, f"$JS.API.STREAM.INFO.{name}", b"")
        except streams.StreamError as error:
            step = f"{service} makes it when it runs: `tongbao logs {service}`"
            found.append(failed("streams", f"{name} is not there: {error}", step))
            continue
        there += 1
        config = info["config"]
        wrong = [f"{key} is {config.get(key)}" for key, right in _SAFE.items()
                 if config.get(key) != right]  # fmt: skip
        if wrong:
            step = "Someone else made it: delete it, the outbox publishes again"
            found.append(warned("streams", f"{name}: {', '.join(wrong)}", step))
        consumers = await _consumers(client, name)
        readers += len(consumers)
        lagging += [one for one in consumers if one["num_pending"] > LAG_MAX]
    if there == len(scene.services) and not found:
        found.append(passed("streams", f"{there} there, on disk, none may be purged"))
    if lagging:
        seen = ", ".join(f"{one['name']} by {one['num_pending']}" for one in lagging)
        step = "Its service reads too slowly or not at all: `tongbao status`, `tongbao logs`"
        found.append(warned("consumers", f"behind: {seen} messages", step))
    else:
        found.append(passed("consumers", f"{readers}, none is behind by more than {LAG_MAX}"))
    return found


async def _consumers(client: Client, stream: str) -> list[dict[str, Any]]:
    answer = await streams.ask(client, f"$JS.API.CONSUMER.LIST.{stream}", b"")
    return list(answer.get("consumers") or ())


_SAFE = {"storage": "file", "discard": "new", "deny_delete": True, "deny_purge": True}
