"""Each house rule is shown a fault it must report and a neighbour it must let pass."""

import pytest

from tests.tidy import rules
from tests.tidy.rules import Source

LONG_FILE = '"""Long."""\n' + "a = 1\n" * rules.FILE_LINES_MAX
LONG_FUNCTION = "def long():\n" + "    a = 1\n" * rules.FUNCTION_LINES_MAX
FULL_FILE = LONG_FILE.removesuffix("a = 1\n")
FULL_FUNCTION = LONG_FUNCTION.removesuffix("    a = 1\n")

# rule, path, text that must be reported
FAULTS = [
    (rules.sizes, "mesh/a.py", LONG_FILE),
    (rules.sizes, "mesh/a.py", LONG_FUNCTION),
    (rules.sizes, "tests/unit/test_a.py", "async " + LONG_FUNCTION),
    # Arrows between folders.
    (rules.imports, "trade/flow/pay.py", "import payment"),
    (rules.imports, "trade/flow/pay.py", "from payment import store"),
    (rules.imports, "trade/flow/pay.py", "from payment.store import insert"),
    (rules.imports, "trade/flow/pay.py", "def f():\n    import ledger.store"),
    (rules.imports, "trade/flow/pay.py", "import importlib\nimportlib.import_module('risk.rules')"),
    (rules.imports, "trade/flow/pay.py", "from ...payment import store"),
    (rules.imports, "trade/store.py", "from tests.door import Door"),
    (rules.imports, "mesh/serve.py", "from trade.service import SERVICE"),
    (rules.imports, "mesh/serve.py", "from tongbao.trade.v1 import trade_pb2"),
    (rules.imports, "mesh/serve.py", "from tongbao import trade"),
    (rules.imports, "sim/app.py", "from mesh import clock"),
    (rules.imports, "sim/app.py", "from tongbao.channel.v1 import channel_pb2"),
    (rules.imports, "checker/a.py", "from demo import story"),
    (rules.imports, "demo/cli.py", "from mesh.db import Database"),
    (rules.imports, "demo/cli.py", "from bench import load"),
    (rules.imports, "bench/cli.py", "from mesh import db"),
    (rules.imports, "bench/cli.py", "from checker import books"),
    (rules.imports, "tools/a.py", "from demo import cli"),
    # Arrows inside a service.
    (rules.imports, "payment/states.py", "from payment.model import Payment"),
    (rules.imports, "payment/model.py", "from payment import store"),
    (rules.imports, "payment/model.py", "from . import store"),
    (rules.imports, "payment/store.py", "from payment.flow.pay import pay"),
    (rules.imports, "payment/store/order.py", "from payment.flow.pay import pay"),
    (rules.imports, "payment/wire.py", "from payment.service import SERVICE"),
    (rules.imports, "payment/flow/pay.py", "from payment.workers import TIMERS"),
    (rules.imports, "channel/adapters/alipay.py", "from channel.flow.submit import submit"),
    # Words.
    (rules.bans, "trade/model.py", "at = datetime.now(UTC)"),
    (rules.bans, "mesh/ids.py", "at = time.time()"),
    (rules.bans, "mesh/ids.py", "at = time.time_ns()"),
    (rules.bans, "mesh/ids.py", "from time import monotonic, time"),
    (rules.bans, "ledger/model.py", "day = date.today()"),
    (rules.bans, "sim/app.py", "at = datetime.utcnow()"),
    (rules.bans, "mesh/embedded.py", 'os.environ["HOME"]'),
    (rules.bans, "sim/app.py", 'os.getenv("HOME")'),
    (rules.bans, "bench/cli.py", "from os import environ"),
    (rules.bans, "demo/cli.py", "env = {**os.environ}"),
    (rules.bans, "ledger/model.py", "fee = float(amount)"),
    (rules.bans, "payment/store.py", "import psycopg"),
    (rules.bans, "payment/store.py", "def f():\n    from sqlalchemy import select"),
    (rules.bans, "mesh/inbox.py", "from psycopg.rows import dict_row"),
    (rules.bans, "checker/books.py", "from psycopg_pool import ConnectionPool"),
    (rules.bans, "payment/store.py", 'ALL = "select  * from payment"'),
    (rules.bans, "ledger/migrations/0002_post.sql", "SELECT *\nFROM account"),
    (rules.bans, "payment/store.py", "# TODO later"),
    (rules.bans, "tests/unit/test_a.py", "# FIXME"),
    (rules.bans, "tools/a.py", "a = 1  # XXX why"),
    (rules.bans, "proto/tongbao/trade/v1/trade.proto", "// XXX name"),
    (rules.bans, "ledger/migrations/0002_post.sql", "-- TODO index"),
    (rules.bans, "tests/unit/test_a.py", "from unittest.mock import patch"),
    (rules.bans, "tests/unit/test_a.py", "from unittest import mock"),
    (rules.bans, "tests/unit/test_a.py", "store = MagicMock()"),
    # Errors.
    (rules.broad_excepts, "trade/a.py", "try:\n    f()\nexcept:\n    pass"),
    (rules.broad_excepts, "trade/a.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.broad_excepts, "sim/a.py", "try:\n    f()\nexcept (OSError, Exception) as e:\n    pass"),
    (rules.broad_excepts, "bench/a.py", "try:\n    f()\nexcept BaseException:\n    raise"),
    (rules.broad_excepts, "demo/a.py", "try:\n    f()\nexcept* Exception:\n    pass"),
    (rules.broad_excepts, "demo/a.py", "with contextlib.suppress(Exception):\n    f()"),
    # Waiting.
    (rules.sleeps, "tests/unit/test_a.py", "time.sleep(0.1)"),
    (rules.sleeps, "tests/mesh/test_a.py", "async def f():\n    await asyncio.sleep(delay)"),
    (rules.sleeps, "tests/mesh/test_a.py", "from time import sleep\nsleep(1)"),
    # Docstrings.
    (rules.docstrings, "trade/a.py", "A = 1"),
    (rules.docstrings, "tests/unit/test_a.py", "A = 1"),
    (rules.docstrings, "trade/a.py", '"""A."""\ndef f(): ...'),
    (rules.docstrings, "trade/a.py", '"""A."""\nasync def f(): ...'),
    (rules.docstrings, "tools/a.py", '"""A."""\nclass C: ...'),
    # Verbs.
    (rules.one_verb_per_flow_file, "trade/flow/pay_trade.py", "def pay(): ..."),
    (rules.one_verb_per_flow_file, "trade/flow/pay_trade.py", "def _pay_trade(): ..."),
    (rules.one_verb_per_flow_file, "trade/flow/pay.py", "async def pay(): ...\ndef other(): ..."),
]  # fmt: skip

# rule, path, text that must pass
NEIGHBOURS = [
    (rules.sizes, "mesh/a.py", FULL_FILE),
    (rules.sizes, "mesh/a.py", FULL_FUNCTION),
    (rules.imports, "trade/flow/pay.py", "from trade import store, model\nfrom mesh import db"),
    (rules.imports, "trade/flow/pay.py", "from tongbao.payment.v1 import payment_pb2"),
    (rules.imports, "trade/flow/pay.py", "from . import _shared\nfrom ..states import TRADE"),
    (rules.imports, "trade/service.py", "from trade.workers import TIMERS\nimport grpc"),
    (rules.imports, "mesh/wire.py", "from tongbao.common.v1 import money_pb2"),
    (rules.imports, "payment/wire.py", "from payment.model import Payment"),
    (rules.imports, "demo/cli.py", "from checker import books\nfrom tongbao.trade.v1 import x_pb2"),
    (rules.imports, "bench/cli.py", "from demo import setup"),
    (rules.imports, "tests/service/trade/test_pay.py", "from trade.flow.pay import pay"),
    (rules.bans, "mesh/clock.py", "at = datetime.now(UTC)"),
    (rules.bans, "sim/clock.py", "at = datetime.now(UTC)"),
    (rules.bans, "bench/cli.py", "at = time.perf_counter()\nat = time.monotonic()"),
    (rules.bans, "mesh/config.py", "os.environ"),
    (rules.bans, "tests/conftest.py", "env = {**os.environ}"),
    (rules.bans, "bench/cli.py", "took = float(text)"),
    (rules.bans, "mesh/db.py", "import psycopg"),
    (rules.bans, "mesh/db.py", "from psycopg_pool import AsyncConnectionPool"),
    (rules.bans, "mesh/migrate.py", "from sqlalchemy import create_engine"),
    (rules.bans, "ledger/migrations/0001_first.py", "import sqlalchemy as sa"),
    (rules.bans, "bench/pg.py", "import psycopg"),
    (rules.bans, "payment/store.py", 'COUNT = "SELECT count(*) FROM payment"'),
    (rules.bans, "mesh/money.py", 'NO_CURRENCY = "XXX"'),
    (rules.broad_excepts, "mesh/serve.py", "try:\n    f()\nexcept Exception:\n    raise"),
    (rules.broad_excepts, "trade/a.py", "try:\n    f()\nexcept (OSError, ValueError):\n    pass"),
    (rules.sleeps, "tests/unit/test_a.py", "async def f():\n    await asyncio.sleep(0)"),
    (rules.sleeps, "mesh/outbox.py", "async def f():\n    await asyncio.sleep(1)"),
    (rules.docstrings, "trade/__init__.py", ""),
    (rules.docstrings, "trade/a.py", '"""A."""\ndef _f(): ...'),
    (rules.docstrings, "tests/unit/test_a.py", '"""A."""\ndef test_x(): ...'),
    (rules.one_verb_per_flow_file, "trade/flow/pay.py", "async def pay(): ...\ndef _other(): ..."),
    (rules.one_verb_per_flow_file, "trade/flow/__init__.py", ""),
    (rules.one_verb_per_flow_file, "mesh/flow/pay.py", "def other(): ..."),
]


@pytest.mark.parametrize(("rule", "path", "text"), FAULTS)
def test_a_planted_fault_is_reported(rule: rules.Rule, path: str, text: str) -> None:
    found = list(rule(Source(path, text)))
    assert len(found) == 1
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(("rule", "path", "text"), NEIGHBOURS)
def test_its_neighbour_passes(rule: rules.Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) == []


def test_every_rule_and_every_ban_has_its_fault() -> None:
    assert {rule for rule, _, _ in FAULTS} == {*rules.PYTHON_RULES, *rules.TEXT_RULES}
    texts = "".join(next(rules.bans(Source(path, text)), "") for _, path, text in FAULTS)
    assert [ban.instead for ban in rules.BANS if ban.instead not in texts] == []


def test_a_report_points_at_the_line() -> None:
    source = Source("payment/store.py", '"""Store."""\n\n\n    import psycopg\n')
    assert list(rules.bans(source)) == ["payment/store.py:4 'import psycopg': write mesh.db"]


FILES = ["__init__.py", "flow/__init__.py", "flow/pay.py", "migrations/0001_a.py", "model.py"]


@pytest.mark.parametrize(
    ("readme", "faults"),
    [
        (None, 1),
        ("", 3),
        ("`flow/pay.py` `model.py` `migrations/`", 0),
        ("see `mesh/db.py`: `flow/pay.py` `model.py` `migrations/`", 0),
        ("`flow/pay.py`, once more flow/pay.py, `model.py` `migrations/`", 1),
        ("`trade/flow/pay.py` `model.py` `migrations/`", 1),
        ("`flow/pay.py` `model.py` `migrations/` and `gone.py`", 1),
    ],
)
def test_a_readme_is_held_against_its_folder(readme: str | None, faults: int) -> None:
    assert len(list(rules.readme_names_every_file("trade", FILES, readme))) == faults


@pytest.mark.parametrize("files", [[], ["__init__.py"]])
def test_a_service_without_modules_needs_no_readme(files: list[str]) -> None:
    assert list(rules.readme_names_every_file("trade", files, None)) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "-i example.org",
        "--find-links wheels",
        "--extra-index-url=x",
        "a @ file:wheels/a.whl",
        "a @ git+ssh:somewhere",
        "# made by: uv pip compile /home/me/run.in",
        "-r /srv/run.in",
        "-c ~/run.txt",
    ],
)
def test_an_address_is_reported(line: str) -> None:
    assert len(list(rules.addresses("requirements/run.txt", f"a==1\n{line}\n"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "aiohttp==3.14.5 \\",
        "    --hash=sha256:0133c3c3b54a0bf1",
        "-r run.in",
        "-c run.txt",
        "psycopg[binary,pool]==3.3.9",
        "# the HTTP/2 side",
        "cffi==2.1.1 ; platform_python_implementation != 'PyPy' \\",
    ],
)
def test_a_requirement_is_no_address(line: str) -> None:
    assert list(rules.addresses("requirements/run.txt", line)) == []


def test_a_file_of_two_distributions_is_reported() -> None:
    owned = {"one": ["site/a.py", "site/b.py"], "two": ["site/b.py"], "three": ["site/c.py"]}
    assert list(rules.shared_files(owned)) == ["site/b.py belongs to one and two"]
