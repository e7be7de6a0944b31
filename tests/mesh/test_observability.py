"""One wallet payment and one by QR code, as an operator sees them: traces, metrics, logs."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from bench.cli import free_row
from bench.load import Sender, Shape
from bench.roll import roll_world
from mesh.config import load, services
from mesh.otlp import HttpExporter, exporter_for
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAMED = re.compile(r"\b(tongbao_[a-z0-9_]+|rpc_server_[a-z0-9_]+|process_[a-z0-9_]+)\b")
ALL = {"trade", "payment", "channel", "ledger", "settlement", "risk"}


class Collector:
    """What a collector of traces was told over OTLP."""

    def __init__(self):
        self.spans = []

    async def take(self, request):
        told = ExportTraceServiceRequest.FromString(await request.read())
        for resource in told.resource_spans:
            [name] = [one.value.string_value for one in resource.resource.attributes
                      if one.key == "service.name"]  # fmt: skip
            for scope in resource.scope_spans:
                self.spans += [(name.removeprefix("tongbao-"), span) for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString())

    def services_by_trace(self, trace_no):
        """Of each trace that has a span of `trace_no`: the services that have one in it."""
        mine = {span.trace_id for _, span in self.spans
                for one in span.attributes if one.value.string_value == trace_no}  # fmt: skip
        return [{name for name, span in self.spans if span.trace_id == one} for one in mine]


@asynccontextmanager
async def collecting():
    """A collector that listens; yield it and its port."""
    collector = Collector()
    runner = web.ServerRunner(web.Server(collector.take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield collector, site._server.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()


class Seen:
    """A platform that was paid through, and everything it said."""

    def __init__(self, stage, collector, prefix):
        self.stage, self.collector, self.prefix = stage, collector, prefix
        self.home = stage.settings.home

    async def metrics(self):
        """What all services answer to a scrape, by service."""
        first = self.stage.settings.metrics_port
        told = {}
        async with aiohttp.ClientSession() as http:
            for place, service in enumerate(services()):
                async with http.get(f"http://127.0.0.1:{first + place}/metrics") as answer:
                    assert answer.status == 200
                    told[service] = await answer.text()
        return told

    def logged(self, trace_no):
        """The services that have log lines of `trace_no`."""
        found = set()
        for service in services():
            lines = (self.home / "logs" / f"{service}.log").read_text().splitlines()
            facts = [json.loads(line) for line in lines if line.startswith("{")]
            if any(one.get("trace_no") == trace_no for one in facts):
                found.add(service)
        return found


@pytest.fixture(scope="module")
async def seen(home):
    """Everything is traced, measured and logged; two payments were made."""
    folder = home / "observed"
    folder.mkdir()
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.world.WALLETS", 2)
        async with collecting() as (collector, port):
            settings = load(
                home=folder,
                trace_ppm=1_000_000,
                otlp_endpoint=f"http://127.0.0.1:{port}/v1/traces",
                metrics_port=free_row(len(services())),
                log_level="debug",
            )
            async with roll_world(settings, lambda _: None) as (stage, world, inbox):
                for what in ("pay-wallet", "collect"):
                    shape = Shape(
                        what=what, form="unary", in_flight=1, pack=1, seconds=0.0, warm_up=0.0
                    )
                    sender = Sender(world, shape, prefix=f"seen-{what}", inbox=inbox)
                    assert (await sender.send()()).errors == ()
                yield Seen(stage, collector, "seen")


async def test_a_trace_goes_from_the_caller_to_the_ledger_and_over_nats(seen):
    """One trace id, five services and risk, sent to a collector by OTLP over HTTP."""
    await eventually(lambda: ALL in seen.collector.services_by_trace("BENCHW-seen-pay-wallet-1"))


async def test_log_lines_of_every_service_carry_the_trace_number(seen):
    """So that one search finds all that was said of a payment."""
    await eventually(lambda: seen.logged("BENCHW-seen-pay-wallet-1") >= ALL)
    await eventually(lambda: ALL - {"risk"} <= seen.logged("BENCHQ-seen-collect-1"))


@pytest.mark.parametrize(
    "sample",
    [
        r'tongbao_payments_recent\{channel="sim-.",state="succeeded",tool="QR_PAYER"\} [1-9]',
        r'tongbao_payments_recent\{channel="balance",state="succeeded",tool="BALANCE"\} 1\.0',
        r'tongbao_attempts_recent\{channel="balance",operation="pay",state="succeeded"\} 1\.0',
        r'tongbao_callback_lag_seconds\{channel="sim-.+"\} 0?\.?\d',
        r'tongbao_trades_recent\{state="paid"\} [1-9]',
        r"tongbao_outbox_backlog 0\.0",
        r"tongbao_outbox_age_seconds 0\.0",
        r"tongbao_dead_letters 0\.0",
        r'tongbao_inbox_lag\{source="payment"\} 0\.0',
        r'tongbao_due_late_seconds\{table="payment"\} 0\.0',
        r'tongbao_ledger_imbalance_minor\{currency="CNY"\} 0\.0',
        r'tongbao_ledger_unclosed_day_seconds\{book="1"\} 0\.0',
        r'tongbao_ledger_book_tampered\{book="1"\} 0\.0',
        r"tongbao_webhook_age_seconds 0\.0",
        r"tongbao_pool_requests_total [1-9]",
        r'rpc_server_call_duration_seconds_count\{rpc_method="tongbao.trade.v1.TradeService/PayTr'
        r'ade",rpc_response_status_code="OK"\} [1-9]',
        r'tongbao_statement_rows_count\{statement="\w+"\} [1-9]',
    ],
)
async def test_what_a_dashboard_shows_is_measured(seen, sample):
    """Business, events, timers, calls, batches, connections: from the tables and the process."""

    async def measured():
        told = await seen.metrics()
        return any(re.search(f"^{sample}", text, re.MULTILINE) for text in told.values())

    await eventually(measured, within=90)


@pytest.mark.parametrize("file", sorted(one.name for one in DEPLOY.glob("*/*.*")))
async def test_every_metric_that_deploy_names_exists(seen, file):
    """A panel or an alert on a metric that is not there would be silent for ever."""
    [path] = DEPLOY.glob(f"*/{file}")
    named = set(NAMED.findall(path.read_text()))

    async def missing():
        text = "\n".join((await seen.metrics()).values())
        declared = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
        known = {name for name, _ in declared}
        known |= {f"{name}_{end}" for name, kind in declared if kind == "histogram"
                  for end in ("bucket", "count", "sum")}  # fmt: skip
        return named - known

    async def none_missing():
        return not await missing()

    await eventually(none_missing, within=60)


def test_dashboards_are_what_their_table_says():
    """They are made, not edited."""
    command = [sys.executable, str(ROOT / "tools" / "dashboards.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_prometheus_scrapes_every_service():
    """Port by port, in the order in which `up` counts them on."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    found = re.findall(r'"127\.0\.0\.1:(\d+)"\], labels: \{service: (\w+)\}', text)
    assert found == [(str(9700 + place), name) for place, name in enumerate(services())]


@pytest.mark.parametrize(
    "check",
    [
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
)
def test_alert_rules_are_right(check):
    """As Prometheus reads them, and as they fire."""
    built = ROOT / "build" / "bin" / "promtool"
    program = str(built) if os.access(built, os.X_OK) else shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: `tools/promtool.sh build/bin/promtool` gets it")
    done = subprocess.run(
        [program, *check], cwd=DEPLOY / "prometheus", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_spans_go_over_grpc_too():
    """The address decides: with a path it is HTTP, without gRPC."""
    assert exporter_for(None) is None
    assert isinstance(exporter_for("http://127.0.0.1:4318/v1/traces"), HttpExporter)
    over_grpc = await asyncio.to_thread(exporter_for, "http://127.0.0.1:4317")
    assert type(over_grpc).__name__ == "OTLPSpanExporter"
    over_grpc.shutdown()
