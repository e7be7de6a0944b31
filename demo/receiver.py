"""Where the demo's apps get their webhooks: verify, write down, answer.

What came is on disk before it is answered with 200, as every receiver should do it: the
sender forgets what was answered. The recipe is that of Standard Webhooks: HMAC-SHA256 over
`id.timestamp.body`, in base64 behind `v1,`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from checker import webhooks
from checker.evidence import Delivery
from demo.journal import Journal
from mesh.clock import real_seconds
from mesh.embedded.places import explained

TOLERANCE_SECONDS = 300


class Receiver:
    """A web server on loopback. `secrets` are the apps' by name, as CreateApp told them.

    So many first deliveries as `refuse` says are answered with 500, so that they are repeated.
    """

    def __init__(
        self, journal: Journal, *, port: int, secrets: Mapping[str, str], refuse: int = 0
    ) -> None:
        self.secrets = dict(secrets)
        self.came = 0
        self._refuse = refuse
        self._journal, self._port = journal, port
        self._seen: set[str] = set()
        server = web.Server(self._answer, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        with explained(f"webhooks cannot be received on 127.0.0.1:{self._port}"):
            await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def deliveries(self) -> list[Delivery]:
        """Return everything that ever came to this home, in order of arrival."""
        return [webhooks.read(line) for line in self._journal.lines()]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        app = request.path.rpartition("/")[2]
        body = await request.read()
        webhook_id = request.headers.get("webhook-id", "")
        signed = app in self.secrets and is_signed(self.secrets[app], request.headers, body)
        first = webhook_id not in self._seen
        self._seen.add(webhook_id)
        status = 200 if signed else 401
        if signed and first and self._refuse:
            self._refuse -= 1
            status = 500
        text = body.decode("utf-8", "backslashreplace")
        line = webhooks.line(
            app=app, webhook_id=webhook_id, signed=signed, answered=status, body=text
        )
        await self._journal.append(line)
        self.came += 1
        return web.Response(status=status)


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether whoever knows `secret` sent exactly this, now."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(real_seconds() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    given = headers.get("webhook-signature", "").split()
    expected = sign(secret, webhook_id=webhook_id, timestamp=timestamp, body=body)
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


def sign(secret: str, *, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a webhook. `secret` is `whsec_` and the key in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
