"""Drive load against the contracts and say what it costs."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from bench.load import Shape
from bench.play import play
from bench.report import save, text
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError, load, services
from mesh.embedded.places import StartError, is_free
from mesh.supervisor import is_running

bench = App(name="bench", help=__doc__)

Form = Literal["unary", "batch"]
Flag = Annotated[bool, Parameter(negative=())]
PACK_MAX = 512
_PORTS, _TRIES = (20_000, 32_000), 200


@bench.command
def collect(
    *,
    seconds: float = 10.0,
    in_flight: int = 256,
    form: Form = "unary",
    pack: int = 64,
    warm_up: float = 3.0,
    no_references: Flag = False,
    save_result: Annotated[bool, Parameter(name="--save", negative=())] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Collections by QR code: created, paid at the simulator, told to the app by webhook.

    A payment is over when its webhook says PAID. Exit codes: 0 measured, and the books fit; 1
    they do not, or something did not start.

    Parameters
    ----------
    seconds
        How long to measure.
    in_flight
        Payments at once.
    form
        `unary`: PayTrade, one payment a call. `batch`: BatchPayTrades.
    pack
        Payments of one BatchPayTrades.
    warm_up
        Seconds of load before the measured ones.
    no_references
        Leave pgbench and the run with one row a statement out.
    save_result
        Keep the result in bench/results.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    shape = _shape("collect", seconds, in_flight, form, pack, warm_up)
    return _bench(shape, home, references=not no_references, keep=save_result, as_json=as_json)


@bench.command
def pay_wallet(
    *,
    seconds: float = 10.0,
    in_flight: int = 256,
    form: Form = "unary",
    pack: int = 64,
    warm_up: float = 3.0,
    no_references: Flag = False,
    save_result: Annotated[bool, Parameter(name="--save", negative=())] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Payments from wallets: created, debited and answered in one call.

    A payment is over when the answer says PAID. Exit codes: 0 measured, and the books fit; 1
    they do not, or something did not start.

    Parameters
    ----------
    seconds
        How long to measure.
    in_flight
        Payments at once.
    form
        `unary`: PayTrade, one payment a call. `batch`: BatchPayTrades.
    pack
        Payments of one BatchPayTrades.
    warm_up
        Seconds of load before the measured ones.
    no_references
        Leave pgbench and the run with one row a statement out.
    save_result
        Keep the result in bench/results.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    shape = _shape("pay-wallet", seconds, in_flight, form, pack, warm_up)
    return _bench(shape, home, references=not no_references, keep=save_result, as_json=as_json)


def _shape(
    what: str, seconds: float, in_flight: int, form: str, pack: int, warm_up: float
) -> Shape:
    if seconds <= 0 or warm_up < 0 or in_flight < 1:
        raise ConfigError("--seconds and --in-flight must be positive, --warm-up not negative")
    if not 1 <= pack <= PACK_MAX:
        raise ConfigError(f"--pack: must be 1 to {PACK_MAX} (got {pack})")
    return Shape(
        what=what, form=form, in_flight=in_flight, pack=pack, seconds=seconds, warm_up=warm_up
    )


def _bench(shape: Shape, home: Home, *, references: bool, keep: bool, as_json: bool) -> int:
    """Run it in a folder of its own and show the result."""
    place = load(home=home).home / "bench"
    if is_running(place):
        raise StartError(
            "a bench is running already",
            why=f"its installation is in {place}",
            next_step="Wait for it, or name another home by --home",
        )
    settings = load(home=place, metrics_port=_free_row(len(services())))
    result = asyncio.run(play(settings, shape, references=references, say=_say))
    show(text(result), result, as_json=as_json)
    if keep:
        _say(f"kept in {save(result)}")
    return 1 if result["problems"] else 0


def _free_row(count: int) -> int:
    """Return the first of `count` ports in a row that nobody listens on: one a service."""
    draw = random.SystemRandom()
    for _ in range(_TRIES):
        first = draw.randrange(*_PORTS)
        if all(is_free(first + place) for place in range(count)):
            return first
    raise StartError(
        f"there are no {count} free ports in a row",
        why=f"{_TRIES} places between {_PORTS[0]} and {_PORTS[1]} were tried",
        next_step="Stop what listens there",
    )


def _say(what: str) -> None:
    sys.stderr.write(what + "\n")
