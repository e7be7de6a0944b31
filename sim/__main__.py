"""`python -m sim`: runs the simulator until SIGTERM or SIGINT. README.md has the options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import uvloop

from sim.app import Acquirer
from sim.book import Book
from sim.control import Control
from sim.desk import Desk
from sim.faults import Rules
from sim.journal import Journal, JournalError
from sim.robot import Habits, Robot

CONTROL = "control"


class SetupError(Exception):
    """What we were told to do cannot be done."""


async def serve(
    journal: Journal,
    *,
    ports: Mapping[str, int],
    control_port: int,
    keys: Mapping[str, bytes],
    habits: Habits,
) -> None:
    """Serve until SIGTERM or SIGINT; print one JSON line once everything listens.

    Raises OSError when a port is taken or the disk refuses, in an ExceptionGroup.
    """
    rules, book = Rules(), Book(journal)
    robot = Robot(book, journal=journal, keys=keys, habits=habits)
    acquirers = {
        name: Acquirer(
            name,
            port=port,
            key=keys[name],
            desk=Desk(name, book=book, rules=rules, robot=robot),
            journal=journal,
        )
        for name, port in ports.items()
    }
    control = Control(
        port=control_port,
        key=keys[CONTROL],
        acquirers=acquirers,
        rules=rules,
        book=book,
        journal=journal,
    )
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(journal.run())
        doors: list[Acquirer | Control] = [*acquirers.values(), control]
        for door in doors:
            await door.start()
        living = group.create_task(robot.run())
        ready = {"ready": True, "acquirers": ports, "control_port": control_port}
        print(orjson.dumps(ready | {"pid": os.getpid()}).decode(), flush=True)
        await leave.wait()
        for door in doors:
            await door.stop()
        living.cancel()
        await journal.settled()
        writing.cancel()


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
    return parser.parse_args()


def main() -> int:
    """Run the simulator and return the exit code."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    ports = dict(options.acquirer)
    habits = Habits(
        pay_delay_ms=options.pay_delay_ms,
        hang_callback_after_ms=options.hang_callback_after_ms,
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
