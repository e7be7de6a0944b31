"""Make Grafana's dashboards from the table below: `python tools/dashboards.py`.

A dashboard's JSON is a thousand lines of which thirty say something; those are here. With
`--check` nothing is written, and the exit code is 1 when a file is not what the table says.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


@dataclass(frozen=True)
class Panel:
    """One picture: its title, what is asked, how a line is called, and the unit."""

    title: str
    expr: str
    legend: str
    unit: str = "short"
    kind: str = "timeseries"


_RATE = "rpc_server_call_duration_seconds"


def _quantile(share: float) -> str:
    buckets = f"rate({_RATE}_bucket[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (rpc_method, le) ({buckets}))"


DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "payments": (
        "Tongbao: payments",
        (
            Panel("Payments of the last ten minutes",
                  "max by (state, tool) (sum by (state, tool, instance) (tongbao_payments_recent))",
                  "{{state}} {{tool}}"),
            Panel("By channel",
                  "max by (channel, state) (sum by (channel, state, instance)"
                  " (tongbao_attempts_recent))", "{{channel}} {{state}}"),
            Panel("Success rate of channels",
                  'max by (channel) (sum by (channel, instance)'
                  ' (tongbao_attempts_recent{operation="pay", state="succeeded"}))'
                  ' / max by (channel) (sum by (channel, instance)'
                  ' (tongbao_attempts_recent{operation="pay", state=~"succeeded|failed"}))',
                  "{{channel}}", "percentunit"),
            Panel("Payments without an end", "max by (state, tool) (tongbao_payment_open)",
                  "{{state}} {{tool}}"),
            Panel("Age of the oldest of them", "max by (tool) (tongbao_payment_open_age_seconds)",
                  "{{tool}}", "s"),
            Panel("Age of the oldest open attempt",
                  "max by (channel) (tongbao_attempt_open_age_seconds)", "{{channel}}", "s"),
            Panel("Callback lag, p95", "max by (channel) (tongbao_callback_lag_seconds)",
                  "{{channel}}", "s"),
            Panel("Refunds of the last ten minutes", "max by (state) (tongbao_refunds_recent)",
                  "{{state}}"),
            Panel("Trades of the last ten minutes", "max by (state) (tongbao_trades_recent)",
                  "{{state}}"),
            Panel("Imbalance of the books", "max by (currency) (tongbao_ledger_imbalance_minor)",
                  "{{currency}}", "short", "stat"),
            Panel("Books that were tampered with", "max by (book) (tongbao_ledger_book_tampered)",
                  "book {{book}}", "short", "stat"),
            Panel("Old days that wait for their files",
                  "max by (book) (tongbao_ledger_history_overdue_seconds)", "book {{book}}", "s"),
            Panel("Partitions not made", "max by (service) (tongbao_partitions_not_made)",
                  "{{service}}", "short", "stat"),
            Panel("Cases past their deadline", "max by (kind) (tongbao_cases_overdue)",
                  "{{kind}}", "short", "stat"),
            Panel("Webhooks not delivered", "max by (tried) (tongbao_webhooks_pending)",
                  "tried before: {{tried}}"),
        ),
    ),
    "flow": (
        "Tongbao: events and timers",
        (
            Panel("Events to publish", "max by (service) (tongbao_outbox_backlog)", "{{service}}"),
            Panel("Age of the oldest", "max by (service) (tongbao_outbox_age_seconds)",
                  "{{service}}", "s"),
            Panel("Messages yet to be read", "max by (service, source) (tongbao_inbox_lag)",
                  "{{service}} from {{source}}"),
            Panel("Events applied",
                  "sum by (service, source) (rate(tongbao_events_applied_total"
                  "[$__rate_interval]))", "{{service}} from {{source}}", "ops"),
            Panel("Events set aside", "max by (service) (tongbao_dead_letters)", "{{service}}",
                  "short", "stat"),
            Panel("Events set aside, by source",
                  "sum by (service, source) (increase(tongbao_dead_letters_total[1h]))",
                  "{{service}} from {{source}}"),
            Panel("Rows that are due", "max by (service, table) (tongbao_due_rows)",
                  "{{service}}.{{table}}"),
            Panel("Late by", "max by (service, table) (tongbao_due_late_seconds)",
                  "{{service}}.{{table}}", "s"),
            Panel("Age of the oldest webhook", "max(tongbao_webhook_age_seconds)", "webhooks", "s"),
            Panel("Losses of streams", "sum by (service) (increase(tongbao_stream_losses_total"
                  "[1h]))", "{{service}}", "short", "stat"),
        ),
    ),
    "calls": (
        "Tongbao: calls",
        (
            Panel("Calls a second", f"sum by (service) (rate({_RATE}_count[$__rate_interval]))",
                  "{{service}}", "ops"),
            Panel("Errors a second",
                  f'sum by (service, rpc_response_status_code)'
                  f' (rate({_RATE}_count{{rpc_response_status_code!="OK"}}[$__rate_interval]))',
                  "{{service}} {{rpc_response_status_code}}", "ops"),
            Panel("p99 by method", _quantile(0.99),
                  "{{rpc_method}}", "s"),
            Panel("p50 by method", _quantile(0.5),
                  "{{rpc_method}}", "s"),
            Panel("Rows a statement",
                  "sum by (service, statement) (rate(tongbao_statement_rows_sum[$__rate_interval]))"
                  " / sum by (service, statement)"
                  " (rate(tongbao_statement_rows_count[$__rate_interval]))",
                  "{{service}} {{statement}}"),
            Panel("Statements a second",
                  "sum by (service) (rate(tongbao_statement_rows_count[$__rate_interval]))",
                  "{{service}}", "ops"),
            Panel("Connections", "max by (service) (tongbao_pool_connections)", "{{service}}"),
            Panel("Waits for a connection",
                  "sum by (service) (rate(tongbao_pool_waits_total[$__rate_interval]))"
                  " / sum by (service) (rate(tongbao_pool_requests_total[$__rate_interval]))",
                  "{{service}}", "percentunit"),
            Panel("Seconds waited a second",
                  "sum by (service) (rate(tongbao_pool_wait_seconds_total[$__rate_interval]))",
                  "{{service}}", "s"),
            Panel("Processor", "sum by (service) (rate(process_cpu_seconds_total"
                  "[$__rate_interval]))", "{{service}}", "percentunit"),
            Panel("Memory", "max by (service) (process_resident_memory_bytes)", "{{service}}",
                  "bytes"),
            Panel("Up", 'up{job="tongbao"}', "{{service}} {{instance}}", "short", "stat"),
        ),
    ),
}  # fmt: skip


def dashboard(uid: str) -> dict[str, Any]:
    """Return what Grafana imports for the dashboard `uid`."""
    title, panels = DASHBOARDS[uid]
    return {
        "uid": f"tongbao-{uid}",
        "title": title,
        "tags": ["tongbao"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(place, panel) for place, panel in enumerate(panels)],
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": place + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {
            "h": HEIGHT,
            "w": WIDTH,
            "x": place % COLUMNS * WIDTH,
            "y": place // COLUMNS * HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "expr": panel.expr, "legendFormat": panel.legend}],
    }


def files() -> Iterator[tuple[Path, str]]:
    """Yield every file and what it should hold."""
    for uid in DASHBOARDS:
        yield FOLDER / f"{uid}.json", json.dumps(dashboard(uid), indent=2) + "\n"


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = [path for path, text in files() if not path.exists() or path.read_text() != text]
    if not check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in files():
            path.write_text(text)
        return 0
    for path in stale:
        sys.stderr.write(f"{path} is not what tools/dashboards.py says: run it\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
