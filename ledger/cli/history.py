"""`tongbao ledger history`: closed days whose entries are in files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ledger.cli._ask import OPERATOR, As, as_data, rows_of
from ledger.history.files import TABLES, file_of, folder_of
from mesh.cli.output import AsJson, Home, show, table
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def history(
    *,
    most: int = 30,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """List the closed days that are in files 历史库, the newest first.

    The entries of these days, and of all before, may have left the database: their files, in
    `ledger/history` of the home, have to be in its backups.

    Exit codes: 0 listed; 1 or nothing answers.

    Parameters
    ----------
    most
        How many at most.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document; its digests are in hex, its files are below the home.
    """
    found = list(
        rows_of(
            "AccountingService/ListHistoryDays",
            "days",
            pb.ListHistoryDaysRequest(book_id=book),
            most=most,
            home=home,
            as_name=as_name,
        )
    )
    show(_text(found), {"days": [_data(one) for one in found]}, as_json=as_json)
    return 0


def _data(day: pb.HistoryDay) -> dict[str, Any]:
    """Return a day as JSON has it: where each file is below the home, and its digest in hex, as
    `sha256sum` says both there.
    """
    told = as_data(day)
    for name in TABLES:
        path = file_of(
            folder_of(Path()),
            book_id=day.book_id,
            acct_date=date.fromisoformat(day.acct_date),
            table=name,
        )
        told[f"{name}File"] = str(path)
        told[f"{name}Sha256"] = getattr(day, f"{name}_sha256").hex()
    return told


def _text(days: Sequence[pb.HistoryDay]) -> str:
    if not days:
        return "no days are in files yet"
    rows = [["date", "blocks", "entries", "vouchers", "bytes", "written"]]
    rows += [
        [
            day.acct_date,
            f"{day.first_block} to {day.last_block}",
            str(day.transfers),
            str(day.vouchers),
            str(day.size_bytes),
            day.write_time.ToJsonString(),
        ]
        for day in days
    ]
    return table(rows)
