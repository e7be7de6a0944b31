"""Verify: what the chain cannot know of itself shows against signed checkpoints."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from prometheus_client import REGISTRY
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger import workers
from ledger.checkpoints import Head, Notary, append, files_in
from ledger.flow.keep_checkpoint import keep_checkpoint
from ledger.flow.prove_blocks import prove_blocks
from ledger.flow.prove_book import prove_book
from mesh.embedded.places import private_dir
from mesh.errors import Refused
from tests.service.ledger import books
from tests.service.ledger.events import booked, open_all, posting
from tests.service.ledger.test_account_doors import said_to_run
from tests.service.ledger.test_checkpoints import KEY, problems
from tests.service.ledger.test_service import (
    CLEARING,
    WALLET,
    Neighbours,
    item,
    open_accounts,
    recharge,
)
from tests.waiting import eventually
from tongbao.ledger.v1 import ledger_ops_service_pb2 as ops
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1.ledger_ops_service_pb2_grpc import LedgerOpsServiceStub

ROOT = Path(__file__).parents[3]

# Balances as the journal has them, and the chain as the blocks have it.
MEND_BALANCES = """
    UPDATE balance b SET
        debit = coalesce((SELECT sum(amount) FROM transfer WHERE debit_id = b.account_id), 0),
        credit = coalesce((SELECT sum(amount) FROM transfer WHERE credit_id = b.account_id), 0),
        last_seq = coalesce((SELECT max(seq) FROM transfer
                             WHERE b.account_id IN (debit_id, credit_id)), 0);
"""
MEND_CHAIN = """
    DO $$ DECLARE one record; digest bytea; before bytea := decode(repeat('00', 32), 'hex'); BEGIN
        FOR one IN SELECT block_no, acct_date, create_time FROM block ORDER BY block_no LOOP
            SELECT transfers_digest(
                array_agg(t.id ORDER BY t.seq), array_agg(t.debit_id ORDER BY t.seq),
                array_agg(t.credit_id ORDER BY t.seq), array_agg(t.amount ORDER BY t.seq),
                array_agg(t.code ORDER BY t.seq), array_agg(t.flags ORDER BY t.seq),
                array_agg(t.ref ORDER BY t.seq), array_agg(t.txn ORDER BY t.seq),
                array_agg(voucher_digest(v.txn, v.template, v.source_no, v.trace_no, v.app_id,
                    v.amount_minor, v.currency_code, v.create_time) ORDER BY t.seq))
              INTO digest FROM transfer t LEFT JOIN voucher v ON v.seq = t.seq
              WHERE t.seq / 8192 = one.block_no;
            before := block_hash(before, one.block_no, one.acct_date, one.create_time, digest);
            UPDATE block SET hash = before WHERE block_no = one.block_no;
        END LOOP;
        UPDATE book SET head_hash = before WHERE book_id = 1;
    END $$;
"""
CHANGED = "UPDATE transfer SET amount = amount + 1 WHERE seq = 2 * 8192 + 1;"
CUT = """
    DELETE FROM transfer WHERE seq >= 3 * 8192;
    DELETE FROM voucher WHERE seq >= 3 * 8192;
    DELETE FROM block WHERE block_no >= 3;
    UPDATE book k SET head_block = 2, head_hash = b.hash, head_time = b.create_time
        FROM block b WHERE b.block_no = 2 AND b.book_id = k.book_id;
"""


@pytest.fixture
def falsify(postgres):
    """Return a function that runs SQL as a superuser with the triggers off, all at once."""

    def run(dsn, sql):
        admin = make_conninfo(postgres.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
        with psycopg.connect(admin) as connection:
            connection.execute("SET search_path = ledger")
            connection.execute("SET session_replication_role = replica")
            connection.execute(sql)

    return run


@pytest.fixture
def quick(monkeypatch):
    """The worker looks at once again."""
    monkeypatch.setattr(workers, "CHECKPOINT_SECONDS", 0.02)


def verify(home, *arguments):
    """Run `tongbao ledger verify --json`; return its exit code, what it found, and its stderr."""
    command = [sys.executable, "-m", "mesh.cli", "ledger", "verify", "--json", "--home", str(home)]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    found = {(one["check"], one["place"]) for one in told["findings"]}
    return done.returncode, found, done.stderr


def tampered():
    """Return what the metric says of the first book."""
    return REGISTRY.get_sample_value("tongbao_ledger_book_tampered", {"book": "1"})


async def four_blocks(ground, ledger):
    """Four recharges, each a block with a checkpoint. Return the file of these."""
    stub = Neighbours(ledger)
    await open_accounts(stub, WALLET, CLEARING)
    file = ground.home / "ledger" / "checkpoints-1.ndjson"
    for count in range(1, 5):
        await stub.BatchPost(pb.BatchPostRequest(items=[item(recharge(count))]))
        await eventually(lambda: file.exists() and len(file.read_text().splitlines()) == count)  # noqa: B023
    return file


TAMPERED = [
    pytest.param("SELECT 1", set(), True, id="untouched"),
    pytest.param(
        CHANGED,
        {
            ("HASH_CHAIN", "block 2 of book 1"),
            ("REPLAY", "account wallet:MALL/u1:CNY"),
            ("REPLAY", "account clearing:sim:CNY"),
        },
        False,
        id="changed amount",
    ),
    pytest.param(
        "DELETE FROM transfer WHERE seq = 2 * 8192 + 1",
        {
            ("HASH_CHAIN", "block 2 of book 1"),
            ("REPLAY", "account wallet:MALL/u1:CNY"),
            ("REPLAY", "account clearing:sim:CNY"),
        },
        False,
        id="deleted row",
    ),
    pytest.param(
        CUT + MEND_BALANCES,
        {("CUT_TAIL", "blocks 3 to 4 of book 1")},
        True,
        id="cut tail",
    ),
    pytest.param(
        CHANGED + MEND_BALANCES + MEND_CHAIN,
        {("REWRITTEN", "blocks 2 to 2 of book 1")},
        True,
        id="rewritten chain",
    ),
]


@pytest.mark.parametrize(("sql", "findings", "is_true_in_itself"), TAMPERED)
async def test_tampering_is_found(ground, quick, falsify, sql, findings, is_true_in_itself):
    """Each way by its check and its place, also where the chain alone is satisfied."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)  # Of another database.
    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        falsify(ledger.dsn, sql)

        with said_to_run(ledger):
            code, found, told = await asyncio.to_thread(verify, ground.home)
        elsewhere = bool({check for check, _ in findings} & {"CUT_TAIL", "REWRITTEN"})
        await eventually(lambda: tampered() == elsewhere)
        proved = await LedgerOpsServiceStub(ledger.operator()).ProveBook(ops.ProveBookRequest())

    vouchers = {one for one in found if one[0] == "VOUCHER"}
    assert found - vouchers == findings
    assert bool(vouchers) == ("DELETE FROM transfer WHERE seq = " in sql)
    assert code == (1 if findings else 0)
    percents = [line.partition(" of ")[0] for line in told.splitlines() if "%" in line]
    assert percents[-1] == "book 1: 100%"
    assert len(set(percents)) == len(percents)
    assert (not proved.findings) == is_true_in_itself


async def test_a_copy_kept_elsewhere_finds_what_the_home_hides(ground, quick, falsify, tmp_path):
    """Whoever cuts the book and its checkpoints does not cut the copy."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    async with ground.run("ledger") as ledger:
        file = await four_blocks(ground, ledger)
        (tmp_path / file.name).write_text(file.read_text())
        falsify(ledger.dsn, CUT + MEND_BALANCES)
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))

        with said_to_run(ledger):
            hidden = await asyncio.to_thread(verify, ground.home)
            found = await asyncio.to_thread(verify, ground.home, "--checkpoints", str(tmp_path))
            none = tmp_path / "none"
            none.mkdir()
            alone = await asyncio.to_thread(verify, ground.home, "--checkpoints", str(none))

    assert hidden[:2] == (0, set())
    assert found[:2] == (1, {("CUT_TAIL", "blocks 3 to 4 of book 1")})
    assert alone[:2] == (1, {("CHECKPOINTS", "book 1")})


@pytest.fixture
def kept(desk, tmp_path):
    """A desk that keeps checkpoints in a directory of its own."""
    notary = Notary(folder=tmp_path / "ledger", key=KEY)
    return replace(desk, notary=notary)


def lines_of(desk):
    return files_in(desk.notary.folder)[1].read_text().splitlines()


async def test_a_head_that_moved_is_kept_once(kept):
    """By two at once, too. Only we can read the file."""
    assert await keep_checkpoint(kept) == []
    await open_all(kept)
    for count in (1, 2, 3):
        await booked(kept, posting("RECHARGED"))
        done = await asyncio.gather(*(keep_checkpoint(kept) for _ in range(8)))
        assert [one.block_no for some in done for one in some] == [count]
        assert await keep_checkpoint(kept) == []

    assert problems(lines_of(kept)) == (3, [])
    file = files_in(kept.notary.folder)[1]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def waiting_for(file):
    """How many wait for the lock of a file."""
    inode = f":{file.stat().st_ino} "
    locks = Path("/proc/locks").read_text().splitlines()
    return sum("->" in line and inode in line for line in locks)


async def test_two_that_write_at_once_write_one_line(kept, tmp_path):
    """Both have seen the same head and no line; the second finds the line of the first."""
    head = Head(book_id=1, block_no=1, hash="", acct_date="", time="")
    file = private_dir(tmp_path / "ledger") / "checkpoints-1.ndjson"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        works = [asyncio.create_task(asyncio.to_thread(append, kept.notary, head)) for _ in "ab"]
        await eventually(lambda: waiting_for(file) == 2)

    before = [await work for work in works]

    assert sorted(before, key=str) == [head, None]
    assert problems(lines_of(kept)) == (1, [])


async def test_a_line_that_a_crash_left_half_is_taken_away(kept):
    await open_all(kept)
    await booked(kept, posting("RECHARGED"))
    await keep_checkpoint(kept)
    with files_in(kept.notary.folder)[1].open("a") as file:
        file.write('{"acct_date":"20')
    await booked(kept, posting("RECHARGED"))

    await keep_checkpoint(kept)

    assert problems(lines_of(kept)) == (2, [])


@pytest.mark.parametrize(
    ("sql", "check"),
    [(CUT + MEND_BALANCES, "CUT_TAIL"), (CHANGED + MEND_BALANCES + MEND_CHAIN, "REWRITTEN")],
)
async def test_a_book_that_is_another_gets_no_more(kept, dsn, falsify, sql, check):
    """The problem is named at once, and again until a person has looked."""
    await open_all(kept)
    await booked(kept, *[posting("RECHARGED") for _ in range(2)])
    await booked(kept, posting("RECHARGED"))
    await booked(kept, posting("RECHARGED"))
    await keep_checkpoint(kept)
    falsify(dsn, sql)

    for _ in range(2):
        [one] = await keep_checkpoint(kept)
        assert check in one.problem
        await booked(kept, posting("RECHARGED"))
    assert len(lines_of(kept)) == 1


async def test_a_last_line_that_was_edited_gets_no_more(kept):
    await open_all(kept)
    await booked(kept, posting("RECHARGED"))
    await keep_checkpoint(kept)
    file = files_in(kept.notary.folder)[1]
    file.write_text(file.read_text().replace('"block_no":1', '"block_no":0'))

    [one] = await keep_checkpoint(kept)

    assert "did not sign" in one.problem
    assert len(lines_of(kept)) == 1


async def test_an_unknown_book_is_not_proved(desk):
    with pytest.raises(Refused, match="book not found"):
        async for _ in prove_blocks(desk, 9):
            pass


@pytest.fixture
def holds(dsn):
    """Holds in every state, and reversals; returns some of them by name."""
    with books.connect(dsn) as connection:
        books.open_account(connection, 1)
        books.open_account(connection, 2)
        names = ["open", "part", "done", "void", "part_done", "paid"]
        made = {name: books.transfer(1, 2, 100, books.PENDING) for name in names[:-1]}
        made["paid"] = books.transfer(1, 2, 100)
        made["blue"] = books.reverse(made["paid"], books.BLUE, 30)
        part = books.POST | books.PARTIAL
        calls = [
            [*made.values()],
            [books.resolve(made["part"], part, 30), books.resolve(made["done"], books.POST, 40)],
            [books.resolve(made["void"], books.VOID), books.resolve(made["part_done"], part, 60)],
            [
                books.resolve(made["part_done"], part, 40),
                books.reverse(made["paid"], books.RED, 20),
            ],
        ]
        for call in calls:
            assert set(books.post(connection, *call)) == {0}
    return made


async def test_holds_and_reversals_are_proved(desk, holds):
    assert (await prove_book(desk)).findings == []


FALSE_HOLDS = [
    ("UPDATE hold SET state = 2 WHERE id = '{open}'", {("HOLD", "hold {open} of book 1")}),
    ("DELETE FROM hold WHERE id = '{part}'", {("HOLD", "hold {part} of book 1")}),
    (
        "UPDATE hold SET state = 0, remaining = 5 WHERE id = '{void}'",
        {("HOLD", "hold {void} of book 1")},
    ),
    ("UPDATE hold SET remaining = 71 WHERE id = '{part}'", {("HOLD", "hold {part} of book 1")}),
    ("UPDATE hold SET credit_id = 3 WHERE id = '{open}'", {("HOLD", "hold {open} of book 1")}),
    (
        "UPDATE balance SET debit_pending = 0 WHERE account_id = 1",
        {("PENDING", "account test:1:CNY")},
    ),
    ("DELETE FROM reversal", {("REVERSAL", "transfer {paid} of book 1")}),
    ("UPDATE reversal SET reversed = 49", {("REVERSAL", "transfer {paid} of book 1")}),
]


@pytest.mark.parametrize(("sql", "findings"), FALSE_HOLDS)
async def test_a_falsified_hold_or_reversal_is_found(desk, dsn, holds, falsify, sql, findings):
    ids = {name: one.id for name, one in holds.items()}
    falsify(dsn, sql.format(**ids))

    found = {(one.check, one.place) for one in (await prove_book(desk)).findings}

    assert found == {(check, place.format(**ids)) for check, place in findings}
