"""The command `tongbao`. A verb is a function or an App of several.

Ours are in this folder, `up` in `up.py` and so on; others' come by entry point.

Exit codes of every verb: 0 done; 1 it failed, and stderr says what, why and what to do next;
2 the command or a setting is wrong; 130 interrupted. With `--json` stdout is one JSON
document (or one a line, where a verb goes on), and errors are JSON on stderr.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclopts import App

from mesh.cli.output import fail

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
GROUP = "tongbao.verbs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, ours by default, and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    app = _app(given)
    try:
        code = app(given, result_action="return_value")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # Whoever read it, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # For the flush at the end.
        return INTERRUPTED
    except Exception as error:
        # Here, so that `tongbao --help` does not load what these errors come from.
        from mesh.config import ConfigError
        from mesh.embedded.places import StartError

        if not isinstance(error, (ConfigError, StartError)):
            raise
        fail(error, as_json="--json" in given)
        return MISUSED if isinstance(error, ConfigError) else FAILED
    return code if isinstance(code, int) else 0


def _app(given: Sequence[str]) -> App:
    """Return the command with all verbs; none of their modules is loaded yet."""
    app = App(
        name="tongbao",
        help="A payment platform on this machine: six services, PostgreSQL and NATS.",
        version=lambda: importlib.metadata.version("tongbao"),
    )
    for name, target in _verbs():
        summary = _summary(target)
        if summary is not None:
            # The verb that is called explains itself in full.
            app.command(target, name=name, help=None if name in given else summary)
    return app


def _verbs() -> Iterator[tuple[str, str]]:
    """Yield name and `module:attribute` of every verb there may be."""
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        yield file.stem, f"{__name__}.{file.stem}:{file.stem}"
    points = importlib.metadata.entry_points(group=GROUP)
    yield from sorted((point.name, point.value) for point in points)


def _summary(target: str) -> str | None:
    """Return the first line of a verb's docstring from its source; None if it is not there.

    Reading a file costs a millisecond; importing the verbs costs a second.
    """
    module, _, name = target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text())
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) if found == name:
                return (ast.get_docstring(node) or "").partition("\n")[0]
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return (ast.get_docstring(tree) or "").partition("\n")[0]  # An App: the module's.
    return None
