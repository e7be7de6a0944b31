"""`tongbao bench ledger`: transfers a second through the contract, beside what limits them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from cyclopts import Parameter

from bench.ledger import LedgerPlan, ledger_text, play_ledger
from bench.ledger_load import LedgerShape
from bench.place import free_row, place_of, say
from bench.report import folder_of
from bench.report import save as save_result
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError, load, services

Mode = Literal["uniform", "hot", "zipf", "linked", "twophase"]
Flag = Annotated[bool, Parameter(negative=())]
CALLS_EACH = 4
BATCH_MAX, BOOKS_MAX, FILL_MAX, ACCOUNTS_MIN = 8_190, 8, 100_000_000, 2


def ledger(
    *,
    mode: Mode = "uniform",
    batch: int = 1_000,
    books: int = 1,
    in_flight: int | None = None,
    seconds: float = 10.0,
    warm_up: float = 2.0,
    accounts: int = 10_000,
    fill: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (),
    no_references: Flag = False,
    save: Flag = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Transfers by number: PostTransfers, as a service calls it, with typed clients.

    After the load the books are proved: debits equal credits, the journal replayed gives the
    balances, the hashes of all blocks, and as many transfers as were answered OK. Exit codes: 0
    measured, and the books hold; 1 they do not, or something did not start.

    Parameters
    ----------
    mode
        `uniform`: any two accounts. `hot`: one account is in every transfer. `zipf`: few accounts
        are in most. `linked`: chains of four. `twophase`: holds, each captured in its call.
    batch
        Transfers of one call.
    books
        Books that are posted to at the same time, each by a business line of its own.
    in_flight
        Calls at once. Default: 4 for each book.
    seconds
        How long to measure.
    warm_up
        Seconds of load before the measured ones.
    accounts
        Accounts of each book.
    fill
        Earlier transfers to have before, made by the SQL function. With several numbers it is
        measured after each of them, in one installation: 1000000 5000000 20000000.
    no_references
        Leave the SQL function, COPY and pgbench out.
    save
        Keep the result in a folder in bench/results.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    calls = CALLS_EACH * books if in_flight is None else in_flight
    shape = LedgerShape(mode, batch, books, calls, accounts, seconds, warm_up)
    plan = LedgerPlan(fills=fill or (0,), references=not no_references)
    return _bench(shape, plan, home, keep=save, as_json=as_json)


def _check(shape: LedgerShape, plan: LedgerPlan) -> None:
    """Raise ConfigError unless the bench makes sense."""
    if not 1 <= shape.batch <= BATCH_MAX:
        raise ConfigError(f"--batch: must be 1 to {BATCH_MAX} (got {shape.batch})")
    if shape.mode == "twophase" and shape.batch == 1:
        raise ConfigError("--batch: a hold and its capture are two transfers")
    if not 1 <= shape.books <= BOOKS_MAX or shape.in_flight < shape.books:
        raise ConfigError(f"--books must be 1 to {BOOKS_MAX}, --in-flight at least as many")
    if shape.seconds <= 0 or shape.warm_up < 0 or shape.accounts < ACCOUNTS_MIN:
        raise ConfigError(
            f"--seconds must be positive, --warm-up not negative, --accounts {ACCOUNTS_MIN}"
        )
    if (
        list(plan.fills) != sorted(plan.fills)
        or not 0 <= plan.fills[0] <= plan.fills[-1] <= FILL_MAX
    ):
        raise ConfigError(f"--fill: must be 0 to {FILL_MAX}, and rise (got {plan.fills})")


def _bench(shape: LedgerShape, plan: LedgerPlan, home: Home, *, keep: bool, as_json: bool) -> int:
    """Run it in a folder of its own and show the result."""
    _check(shape, plan)
    settings = load(home=place_of(home), metrics_port=free_row(len(services())))
    result = asyncio.run(play_ledger(settings, shape, plan, say=say))
    told = ledger_text(result)
    show(told, result, as_json=as_json)
    if keep:
        what = "growth" if len(plan.fills) > 1 else shape.mode
        folder = folder_of("ledger", what, f"{shape.batch}x{shape.in_flight}x{shape.books}")
        save_result(folder, result, told)
        say(f"kept in {folder}")
    return 1 if result["problems"] else 0
