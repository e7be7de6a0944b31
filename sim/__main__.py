"""`python -m sim`: runs the simulator until SIGTERM or SIGINT. README.md has the options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from sim.app import Acquirer
from sim.bills import Bills
from sim.book import Book
from sim.clock import Clock
from sim.control import Control
from sim.desk import Desk
from sim.journal import Journal, JournalError
from sim.messenger import Messenger
from sim.payer import Payers
from sim.rules import Rules

CONTROL = "control"
FEE_PPM = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How payers and messenger behave, and what each acquirer takes of a charge.

    None: the callback of a hung request never comes.
    """

    pay_delay_ms: int
    hang_callback_after_ms: int | None
    fees_ppm: Mapping[str, int]
    seed: int


class SetupError(Exception):
    """What we were told to do cannot be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Company:
    """Everything that lives in this process. It is not there for anybody before it is started."""

    book: Book
    payers: Payers
    messenger: Messenger
    doors: Sequence[Acquirer | Control]


async def serve(
    journal: Journal,
    *,
    ports: Mapping[str, int],
    control_port: int,
    keys: Mapping[str, bytes],
    habits: Habits,
) -> None:
    """Serve until SIGTERM or SIGINT; print one JSON line once everything listens.

    Raises JournalError; OSError when a port is taken or the disk refuses, in an ExceptionGroup.
    """
    company = _company(journal, ports=ports, control_port=control_port, keys=keys, habits=habits)
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(journal.run())
        living = group.create_task(company.messenger.run())
        for order in company.book.orders():  # Take up what was left open.
            company.payers.expect(order)
            company.messenger.announce(order)
        for door in company.doors:
            await door.start()
        ready = {"ready": True, "acquirers": ports, "control_port": control_port}
        print(orjson.dumps(ready | {"pid": os.getpid()}).decode(), flush=True)
        await leave.wait()
        for door in company.doors:
            await door.stop()
        living.cancel()
        await journal.settled()
        writing.cancel()


def _company(
    journal: Journal,
    *,
    ports: Mapping[str, int],
    control_port: int,
    keys: Mapping[str, bytes],
    habits: Habits,
) -> _Company:
    """Return the company as its journal left it. Raises JournalError."""
    clock, rules = Clock(), Rules(seed=habits.seed)
    book = Book(journal, clock=clock, fees_ppm=habits.fees_ppm)
    bills = {
        name: Bills(name, key=keys[name], book=book, journal=journal, clock=clock) for name in ports
    }
    _remember(journal, clock=clock, book=book, bills=bills)
    messenger = Messenger(
        book,
        journal=journal,
        clock=clock,
        keys=keys,
        hang_callback_after_ms=habits.hang_callback_after_ms,
    )
    payers = Payers(book, clock=clock, delay_ms=habits.pay_delay_ms, tell=messenger.announce)
    acquirers = {
        name: Acquirer(
            name,
            port=port,
            key=keys[name],
            desk=Desk(name, book=book, rules=rules, payers=payers, clock=clock),
            bills=bills[name],
            payers=payers,
            messenger=messenger,
            journal=journal,
            clock=clock,
        )
        for name, port in ports.items()
    }
    control = Control(
        port=control_port,
        key=keys[CONTROL],
        acquirers=acquirers,
        bills=bills,
        rules=rules,
        book=book,
        messenger=messenger,
        journal=journal,
        clock=clock,
    )
    doors: list[Acquirer | Control] = [*acquirers.values(), control]
    return _Company(book=book, payers=payers, messenger=messenger, doors=doors)


def _remember(journal: Journal, *, clock: Clock, book: Book, bills: Mapping[str, Bills]) -> None:
    """Be where the journal says that we were. Raises JournalError."""
    for record in journal.replay():
        if "shift_ms" in record:
            clock.shift(record["shift_ms"])
        elif not book.replay(record) and not any(one.replay(record) for one in bills.values()):
            raise JournalError(f"the journal has a record of another kind: {sorted(record)}")


def read_keys(path: Path, *, acquirers: Mapping[str, int]) -> dict[str, bytes]:
    """Return the secret of each acquirer and of the control port.

    Raises SetupError when others may read the file or a secret is missing or too short.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"{path} must be readable by its owner only (chmod 600)")
        secrets = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SetupError(f"{path}: {error}") from error
    names = [*acquirers, CONTROL]
    for name in names:
        secret = secrets.get(name) if isinstance(secrets, dict) else None
        if not isinstance(secret, str) or len(secret) < 16:
            raise SetupError(f"{path} must hold a secret of 16 characters for {name}")
    return {name: secrets[name].encode() for name in names}


def _acquirer(text: str) -> tuple[str, int]:
    name, _, port = text.partition("=")
    if not name or name == CONTROL or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PORT")
    return name, int(port)


def _fee(text: str) -> tuple[str, int]:
    name, _, ppm = text.partition("=")
    if not name or not ppm.isdecimal() or int(ppm) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PPM")
    return name, int(ppm)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("--journal", type=Path, required=True, help="made when missing")
    parser.add_argument(
        "--acquirer", type=_acquirer, action="append", required=True, metavar="NAME=PORT"
    )
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--secrets", type=Path, required=True, help="JSON, mode 0600")
    parser.add_argument("--pay-delay-ms", type=int, default=20)
    parser.add_argument(
        "--hang-callback-after-ms", type=int, help="default: such a callback never comes"
    )
    parser.add_argument(
        "--fee-ppm",
        type=_fee,
        action="append",
        default=[],
        metavar="NAME=PPM",
        help=f"what an acquirer takes of a charge, default {FEE_PPM}",
    )
    parser.add_argument("--seed", type=int, default=0, help="of shares and latencies")
    return parser.parse_args()


def main() -> int:
    """Run the simulator and return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    ports = dict(options.acquirer)
    habits = Habits(
        pay_delay_ms=options.pay_delay_ms,
        hang_callback_after_ms=options.hang_callback_after_ms,
        fees_ppm=dict.fromkeys(ports, FEE_PPM) | dict(options.fee_ppm),
        seed=options.seed,
    )
    exit_code = 0
    try:
        keys = read_keys(options.secrets, acquirers=ports)
        journal = Journal(options.journal)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                serve(
                    journal,
                    ports=ports,
                    control_port=options.control_port,
                    keys=keys,
                    habits=habits,
                )
            )
    except* (SetupError, JournalError, OSError) as group:
        print(f"sim: {group.exceptions[0]}", file=sys.stderr)
        exit_code = 1
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
