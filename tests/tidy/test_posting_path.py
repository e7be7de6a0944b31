"""One way into the journal: templates make entries, `flow/post.py` books them.

The only others are transfers by number, which have their own door and no business meaning, and
nobody in the mesh may use that door for a booking of ours.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.rules import Source

ROOT = Path(__file__).resolve().parents[2]

_POST = ("ledger/flow/post.py",)
_LATE = ("ledger/flow/_late.py",)  # What post.py leaves to it.
_BY_NUMBER = ("ledger/flow/post_transfers.py", "ledger/flow/expire_holds.py")

# What entries are built with and booked by, and the files that may use it.
HOMES: dict[str, tuple[str, ...]] = {
    "mesh.numbers.derived_id": ("ledger/postings.py",),
    "ledger.postings.PlannedEntry": ("ledger/postings.py",),
    "ledger.templates.parts": ("ledger/postings.py", "ledger/templates/*.py"),
    "ledger.store.posting.Chain": _POST + _LATE,
    "ledger.store.posting.post_chain": _POST,
    "ledger.store.posting.post_late_chain": _LATE,
    "ledger.flow._late.post_late": _POST,
    "ledger.store.transfer.Call": _BY_NUMBER,
    "ledger.store.transfer.post_call": _BY_NUMBER,
    "ledger.flow.post_transfers": ("ledger/doors_*.py",),
}
# The same, reached through its module. Names that others may well have are left to imports.
ATTRIBUTES = {
    name.split(".")[-1]: homes
    for name, homes in HOMES.items()
    if name.split(".")[-1] not in {"parts", "Call", "post_transfers"}
} | {"PostTransfers": ("ledger/doors_*.py", "bench/*")}

SQL = re.compile(
    r"\bINSERT\s+INTO\s+(?:ledger\.)?(?:transfer|voucher)\b"
    r"|\bUPDATE\s+(?:ledger\.)?balance\b[^;]*?\bSET\s+(?:debit|credit)\b"
    r"|\b(?:FROM|LATERAL|SELECT|PERFORM)\s+(?:ledger\.)?post(?:_chains|_late_chain)?\s*\("
)
SQL_HOMES = (
    "ledger/migrations/0001_post*.sql",
    "ledger/store/posting.py",
    "ledger/store/transfer.py",
    "bench/*",  # Measures the posting function by itself.
)


def _at_home(source: Source, homes: tuple[str, ...]) -> bool:
    return any(fnmatch(source.path, home) for home in homes)


def one_posting_path(source: Source) -> Iterator[str]:
    """Nobody outside the posting path builds an entry, or writes one into the journal."""
    if source.top not in rules.PACKAGES:
        return
    if not _at_home(source, SQL_HOMES):
        for found in SQL.finditer(source.text):
            yield f"{source.path}:{source.line(found.start())} writes the journal: book a template"
    if not source.path.endswith(".py"):
        return
    for name, line in rules._imported(source):
        for owned, homes in HOMES.items():
            if f"{name}.".startswith(f"{owned}.") and not _at_home(source, homes):
                yield f"{source.path}:{line} imports {name}: book a template"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and not _at_home(
            source, ATTRIBUTES.get(node.attr, (source.path,))
        ):
            yield f"{source.path}:{node.lineno} reaches for {node.attr}: book a template"


FAULTS = [
    ("trade/flow/pay.py", "from mesh.numbers import derived_id"),
    ("ledger/flow/close_income.py", "from mesh.numbers import new_id, derived_id"),
    ("ledger/flow/close_income.py", "from mesh import numbers\nid = numbers.derived_id('1', 'A')"),
    ("ledger/flow/book_payment.py", "from ledger.postings import PlannedEntry"),
    ("ledger/flow/book_payment.py", "from ledger import postings\npostings.PlannedEntry()"),
    ("ledger/flow/book_payment.py", "from ledger.templates.parts import Leg"),
    ("ledger/workers.py", "import ledger.templates.parts"),
    ("ledger/flow/book_payment.py", "from ledger.store.posting import Chain"),
    ("ledger/flow/book_payment.py", "from ..store.posting import post_chain"),
    ("ledger/flow/book_payment.py", "from ledger.store import posting\nposting.Chain(txn=1)"),
    ("ledger/flow/post.py", "from ledger.store.posting import post_late_chain"),
    ("ledger/flow/book_payment.py", "from ledger.flow._late import post_late"),
    ("ledger/flow/settle.py", "from ledger.store.transfer import Call"),
    ("ledger/flow/settle.py", "from ledger.store import transfer as store\nstore.post_call(db)"),
    ("ledger/flow/settle.py", "from ledger.flow.post_transfers import post_transfers"),
    ("settlement/flow/settle.py", "async def settle(stub): await stub.PostTransfers(request)"),
    ("ledger/store/day.py", 'CLOSE = "INSERT INTO transfer (seq) VALUES (1)"'),
    ("ledger/store/day.py", 'CLOSE = "UPDATE balance b SET credit = 0"'),
    ("ledger/store/day.py", 'CLOSE = """SELECT r.result\nFROM post(1, %(ids)s) r"""'),
    ("ledger/migrations/0001_close.sql", "INSERT INTO voucher (txn) VALUES ('1');"),
    ("ledger/migrations/0001_close.sql", "PERFORM post_chains(1, chains);"),
    ("ledger/store/day.py", 'LATE = "SELECT outcome FROM post_late_chain(1, floor, chain)"'),
]

NEIGHBOURS = [
    ("ledger/postings.py", "from mesh.numbers import derived_id\nPlannedEntry()"),
    ("ledger/templates/funds.py", "from ledger.templates.parts import Leg, Template"),
    ("ledger/flow/post.py", "from ledger.store.posting import Chain, post_chain"),
    ("ledger/flow/forbid.py", "from ledger.store.posting import forbid_chain"),
    ("ledger/flow/close_income.py", "from ledger.templates.funds import CLOSES"),
    ("ledger/flow/book_payment.py", "from ledger.flow.post import post\nawait_ = post(desk, [])"),
    ("ledger/flow/lookup_transfers.py", "from ledger.store import transfer\ntransfer.lookup(db)"),
    ("ledger/doors_transfer.py", "from ledger.flow.post_transfers import post_transfers"),
    ("trade/flow/pay.py", "from mesh.numbers import new_id\nfrom tongbao.ledger.v1 import x_pb2"),
    ("channel/wire.py", "from tongbao.channel.v1.attempt_pb2 import Leg\nLeg(amount=1)"),
    ("ledger/store/account.py", 'OPEN = "INSERT INTO balance (account_id) VALUES (1)"'),
    ("ledger/store/account_change.py", 'BLOCK = "UPDATE balance SET status = 1"'),
    ("ledger/store/report.py", 'READ = "SELECT t.id FROM transfer t JOIN voucher v USING (txn)"'),
    ("tests/service/ledger/test_templates.py", "from ledger.store.posting import Chain"),
]


@pytest.mark.parametrize(("path", "text"), FAULTS)
def test_a_planted_entry_is_reported(path: str, text: str) -> None:
    found = list(one_posting_path(Source(path, text)))
    assert len(found) == 1
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(("path", "text"), NEIGHBOURS)
def test_its_neighbour_passes(path: str, text: str) -> None:
    assert list(one_posting_path(Source(path, text))) == []


def test_every_door_has_its_fault() -> None:
    reports = " ".join(next(one_posting_path(Source(*fault))) for fault in FAULTS)
    assert [name for name in [*HOMES, *ATTRIBUTES] if name.split(".")[-1] not in reports] == []


def test_nobody_goes_past_the_templates() -> None:
    found = [
        fault
        for folder in sorted(rules.PACKAGES)
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".sql"} and path.is_file()
        for fault in one_posting_path(Source(path.relative_to(ROOT).as_posix(), path.read_text()))
    ]
    assert not found, "\n" + "\n".join(found)
