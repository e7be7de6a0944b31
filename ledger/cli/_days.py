"""What the verbs about accounting days share: asking, and writing reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from ledger.cli._ask import ask
from mesh.cli.output import table
from mesh.money import major
from tongbao.ledger.v1 import accounting_service_pb2 as pb


def ask_accounting(verb: str, request: Message, *, home: Path | None, as_name: str) -> Any:
    """Return what `AccountingService/<verb>` answers. Raises StartError."""
    return ask(f"AccountingService/{verb}", request, home=home, as_name=as_name)


def subject_names(*, home: Path | None, as_name: str) -> Mapping[str, str]:
    """Return what subjects are called, by code."""
    answer = ask_accounting("ListSubjects", pb.ListSubjectsRequest(), home=home, as_name=as_name)
    return {one.code: f"{one.name} {one.name_zh}" for one in answer.subjects}


def days_text(days: Sequence[pb.BookDay]) -> str:
    """Return days as a table."""
    rows = [["date", "state", "blocks", "cut", "closed"]]
    for day in days:
        last = day.last_block if day.state != pb.BookDay.STATE_OPEN else "…"
        is_empty = isinstance(last, int) and last < day.first_block
        rows.append(
            [
                day.acct_date,
                pb.BookDay.State.Name(day.state).removeprefix("STATE_").lower(),
                "none" if is_empty else f"{day.first_block} to {last}",
                day.cut_time.ToJsonString() if day.HasField("cut_time") else "-",
                day.close_time.ToJsonString() if day.HasField("close_time") else "-",
            ]
        )
    return table(rows)


def lines_text(lines: Sequence[pb.ReportLine], names: Mapping[str, str]) -> str:
    """Return the lines of a report as a table."""
    rows = [["subject", "name", "currency", "amount"]]
    rows += [
        [
            line.subject_code,
            names.get(line.subject_code, ""),
            line.currency_code,
            major(line.amount_minor, line.currency_code),
        ]
        for line in lines
    ]
    return table(rows)


def income_text(totals: Sequence[pb.IncomeTotal]) -> str:
    """Return income, expenses and profit by currency as a table."""
    rows = [["currency", "income", "expenses", "profit"]]
    for total in totals:
        code = total.currency_code
        found = (total.income_minor, total.expenses_minor, total.profit_minor)
        rows.append([code, *(major(minor, code) for minor in found)])
    return table(rows)
