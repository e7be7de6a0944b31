"""Show every setting with its value and where it comes from, or explain one."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, Parameter

from mesh.cli.output import AsJson, Home, show, table
from mesh.config import ConfigError
from mesh.settings import Explained, explain

config = App(name="config", help=__doc__)


@config.command(name="show")
def show_config(
    *,
    origin: Annotated[bool, Parameter(negative=())] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> int:
    """Show every setting; secrets are masked.

    The strongest source wins: a flag, a variable TONGBAO_<NAME>, tongbao.toml in the home
    directory, the default. Examples: `tongbao config show --origin`, `TONGBAO_ROWS_MAX=1
    tongbao config show --origin --json`. Exit codes: 0 shown; 2 a variable or a key of the file is
    unknown, or a value breaks its rule: stderr says which.

    Parameters
    ----------
    origin
        Also where each value comes from, its unit, and what it is.
    home
        Whose settings. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON, always with everything.
    """
    settings = explain(home)
    if origin:
        heads = ["setting", "value", "unit", "origin", "help"]
        rows = [[one.name, _text(one.value), one.unit, _origin(one), one.help] for one in settings]
    else:
        heads = ["setting", "value", "unit"]
        rows = [[one.name, _text(one.value), one.unit] for one in settings]
    show(table([heads, *rows]), [asdict(one) for one in settings], as_json=as_json)
    return 0


@config.command(name="explain")
def explain_config(name: str, *, home: Home = None, as_json: AsJson = False) -> int:
    """Explain one setting: what it is, what it may be, what it is now and why.

    Example: `tongbao config explain connection_seconds`. Exit codes: 0 explained; 2 there is
    no such setting.

    Parameters
    ----------
    name
        The setting, also spelled as its variable.
    home
        Whose settings. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    settings = {one.name: one for one in explain(home)}
    wanted = name.lower().removeprefix("tongbao_").replace("-", "_")
    if wanted not in settings:
        near = difflib.get_close_matches(wanted, settings, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"name: there is no setting {name}{hint}")
    one = settings[wanted]
    lines = [
        f"{one.name} = {_text(one.value)}{f' ({one.unit})' if one.unit else ''}",
        f"  {one.help}",
        f"  set by     {one.variable}, or {one.name} in tongbao.toml",
        f"  default    {_text(one.default)}",
        f"  allowed    {one.allowed or 'see above'}",
        f"  comes from {_origin(one)}",
    ]
    show("\n".join(lines), asdict(one), as_json=as_json)
    return 0


def _origin(one: Explained) -> str:
    return f"{one.origin} {one.place}".rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ",".join(f"{key}={inner}" for key, inner in value.items()) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
