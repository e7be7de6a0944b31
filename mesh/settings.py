"""Every setting explained: what it is, in which unit, what it may be, where it comes from."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mesh import config
from mesh.config import PREFIX, Settings, load, origins

MASK = "***"
# By the end of the name; what has no unit is a name, a path or an address.
_UNITS = {
    "_seconds": "seconds",
    "_days": "days",
    "_ppm": "parts of a million",
    "_per_second": "items a second",
    "_port": "TCP port",
    "_ports": "TCP port by name",
    "rows_max": "rows",
    "flights_max": "statements",
    "_burst": "items",
    "_in_flight": "items",
    "_streams": "streams",
    "room_least": "items",
    "room_most": "items",
    "_major": "version",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One setting. `origin` is default, file, environment or flag; `place` says which."""

    name: str
    variable: str
    value: Any
    origin: str
    place: str
    unit: str
    allowed: str
    default: Any
    help: str


def explain(home: Path | None = None) -> list[Explained]:
    """Return every setting as this command is given it, secrets masked. Raises ConfigError."""
    settings = load(home=home)
    given = origins(settings, home=home)
    told = settings.model_dump(mode="json")
    return [
        Explained(
            name=name,
            variable=f"{PREFIX}{name.upper()}",
            value=_masked(field, told[name]),
            origin=given.get(name, ("default", ""))[0],
            place=given.get(name, ("default", ""))[1],
            unit=unit_of(name),
            allowed=_allowed(field),
            default=_default(field),
            help=_helps()[name],
        )
        for name, field in Settings.model_fields.items()
    ]


def unit_of(name: str) -> str:
    """Return the unit of the setting `name`; empty if it has none."""
    ends = sorted((end for end in _UNITS if name.endswith(end)), key=len)
    return _UNITS[ends[-1]] if ends else ""


def _masked(field: FieldInfo, value: Any) -> Any:
    """Return the value, or a mask for what may hold a password."""
    return value if field.repr or value is None else MASK


def _default(field: FieldInfo) -> Any:
    """Return the default; None also for what is derived from other settings."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return None
    return str(value) if isinstance(value, Path) else value


def _allowed(field: FieldInfo) -> str:
    """Return what a value may be, as far as it can be said in a few words."""
    choices = _choices(field.annotation)
    if choices:
        return " | ".join(map(str, choices))
    least = [rule.ge for rule in _rules(field) if isinstance(rule, annotated_types.Ge)]
    most = [rule.le for rule in _rules(field) if isinstance(rule, annotated_types.Le)]
    if least or most:
        return f"{least[0] if least else ''} … {most[0] if most else ''}".strip()
    return "true | false" if field.annotation is bool else ""


def _rules(field: FieldInfo) -> list[Any]:
    """Return the rules of a field, those inside of an `Annotated` of its own too."""
    found: list[Any] = []
    for one in field.metadata:
        found += one.metadata if isinstance(one, FieldInfo) else [one]
    return found


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if str(get_origin(annotation)) == "typing.Literal" else ()


@cache
def _helps() -> dict[str, str]:
    """Return the docstring under each field, from the source: the class does not keep them."""
    [settings] = [
        node
        for node in ast.parse(inspect.getsource(config)).body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    ]
    helps = {}
    for field, text in zip(settings.body, settings.body[1:], strict=False):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(said))),
            ):
                helps[name] = " ".join(said.split())
    return helps
