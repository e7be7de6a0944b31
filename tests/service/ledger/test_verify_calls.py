"""`tongbao ledger verify` takes as many calls as it needs, and goes on when one breaks off."""

import asyncio
import json
import shutil

import pytest

from ledger import workers
from ledger.cli import _proving
from ledger.flow import prove_blocks as flow
from ledger.store import proof
from mesh import tokens
from mesh.batch import NotExecuted
from mesh.cli import main
from tests.service.ledger.test_account_doors import said_to_run
from tests.service.ledger.test_verify import CUT, MEND_BALANCES, MEND_CHAIN, falsify, four_blocks
from tests.service.ledger.test_verify_seams import (
    CHAIN_2,
    CHAIN_3,
    CHAIN_4,
    OTHER_TRACE,
    REPLAYED,
    changed,
    small,
)

__all__ = ["falsify", "small"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The command waits for nothing, and checkpoints are kept at once."""
    monkeypatch.setattr(_proving, "WAITS", (0.0,) * len(_proving.WAITS))
    monkeypatch.setattr(workers, "CHECKPOINT_SECONDS", 0.02)


async def verify(home, capsys):
    """Run `tongbao ledger verify --json` here; return its exit code, what it says, its stderr."""
    capsys.readouterr()
    command = ["ledger", "verify", "--json", "--home", str(home)]
    code = await asyncio.to_thread(main, command)
    said = capsys.readouterr()
    [document] = [line for line in said.out.splitlines() if line.startswith('{"books"')]
    return code, json.loads(document), said.err


def places(said):
    return {(one["check"], one["place"]) for one in said["findings"]}


@pytest.fixture
def at_block_3(monkeypatch):
    """Return a function: what it is given is awaited once, when block 3 is about to be read."""
    look, todo = proof.run_from, []

    async def look_or_do(*place, first, **asked):
        if first == 3 and todo:
            await todo.pop()()
        return await look(*place, first=first, **asked)

    monkeypatch.setattr(proof, "run_from", look_or_do)
    return todo.append


SEAMS = [
    ("SELECT 1", set()),
    (changed(3), {CHAIN_3, *REPLAYED}),
    (OTHER_TRACE + MEND_CHAIN, {CHAIN_2, ("REWRITTEN", "blocks 2 to 2 of book 1")}),
    (CUT + MEND_BALANCES, {CHAIN_2, CHAIN_3, CHAIN_4, ("CUT_TAIL", "blocks 3 to 4 of book 1")}),
]


@pytest.mark.parametrize(("sql", "findings"), SEAMS)
async def test_verify_goes_on_behind_a_call_that_broke_off(
    ground, falsify, at_block_3, capsys, sql, findings
):
    """And tells of it; what was done meanwhile is found, also what is true in itself."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)

        async def tamper():
            falsify(ledger.dsn, sql)
            raise NotExecuted("the database is away")

        at_block_3(tamper)
        with said_to_run(ledger):
            code, said, stderr = await verify(ground.home, capsys)

    assert places(said) == findings
    assert code == (1 if findings else 0)
    assert said["calls"] == 2
    assert [one.partition(": ")[0] for one in said["interruptions"]] == ["book 1 from block 3"]
    assert said["entries"] == (4 if "DELETE" not in sql else 2)
    assert "book 1: 100%" in stderr


async def test_what_was_not_kept_is_done_again(ground, monkeypatch, at_block_3, capsys):
    """When a call breaks off in its first seconds; it counts once."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    monkeypatch.setattr(flow, "_KEEP_SECONDS", 1_000.0)

    async def break_off():
        raise NotExecuted("the database is away")

    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        at_block_3(break_off)
        with said_to_run(ledger):
            code, said, _ = await verify(ground.home, capsys)

    assert (code, said["findings"], said["calls"]) == (0, [], 2)
    assert (said["entries"], said["accounts"], said["books"]) == (4, 10, {"1": 4})


async def test_verify_ends_its_calls_itself(ground, monkeypatch, capsys):
    """Here behind every part; no token comes to its end, and nothing is counted twice."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    monkeypatch.setattr(_proving, "CALL_SECONDS", -1.0)
    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        with said_to_run(ledger):
            code, said, _ = await verify(ground.home, capsys)

    assert (code, said["findings"], said["interruptions"]) == (0, [], [])
    assert (said["entries"], said["accounts"], said["books"]) == (4, 10, {"1": 4})
    assert said["calls"] > 8


async def test_verify_outlives_its_token(ground, monkeypatch, at_block_3, capsys):
    """It ends while a call stands still, and the next call brings another."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.05)
    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        monkeypatch.setattr(tokens, "_LEEWAY_SECONDS", 0)
        monkeypatch.setattr(tokens, "LIFE_SECONDS", 3)
        at_block_3(asyncio.Event().wait)
        with said_to_run(ledger):
            code, said, _ = await verify(ground.home, capsys)

    assert (code, said["findings"], said["calls"]) == (0, [], 2)
    [one] = said["interruptions"]
    assert "TOKEN_EXPIRED" in one


async def test_verify_goes_on_with_the_service_that_comes_next(
    ground, monkeypatch, at_block_3, capsys
):
    """The one that it asked is drained; another process has what it knew."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    stands = asyncio.Event()
    monkeypatch.setattr(_proving, "WAITS", (1.0,) * 20)

    async def stand():
        stands.set()
        await asyncio.Event().wait()

    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        at_block_3(stand)
        running = said_to_run(ledger)
        running.__enter__()
        proving = asyncio.create_task(verify(ground.home, capsys))
        await stands.wait()
    async with ground.run("ledger"):
        code, said, _ = await proving
    running.__exit__(None, None, None)

    assert (code, said["findings"], said["entries"]) == (0, [], 4)
    assert said["interruptions"]


async def test_a_proof_that_breaks_off_again_and_again_says_how_far_it_came(
    ground, falsify, monkeypatch, capsys
):
    """And what it found until then."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)
    look, looks = proof.run_from, []

    async def look_twice(*place, **asked):
        looks.append(place)
        if len(looks) > 2:
            raise NotExecuted("the database is away")
        return await look(*place, **asked)

    monkeypatch.setattr(proof, "run_from", look_twice)
    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        falsify(ledger.dsn, changed(2))
        with said_to_run(ledger):
            code, said, _ = await verify(ground.home, capsys)

    assert code == 1
    assert places(said) == {CHAIN_2, ("UNFINISHED", "book 1 from block 3")}
    assert said["calls"] == 1 + len(_proving.WAITS)


async def test_what_is_gone_is_not_begun_anew(ground, at_block_3, capsys):
    """A person decides about that: it may be long."""
    shutil.rmtree(ground.home / "ledger", ignore_errors=True)

    async def lose():
        shutil.rmtree(ground.home / "ledger" / "proofs")
        raise NotExecuted("the database is away")

    async with ground.run("ledger") as ledger:
        await four_blocks(ground, ledger)
        at_block_3(lose)
        with said_to_run(ledger):
            code, said, _ = await verify(ground.home, capsys)

    assert (code, places(said)) == (1, {("UNFINISHED", "book 1 from block 3")})
    assert "PROOF_GONE" in said["findings"][0]["detail"]
    assert said["calls"] == 2
