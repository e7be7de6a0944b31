"""`tongbao ledger verify`: the books against their journal and their checkpoints 检查点."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import grpc

from ledger.checkpoints import CHECK, compare, files_in, folder_of, read
from ledger.cli._ask import OPERATOR, As, ask
from ledger.model import Finding
from mesh.cli.call import describe, exchange, find_method
from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError, load
from mesh.embedded.places import StartError
from mesh.tokens import public_key
from tongbao.ledger.v1 import ledger_ops_service_pb2 as pb

_PAGE = 500


@dataclass(slots=True)
class _Verdict:
    """What was looked at, and what does not hold."""

    books: dict[int, int] = field(default_factory=dict)  # Their heads.
    entries: int = 0
    accounts: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify(
    *,
    checkpoints: Path | None = None,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Prove all books from their journal, and that they are those of their checkpoints.

    Whoever can write to the home can sign checkpoints too: copy them elsewhere, and name the
    copies. How far it is goes to stderr.

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
    verdict = _Verdict()
    settings = load(home=home)
    folder = checkpoints or folder_of(settings.home)
    known = _compared(verdict, folder, settings.keys_dir, home=home, as_name=as_name)
    _prove(verdict, home=home, as_name=as_name)
    for book_id, head in verdict.books.items():
        if head and book_id not in known:
            detail = f"none in {folder}: a cut tail or a rewritten chain would not show"
            verdict.findings.append(Finding(check=CHECK, place=f"book {book_id}", detail=detail))
    show(_text(verdict), asdict(verdict), as_json=as_json)
    return 1 if verdict.findings else 0


def _compared(
    verdict: _Verdict, folder: Path, keys_dir: Path, *, home: Path | None, as_name: str
) -> set[int]:
    """Add what the checkpoints find; return of which books there are any."""
    key = public_key((keys_dir / "svc-ledger.pem").read_text())
    files = files_in(folder)
    known = set()
    for book_id, path in files.items():

        def hashes(block_nos: Sequence[int], book_id: int = book_id) -> tuple[int, dict[int, str]]:
            request = pb.ListBlockHashesRequest(book_id=book_id, block_nos=block_nos)
            verb = "LedgerOpsService/ListBlockHashes"
            answer = ask(verb, request, home=home, as_name=as_name)
            return answer.head_block, {one.block_no: one.hash.hex() for one in answer.hashes}

        text = path.read_text(errors="replace")
        heads, findings = read(text, book_id=book_id, key=key)
        verdict.findings += findings
        verdict.findings += compare(book_id, heads, hashes, page=_PAGE)
        verdict.checkpoints += len(heads)
        if heads:
            known.add(book_id)
    return known


def _prove(verdict: _Verdict, *, home: Path | None, as_name: str) -> None:
    """Add what the ledger proves, and tell how far it is.

    What was found stays when the call breaks off, such as when its token is over.
    """
    settings = load(home=home)
    method = find_method("ledger.v1.LedgerOpsService/ProveBlocks")
    began = monotonic()
    done = 0
    told_last = ""
    try:
        for part in exchange(settings, method, pb.ProveBlocksRequest(), as_name):
            before = verdict.books.get(part.book_id, 0)
            done += part.next_block - 1 - before
            verdict.books[part.book_id] = part.next_block - 1
            verdict.entries += part.entries
            verdict.accounts += part.accounts
            verdict.findings += [
                Finding(check=one.check, place=one.place, detail=one.detail)
                for one in part.findings
            ]
            rate = int(done / max(monotonic() - began, 0.001))
            told_last = _tell(part, rate=rate, told_last=told_last)
    except grpc.RpcError as error:
        told = describe(error)
        why = str(told["reason"] or told["code"])
        if not verdict.books:
            raise StartError(str(told["error"]), why=why, next_step=str(told["next"])) from None
        book_id, proved = list(verdict.books.items())[-1]
        place = f"book {book_id} from block {proved + 1}"
        detail = f"{told['error']} ({why}): from there on, and what is on accounts, is not proved"
        verdict.findings.append(Finding(check="UNFINISHED", place=place, detail=detail))
    finally:
        sys.stderr.write("\n")


def _tell(part: Any, *, rate: int, told_last: str) -> str:
    """Tell how far it is, and return that without the rate. A log has each percent once."""
    percent = 100 * (part.next_block - 1) // part.head_block if part.head_block else 100
    place = f"book {part.book_id}: {percent}%"
    line = f"{place} of {part.head_block} blocks, {rate} blocks/s"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\033[K")
    elif place != told_last:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
    return place


def _text(verdict: _Verdict) -> str:
    heads = ", ".join(f"book {number} up to block {head}" for number, head in verdict.books.items())
    looked = (
        f"{heads}: {verdict.entries} entries, {verdict.accounts} accounts,"
        f" {verdict.checkpoints} checkpoints"
    )
    if not verdict.findings:
        return f"proved\n{looked}"
    rows = [["check", "place", "detail"]]
    rows += [[one.check, one.place, one.detail] for one in verdict.findings]
    return f"{table(rows)}\n{len(verdict.findings)} findings\n{looked}"
