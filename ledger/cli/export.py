"""`tongbao ledger export`: the vouchers of a closed day as a file for the general ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ledger.cli._ask import OPERATOR, As, ask
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError
from mesh.embedded.places import StartError
from tongbao.ledger.v1 import general_ledger_service_pb2 as pb

Format = Literal["kingdee-cloud", "kingdee-kis", "yonyou-u8", "csv", "beancount"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the general ledger calls things.

    Parameters
    ----------
    base_currency
        What it counts in. Default: CNY.
    word
        Type of voucher 凭证字. Default: 记.
    word_no
        Its number at Kingdee. Default: PRE001.
    account_book
        Number of the account book 账簿 at Kingdee. Default: 001.
    organisation
        Number of the organisation 核算组织 at Kingdee. Default: 100.
    prepared_by
        Who prepared the vouchers 制单人. Default: tongbao.
    """

    base_currency: str = ""
    word: str = ""
    word_no: str = ""
    account_book: str = ""
    organisation: str = ""
    prepared_by: str = ""


def export(
    date: str,
    *,
    format_name: Annotated[Format, Parameter(name="--format")] = "csv",
    into: Path | None = None,
    rate: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    names: Names | None = None,
    all_vouchers: Annotated[bool, Parameter(name="--all", negative=())] = False,
    book: int = 0,
    as_name: As = OPERATOR,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Write the vouchers 记账凭证 of a closed day as a file that a general ledger imports.

    What is pushed or accepted is left out: say by `tongbao ledger pushed` what was imported.

    Exit codes: 0 written; 1 refused, nothing answers, no file; 2 the options do not fit.

    Parameters
    ----------
    date
        The accounting date, such as 2026-11-22; `tongbao ledger days` lists them.
    format_name
        How it is written.
    into
        The file, which must not be there yet. Default: a name made of book and date, here.
    rate
        A rate to the base currency, such as USD=7.1025; repeat it for each currency.
    all_vouchers
        Also those that are pushed or accepted.
    book
        The book. Default: the first one.
    as_name
        Who asks: `operator`, or the private key file `op-<name>.key` of another one.
    home
        The home it runs in. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write one JSON document, without the file's content.
    """
    request = pb.ExportVouchersRequest(
        book_id=book,
        acct_date=date,
        format=pb.VoucherFormat.Value(f"VOUCHER_FORMAT_{format_name.upper().replace('-', '_')}"),
        include_pushed=all_vouchers,
        general_ledger=pb.GeneralLedger(
            rates=dict(_rate(one) for one in rate), **asdict(names or Names())
        ),
    )
    answer = ask("GeneralLedgerService/ExportVouchers", request, home=home, as_name=as_name)
    file = into or Path(answer.file_name)
    _write(file, answer.content)
    keys = list(answer.external_keys)
    left = f", {answer.left_out} left out as pushed" if answer.left_out else ""
    show(
        "\n".join([f"{file}: {len(keys)} vouchers{left}", *keys]),
        {"file": str(file), "external_keys": keys, "left_out": answer.left_out},
        as_json=as_json,
    )
    return 0


def _rate(text: str) -> tuple[str, str]:
    code, equals, rate = text.partition("=")
    if not equals:
        raise ConfigError(f"--rate: must be such as USD=7.1025 (got {text!r})")
    return code, rate


def _write(file: Path, content: bytes) -> None:
    """Write a new file. Raises StartError, also when there is one already."""
    try:
        with file.open("xb") as out:
            out.write(content)
    except OSError as error:
        raise StartError(
            f"cannot write {file}",
            why=str(error.strerror),
            next_step="Name another file by --into, or move that one away",
        ) from None
