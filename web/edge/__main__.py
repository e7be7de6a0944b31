"""How the edge runs: `python -m web.edge --listen HOST:PORT --service trade=HOST:PORT …`."""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

import tongbao
from web.edge.bridge import Bridge
from web.edge.patience import PatientProtocol

_KEEP_ALIVE_SECONDS = 30
_DRAIN_SECONDS = 20
_CONNECTIONS_MAX = 2000
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def main() -> None:
    """Serve until SIGTERM; then answer what was begun, and leave."""
    given = _arguments()
    host, _, port = given.listen.rpartition(":")
    addresses = dict(one.split("=", 1) for one in given.service)
    credentials = grpc.ssl_channel_credentials(given.ca.read_bytes())

    def open_channels() -> Mapping[str, grpc.aio.Channel]:
        return {
            service: grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
            for service, address in addresses.items()
        }

    uvicorn.run(
        _front(Bridge(public_services(), open_channels=open_channels)),
        host=host,
        port=int(port),
        http=PatientProtocol,
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
        lifespan="on",
        access_log=False,  # Paths are rpcs: their services log and count them.
        log_level="warning",
        server_header=False,
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def public_services() -> Iterator[ServiceDescriptor]:
    """Yield the services of all contracts in `tongbao`."""
    for root in map(Path, tongbao.__path__):  # A namespace: its folders are no packages.
        for found in sorted(root.glob("*/v*/*_service_pb2.py")):
            name = ".".join(("tongbao", *found.relative_to(root).with_suffix("").parts))
            file: FileDescriptor = importlib.import_module(name).DESCRIPTOR
            yield from file.services_by_name.values()


def _front(bridge: Bridge) -> Any:
    """Return the bridge with `/healthz` before it, and a word for those who lost their way.

    A header with anything but printable ASCII ends here: gRPC could not carry it on, and to read
    it would break the call.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [one for one in scope["headers"] if _PRINTABLE.fullmatch(one[1])]
            scope = {**scope, "headers": headers}
        if scope["type"] == "http" and scope["path"] == "/healthz":
            await _say(send, 200, {"status": "SERVING"})
        elif scope["type"] == "http" and scope["path"] == "/":
            await _say(send, 200, {"what": "POST /<package>.<Service>/<Method> with JSON"})
        else:
            await bridge(scope, receive, send)

    return app


async def _say(send: Any, status: int, body: Mapping[str, str]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode() + b"\n"})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m web.edge", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--service", required=True, action="append", metavar="NAME=HOST:PORT")
    parser.add_argument("--ca", required=True, type=Path, help="who signed the services' TLS")
    parser.add_argument("--certificate", required=True, type=Path, help="our own, in PEM")
    parser.add_argument("--key", required=True, type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
