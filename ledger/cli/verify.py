"""`tongbao ledger verify`: the books against their journal and their checkpoints 检查点."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.checkpoints import CHECK, compare, files_in, folder_of, read
from ledger.cli._ask import OPERATOR, As, ask
from ledger.cli._proving import UNFINISHED, WAITS, Verdict, prove
from ledger.model import Finding
from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError, load
from mesh.embedded.places import StartError
from mesh.tokens import public_key
from tongbao.ledger.v1 import ledger_ops_service_pb2 as pb

_PAGE = 500


def verify(
    *,
    checkpoints: Path | None = None,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Prove all books from their journal, and that they are those of their checkpoints.

    Whoever can write to the home can sign checkpoints too: copy them elsewhere, and name the
    copies. How far it is goes to stderr. However long it takes: one call goes on where the one
    before ended or broke off. Checkpoints come last, so a chain that was rewritten meanwhile shows.

    Exit codes: 0 proved; 1 findings, or nothing answers; 2 the options do not fit.

    Parameters
    ----------
    checkpoints
        A directory with files `checkpoints-<book>.ndjson`. Default: `ledger` in the home.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document.
    """
    if checkpoints is not None and not checkpoints.is_dir():
        raise ConfigError(f"--checkpoints: must be a directory (got {checkpoints})")
    verdict = Verdict()
    settings = load(home=home)
    folder = checkpoints or folder_of(settings.home)
    prove(verdict, home=home, as_name=as_name)
    known = _compared(verdict, folder, settings.keys_dir, home=home, as_name=as_name)
    for book_id, head in verdict.books.items():
        if head and book_id not in known:
            detail = f"none in {folder}: a cut tail or a rewritten chain would not show"
            verdict.find(Finding(check=CHECK, place=f"book {book_id}", detail=detail))
    show(_text(verdict), verdict.data(), as_json=as_json)
    return 1 if verdict.findings else 0


def _compared(
    verdict: Verdict, folder: Path, keys_dir: Path, *, home: Path | None, as_name: str
) -> set[int]:
    """Add what the checkpoints find; return of which books there are any."""
    key = public_key((keys_dir / "svc-ledger.pem").read_text())
    files = files_in(folder)
    known = set()
    for book_id, path in files.items():

        def hashes(block_nos: Sequence[int], book_id: int = book_id) -> tuple[int, dict[int, str]]:
            request = pb.ListBlockHashesRequest(book_id=book_id, block_nos=block_nos)
            answer = _asked(request, home=home, as_name=as_name)
            return answer.head_block, {one.block_no: one.hash.hex() for one in answer.hashes}

        text = path.read_text(errors="replace")
        heads, findings = read(text, book_id=book_id, key=key)
        verdict.find(*findings)
        try:
            verdict.find(*compare(book_id, heads, hashes, page=_PAGE))
        except StartError as error:  # What was proved until then is not thrown away for it.
            place = f"checkpoints of book {book_id}"
            verdict.find(Finding(check=UNFINISHED, place=place, detail=str(error)))
        verdict.checkpoints += len(heads)
        if heads:
            known.add(book_id)
    return known


def _asked(request: pb.ListBlockHashesRequest, *, home: Path | None, as_name: str) -> Any:
    """Return the hashes, asked for several times if need be. Raises StartError."""
    verb = "LedgerOpsService/ListBlockHashes"
    for wait in WAITS:
        try:
            return ask(verb, request, home=home, as_name=as_name)
        except StartError:
            time.sleep(wait)
    return ask(verb, request, home=home, as_name=as_name)


def _text(verdict: Verdict) -> str:
    heads = ", ".join(f"book {number} up to block {head}" for number, head in verdict.books.items())
    looked = (
        f"{heads}: {verdict.entries} entries, {verdict.accounts} accounts,"
        f" {verdict.checkpoints} checkpoints, {verdict.calls} calls"
    )
    if not verdict.findings:
        return f"proved\n{looked}"
    rows = [["check", "place", "detail"]]
    rows += [[one.check, one.place, one.detail] for one in verdict.findings]
    return f"{table(rows)}\n{len(verdict.findings)} findings\n{looked}"
