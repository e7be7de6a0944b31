"""What to try next: lines to paste, and where traces, logs and metrics are."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.world import CURRENCY
from mesh.config import HOME_DEFAULT

_SERVICE = "tongbao.trade.v1.TradeService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What of the demo's world the lines speak of: an app, what it sells, an order it made."""

    app: str
    product_code: str
    merchant_id: str
    trace_no: str


def lines(
    *, home: Path, ca: Path, host: str, state: Mapping[str, Any], example: Example
) -> list[str]:
    """Return the lines for a running installation."""
    address = f"{host}:{state['ports']['trade']}"
    home, ca = _short(home), _short(ca)
    here = "" if home == HOME_DEFAULT else f" --home {shlex.quote(str(home))}"
    bearer = f'-H "authorization: Bearer $(.venv/bin/tongbao token {example.app}{here})"'
    grpcurl = f"grpcurl -cacert {shlex.quote(str(ca))}"
    # Only contributors have it (`make test` installs it).
    has_buf = Path(sys.executable).with_name("buf").exists()
    buf = f".venv/bin/buf curl --protocol grpc --cacert {shlex.quote(str(ca))}"
    told = ["What there is to call:", f"  {grpcurl} {address} list"]
    if has_buf:
        told.append(f"  {buf} --list-methods https://{address}")
    for title, method, content in _calls(example):
        data = f"-d '{json.dumps(content)}'"
        told += [
            title,
            f"  .venv/bin/tongbao call TradeService/{method} {data} --as {example.app}{here}",
            f"  {grpcurl} {bearer} {data} {address} {_SERVICE}/{method}",
        ]
        if has_buf:
            told.append(f"  {buf} {bearer} {data} https://{address}/{_SERVICE}/{method}")
    return [
        *told,
        "",
        f"logs     {home}/logs/<service>.log",
        f"traces   {home}/traces/<service>.jsonl; all: TONGBAO_TRACE_PPM=1000000",
        "         TONGBAO_OTLP_ENDPOINT sends them elsewhere",
        "metrics  TONGBAO_METRICS_PORT=9400 serves them from there on, a port for each service",
    ]


def _calls(example: Example) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what to try: why, which method, with what."""
    trade = {
        "order_no": "by-hand-1",
        "product_code": example.product_code,
        "merchant_id": example.merchant_id,
        "amount": {"currency_code": CURRENCY, "minor_units": 1234},
        "subject": "tea",
    }
    return [
        ("An order:", "CreateTrade", {"trade": trade}),
        ("An order that breaks rules, each named:", "CreateTrade", {"trade": {}}),
        ("An order that is not there, with the reason:", "GetTrade", {"order_no": "nobody-s"}),
        (
            "One order, whole, in time order, from all services:",
            "GetTrace",
            {"trace_no": example.trace_no},
        ),
    ]


def _short(path: Path) -> Path:
    """Return the path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
