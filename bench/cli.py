"""Drive load against the contracts and say what it costs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from bench.fill import FILL_MAX
from bench.ledger_cli import ledger
from bench.load import Shape
from bench.overload import WARM_UP_S, Push
from bench.overload import overload as play_overload
from bench.overload import text as overload_text
from bench.place import free_row, place_of, say
from bench.play import Plan, play, play_levels, remove
from bench.report import folder_of, levels_text, save, text
from bench.roll import play_roll, roll_world
from mesh.cli.output import AsJson, Home, show
from mesh.config import ConfigError, Settings, load, services

bench = App(name="bench", help=__doc__)
bench.command(ledger)

Form = Literal["unary", "batch"]
What = Literal["pay-wallet", "collect"]
SWEEP = [1, 16, 64, 256, 1024, 2048]
Flag = Annotated[bool, Parameter(negative=())]
PACK_MAX = 512


@bench.command
def collect(
    *,
    seconds: float = 10.0,
    in_flight: int = 256,
    form: Form = "unary",
    pack: int = 64,
    warm_up: float = 3.0,
    runs: int = 1,
    fill: int = 0,
    no_references: Flag = False,
    flames: Flag = False,
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
    runs
        How often to measure; the run with the median of payments a second counts.
    fill
        Earlier orders to make before, in the database.
    no_references
        Leave pgbench and the run with one row a statement out.
    flames
        Make flame graphs of the first run with py-spy, and keep the result.
    save_result
        Keep the result in a folder in bench/results.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    shape = _shape("collect", seconds, in_flight, form, pack, warm_up)
    plan = _plan(shape, runs=runs, fill=fill, references=not no_references, flames=flames)
    return _bench(shape, plan, home, keep=save_result or flames, as_json=as_json)


@bench.command
def pay_wallet(
    *,
    seconds: float = 10.0,
    in_flight: int = 256,
    form: Form = "unary",
    pack: int = 64,
    warm_up: float = 3.0,
    runs: int = 1,
    fill: int = 0,
    no_references: Flag = False,
    flames: Flag = False,
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
    runs
        How often to measure; the run with the median of payments a second counts.
    fill
        Earlier orders to make before, in the database.
    no_references
        Leave pgbench and the run with one row a statement out.
    flames
        Make flame graphs of the first run with py-spy, and keep the result.
    save_result
        Keep the result in a folder in bench/results.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    shape = _shape("pay-wallet", seconds, in_flight, form, pack, warm_up)
    plan = _plan(shape, runs=runs, fill=fill, references=not no_references, flames=flames)
    return _bench(shape, plan, home, keep=save_result or flames, as_json=as_json)


@bench.command
def sweep(
    what: What = "pay-wallet",
    *,
    in_flight: Annotated[list[int], Parameter(negative=())] = SWEEP,
    seconds: float = 20.0,
    form: Form = "batch",
    pack: int = 64,
    warm_up: float = 3.0,
    runs: int = 1,
    fill: int = 0,
    flames: Flag = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """One kind of payment at several numbers in flight, in one installation; with a picture.

    The result is kept in a folder in bench/results: numbers, table, `levels.svg` with payments a
    second and waiting times over payments in flight. Exit codes as of the others.

    Parameters
    ----------
    what
        `pay-wallet` or `collect`.
    in_flight
        Payments at once; repeat it for each level.
    seconds
        How long to measure each level.
    form
        `unary`: PayTrade, one payment a call. `batch`: BatchPayTrades.
    pack
        Payments of one BatchPayTrades, fewer where fewer are in flight.
    warm_up
        Seconds of load before the measured ones.
    runs
        How often to measure each level; the median counts.
    fill
        Earlier orders to make before, in the database.
    flames
        Make flame graphs of each level with py-spy.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    shapes = [_shape(what, seconds, level, form, min(pack, level), warm_up) for level in in_flight]
    plan = _plan(shapes[0], runs=runs, fill=fill, references=False, flames=flames, name="sweep")
    settings = _settings(home, in_flight=max(in_flight))
    result = asyncio.run(play_levels(settings, shapes, plan, say=say))
    told = levels_text(result)
    show(told, result, as_json=as_json)
    folder = folder_of(what, form, "sweep")
    save(folder, result, told)
    say(f"kept in {folder}")
    return 1 if result["problems"] else 0


@bench.command
def roll(
    *, calls: int = 10_000, in_flight: int = 4, home: Home = None, as_json: AsJson = False
) -> int:
    """Replace every service under load and count the calls that fail.

    Wallet and QR payments, batches of eight, streams, reads, and callbacks over HTTP, from
    callers in their default configuration who repeat nothing. Goes round the services until
    there were so many calls; a service takes TONGBAO_CONNECTION_SECONDS (30) and a little.
    Exit codes: 0 no call failed and the books fit; 1 otherwise, or something did not start.

    Parameters
    ----------
    calls
        How many calls at least.
    in_flight
        Callers of each of the six kinds.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    if calls < 1 or in_flight < 1:
        raise ConfigError("--calls and --in-flight must be positive")
    settings = load(home=place_of(home), metrics_port=free_row(len(services())))
    result = asyncio.run(_roll(settings, calls, in_flight))
    lines = [f"{key}: {value}" for key, value in result.items()]
    show("\n".join(lines), result, as_json=as_json)
    return 1 if result["failed"] or result["problems"] else 0


@bench.command
def overload(
    *,
    peak_seconds: float = 10.0,
    seconds: float = 20.0,
    in_flight: int = 256,
    times: float = 3.0,
    form: Form = "unary",
    pack: int = 64,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Three times what it can do: how much is still paid, how fast the others are told no.

    Payments from wallets. The peak is what so many callers in flight bring; then so many times
    the peak is begun, whatever becomes of it. Exit codes: 0 nothing that was taken is lost; 1
    otherwise, or something did not start.

    Parameters
    ----------
    peak_seconds
        How long to look for the peak.
    seconds
        How long to push.
    in_flight
        Payments at once at the peak.
    times
        How many times the peak is begun a second.
    form
        unary: PayTrade, one payment a call. batch: BatchPayTrades.
    pack
        Payments of one BatchPayTrades.
    home
        The bench makes a new installation in the folder `bench` of this home and removes it.
    as_json
        Write one JSON document; progress goes to stderr.
    """
    if peak_seconds <= 0 or seconds <= 0 or times <= 0:
        raise ConfigError("--peak-seconds, --seconds, --times must be positive")
    shape = _shape("pay-wallet", peak_seconds, in_flight, form, pack, WARM_UP_S)
    settings = load(home=place_of(home), metrics_port=free_row(len(services())))
    push = Push(shape=shape, seconds=seconds, times=times)
    result = asyncio.run(play_overload(settings, push, say=say))
    show(overload_text(result), result, as_json=as_json)
    return 1 if result["problems"] else 0


async def _roll(settings: Settings, calls: int, in_flight: int) -> dict[str, Any]:
    try:
        async with roll_world(settings, say) as (stage, world, inbox):
            return await play_roll(stage, world, inbox, calls=calls, in_flight=in_flight, say=say)
    finally:
        remove(settings)


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


def _plan(
    shape: Shape, *, runs: int, fill: int, references: bool, flames: bool, name: str = ""
) -> Plan:
    if runs < 1 or not 0 <= fill <= FILL_MAX:
        raise ConfigError(f"--runs must be positive, --fill 0 to {FILL_MAX}")
    folder = folder_of(shape.what, shape.form, name or str(shape.in_flight)) / "flames"
    return Plan(runs=runs, fill=fill, references=references, flames=folder if flames else None)


def _bench(shape: Shape, plan: Plan, home: Home, *, keep: bool, as_json: bool) -> int:
    """Run it in a folder of its own and show the result."""
    settings = _settings(home, in_flight=shape.in_flight)
    result = asyncio.run(play(settings, shape, plan, say=say))
    told = text(result)
    show(told, result, as_json=as_json)
    if keep:
        folder = folder_of(shape.what, shape.form, str(shape.in_flight))
        save(folder, result, told)
        say(f"kept in {folder}")
    return 1 if result["problems"] else 0


def _settings(home: Home, *, in_flight: int) -> Settings:
    """Return settings under which `in_flight` payments are never too many: they are the load."""
    place = place_of(home)
    ports = free_row(len(services()))
    least = max(in_flight, load(home=place).room_least)
    return load(home=place, metrics_port=ports, room_least=least)
