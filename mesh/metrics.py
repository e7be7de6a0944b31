"""Where Prometheus reads: `GET /metrics` on 127.0.0.1, answered by a thread of its own."""

from __future__ import annotations

import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from mesh.handover import to_the_last


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = True  # The process that takes our place listens before we leave.


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape is no event."""


def serve_metrics(port: int) -> None:
    """Answer scrapes until the process ends. Raises OSError when the port is taken."""
    server = make_server(
        "127.0.0.1", port, make_wsgi_app(), server_class=_Server, handler_class=_Quiet
    )
    to_the_last(server.socket)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
