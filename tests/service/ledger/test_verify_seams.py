"""A proof in several calls: it is as strong as one, wherever one call ends and the next begins."""

import hashlib
import os
from contextlib import aclosing
from dataclasses import replace

import pytest

from ledger import proofs
from ledger.flow import _proof
from ledger.flow import prove_blocks as flow
from ledger.flow.prove_blocks import prove_blocks
from mesh.errors import Refused
from tests.service.ledger.books import BOOK
from tests.service.ledger.events import booked, open_all, posting
from tests.service.ledger.test_prove_under_load import Poster
from tests.service.ledger.test_verify import CUT, MEND_BALANCES, MEND_CHAIN, falsify

__all__ = ["falsify"]

CHAIN_2, CHAIN_3, CHAIN_4, CHAIN_5, CHAIN_6 = (
    ("HASH_CHAIN", f"block {n} of book 1") for n in range(2, 7)
)
WALLET, CLEARING, COST = (
    ("REPLAY", f"account {n}:CNY") for n in ("wallet:MALL/u1", "clearing:sim", "channel_cost:")
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A part is a block, or a page of four; behind each another call can go on, at once."""
    monkeypatch.setattr(flow, "_SLICE_ENTRIES", 1)
    monkeypatch.setattr(_proof, "_PAGE_ROWS", 4)
    monkeypatch.setattr(flow, "_KEEP_SECONDS", -1.0)


@pytest.fixture
def shelf(desk, tmp_path):
    """A desk that keeps proofs."""
    return replace(desk, proofs=tmp_path / "proofs")


async def told(desk, continuation="", *, upto=2**63, parts=2**63):
    """Return the parts of one call, which ends behind `parts` of them or the block `upto`."""
    heard = []
    async with aclosing(prove_blocks(desk, BOOK, continuation=continuation)) as answers:
        async for part in answers:
            heard.append(part)
            if len(heard) == parts or part.next_block > upto:
                break
    return heard


async def in_calls(desk, *, parts, between=lambda calls: None):
    """Return the parts of as many calls as it takes, each of which ends behind some of them."""
    calls = [await told(desk, parts=parts)]
    while len(calls[-1]) == parts:
        between(calls)
        calls.append(await told(desk, calls[-1][-1].continuation, parts=parts))
    return calls


def found(*calls):
    return {(one.check, one.place) for parts in calls for part in parts for one in part.findings}


@pytest.mark.parametrize("seed", range(2))
async def test_a_call_for_every_part_accuses_nobody(shelf, dsn, seed):
    """While holds, reversals and new accounts are posted between them; all of it is counted."""
    poster = Poster(dsn, seed=seed)
    with poster.connection:
        for _ in range(40):
            poster.post()
        calls = await in_calls(
            shelf, parts=1, between=lambda calls: poster.post() if len(calls) < 60 else None
        )

    assert found(*calls) == set()
    assert len(calls) > 60
    [whole] = await shelf.db.rows("SELECT count(*) AS n FROM transfer")
    assert sum(part.entries for parts in calls for part in parts) == whole.n
    assert len(list(shelf.proofs.iterdir())) == 1


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("sql", "check"),
    [
        (
            "UPDATE balance SET debit = debit + 1, credit = credit + 1 WHERE account_id = 3",
            "REPLAY",
        ),
        ("UPDATE balance SET debit = debit + 1 WHERE account_id = 9", "DOUBLE_ENTRY"),
        ("DELETE FROM balance WHERE account_id = 5", "REPLAY"),
        ("UPDATE balance SET debit_pending = debit_pending + 1 WHERE account_id = 4", "PENDING"),
        ("UPDATE hold SET remaining = remaining + 1 WHERE state = 0", "HOLD"),
        ("UPDATE hold SET state = 1 WHERE state = 0", "HOLD"),
        ("UPDATE hold SET state = 0 WHERE state <> 0", "HOLD"),
        ("UPDATE reversal SET reversed = reversed + 1", "REVERSAL"),
        ("DELETE FROM reversal", "REVERSAL"),
    ],
)
async def test_as_much_is_found_as_in_one_call(shelf, dsn, falsify, sql, check, parts):
    """Of balances, holds and reversals, which are compared with what all calls have read."""
    poster = Poster(dsn)
    with poster.connection:
        for _ in range(30):
            poster.post()
    falsify(dsn, sql)
    whole = found(await told(shelf))

    calls = await in_calls(shelf, parts=parts)

    assert found(*calls) == whole
    assert check in {one for one, _ in whole}


def changed(block_no):
    return f"UPDATE transfer SET amount = amount + 1 WHERE seq = {block_no} * 8192 + 1;"


def deleted(block_no):
    return f"DELETE FROM transfer WHERE seq = {block_no} * 8192 + 1;"


REPLAYED = {WALLET, CLEARING}
OTHER_TRACE = "UPDATE voucher SET trace_no = 'MALL-9' WHERE seq / 8192 = 2;"
# What is done, before the first call or between both, of which the first proves blocks 1 to 3.
TAMPERED = [
    pytest.param(changed(3), "", {CHAIN_3, *REPLAYED}, id="changed row just before"),
    pytest.param(changed(4), "", {CHAIN_4, *REPLAYED}, id="changed row just behind"),
    pytest.param(deleted(3), "", {CHAIN_3, *REPLAYED}, id="deleted row just before"),
    pytest.param(deleted(4), "", {CHAIN_4, *REPLAYED}, id="deleted row just behind"),
    pytest.param("", changed(4), {CHAIN_4, *REPLAYED}, id="changed row between"),
    pytest.param("", deleted(4), {CHAIN_4, *REPLAYED}, id="deleted row between"),
    pytest.param(
        "", "UPDATE block SET hash = sha256(hash) WHERE block_no = 3", {CHAIN_3, CHAIN_4},
        id="other hash between",
    ),
    pytest.param("", OTHER_TRACE + MEND_CHAIN, {CHAIN_3}, id="rewritten chain across"),
    pytest.param(
        "", changed(2) + MEND_BALANCES + MEND_CHAIN, {CHAIN_3, *REPLAYED},
        id="rewritten chain across, balances mended",
    ),
    pytest.param(
        "", CUT + MEND_BALANCES,
        {CHAIN_2, CHAIN_3, CHAIN_4, CHAIN_5, CHAIN_6, COST, *REPLAYED}, id="cut tail across",
    ),
    pytest.param(
        "", "UPDATE balance SET credit = credit + 1 WHERE account_id ="
        " (SELECT account_id FROM account WHERE kind = 'wallet')",
        {WALLET, ("DOUBLE_ENTRY", "CNY in book 1")}, id="wrong balance between",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "between", "findings"), TAMPERED)
async def test_a_seam_hides_nothing(shelf, dsn, falsify, before, between, findings):
    """It is found, with its place, and nothing else is accused."""
    await open_all(shelf)
    for _ in range(6):
        assert await booked(shelf, posting("RECHARGED")) == ["posted"]
    falsify(dsn, before or "SELECT 1")

    first = await told(shelf, upto=3)
    falsify(dsn, between or "SELECT 1")
    second = await told(shelf, first[-1].continuation)

    assert first[-1].next_block == 4
    assert second[0].next_block == 5
    assert {one for one in found(first, second) if one[0] != "VOUCHER"} == findings


async def test_a_proof_goes_on_from_what_was_written_only(shelf):
    """Not from a file that somebody changed, nor one that is gone, nor any other."""
    await open_all(shelf)
    for _ in range(3):
        await booked(shelf, posting("RECHARGED"))
    name = (await told(shelf, upto=2))[-1].continuation
    path = shelf.proofs / name
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    was = path.read_bytes()

    for is_ in (was.replace(b"replay", b"replax"), was[:-1], b""):
        path.write_bytes(is_)
        with pytest.raises(Refused, match="proof"):
            await told(shelf, name)
    path.write_bytes(was)
    assert (await told(shelf, name))[0].next_block == 4


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"proof 3\n[1]", b'proof 18\n[1, [1], [], "0"]']
)
async def test_a_file_that_is_no_proof_is_as_good_as_gone(shelf, content):
    """Its name fits what is in it; nobody wrote it here."""
    await open_all(shelf)
    name = hashlib.sha256(content).hexdigest()
    shelf.proofs.mkdir(parents=True, exist_ok=True)
    (shelf.proofs / name).write_bytes(content)
    with pytest.raises(Refused, match="proof"):
        await told(shelf, name)


async def test_what_nobody_comes_back_for_is_swept(shelf):
    """A proof keeps the last two of its files, also at its end; whoever hung up then comes back."""
    await open_all(shelf)
    for _ in range(5):
        await booked(shelf, posting("RECHARGED"))
    names = [one.continuation for one in await told(shelf)]
    assert {one.name for one in shelf.proofs.iterdir()} == set(names[-2:])
    assert await told(shelf, names[-1]) == []
    assert {one.name for one in shelf.proofs.iterdir()} == set(names[-1:])

    os.utime(shelf.proofs / names[-1], (0, 0))
    [only] = await told(shelf, parts=1)

    assert {one.name for one in shelf.proofs.iterdir()} == {only.continuation}


async def test_a_proof_that_cannot_be_kept_is_a_proof(shelf, tmp_path):
    """When the disk is full, for example."""
    (tmp_path / "proofs").write_text("in the way")
    await open_all(shelf)
    await booked(shelf, posting("RECHARGED"))

    parts = await told(shelf)

    assert found(parts) == set()
    assert {one.continuation for one in parts} == {""}


def test_numbers_of_any_size_are_kept(tmp_path):
    """Forged amounts come to sums beyond 64 bits, of accounts that there are and are not."""
    replay = _proof.Replay(book_id=7, highest_id=3)
    for _ in range(3):
        for account_id in (2, 9, -1):
            replay.moved.add(account_id, 2**63 - 1, 1)
    replay.totals["CNY"] = (2**70, 5)
    replay.reversed |= {f"t{n}": n for n in range(5_000)}

    name = proofs.keep(tmp_path / "proofs", replay.frames())
    other = _proof.Replay.of(proofs.read(tmp_path / "proofs", name))

    assert list(other.frames()) == list(replay.frames())
    assert list(other.moved.left()) == [2, -1, 9]
    assert other.moved.pop(2) == (3 * (2**63 - 1), 3)
    assert (other.book_id, other.totals, len(other.reversed)) == (7, {"CNY": (2**70, 5)}, 5_000)
