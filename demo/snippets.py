"""What to try next: lines to paste, and where traces, logs and metrics are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesh.config import HOME_DEFAULT


def lines(
    *, home: Path, ca: Path, host: str, state: Mapping[str, Any], app: str, trace_no: str
) -> list[str]:
    """Return the lines for a running installation; `trace_no` is of an order of `app`."""
    port = state["ports"]["trade"]
    home, ca = _short(home), _short(ca)
    here = "" if home == HOME_DEFAULT else f" --home {shlex.quote(str(home))}"
    token = f'-H "authorization: Bearer $(.venv/bin/tongbao token {app}{here})"'
    method, data = "tongbao.trade.v1.TradeService/GetTrace", f'{{"trace_no":"{trace_no}"}}'
    pem = shlex.quote(str(ca))
    return [
        "One order, whole, in time order, from all services:",
        f"  .venv/bin/tongbao call TradeService/GetTrace -d '{data}'{here}",
        f"  grpcurl -cacert {pem} {token} -d '{data}' {host}:{port} {method}",
        f"  .venv/bin/buf curl --protocol grpc --cacert {pem} {token} -d '{data}' https://{host}:{port}/{method}",
        "",
        f"logs     {home}/logs/<service>.log",
        f"traces   {home}/traces/<service>.jsonl; all: TONGBAO_TRACE_PPM=1000000",
        "         TONGBAO_OTLP_ENDPOINT sends them elsewhere",
        "metrics  TONGBAO_METRICS_PORT=9400 serves them from there on, a port for each service",
    ]


def _short(path: Path) -> Path:
    """Return the path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
