"""The house rules a machine can check, as functions from one source file to what is wrong in it.

Nothing here reads the disk, so `test_rules_bite.py` can show each rule a planted fault.
A rule yields `path:line what` and says nothing about a file that is fine.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

SERVICES = frozenset({"trade", "payment", "channel", "ledger", "settlement", "risk"})
PACKAGES = SERVICES | {"mesh", "sim", "demo", "checker", "bench", "torture", "web"}
FOLDERS = PACKAGES | {"tests", "tools"}

# What demo and bench need to bring the processes up, to sign their own calls, to tell the time.
STARTS_THE_MESH = {
    "mesh.cli",
    "mesh.clock",
    "mesh.config",
    "mesh.embedded",
    "mesh.supervisor",
    "mesh.tokens",
}

# Who may import whom. A service reaches another through its stubs; the four black boxes below
# know the contracts alone, and the simulator not even those.
MAY_IMPORT: dict[str, set[str]] = {service: {service, "mesh", "tongbao"} for service in SERVICES}
MAY_IMPORT |= {
    "mesh": {"mesh", "tongbao.common"},
    "sim": {"sim"},
    "checker": {"checker", "tongbao"},
    "demo": {"demo", "checker", "tongbao", *STARTS_THE_MESH},
    "bench": {"bench", "demo", "tongbao", *STARTS_THE_MESH},
    "torture": {"torture", "demo", "checker", "tongbao", *STARTS_THE_MESH},
    "web": {"web", "tongbao"},
    "tools": {"tools", "mesh", "tongbao"},
}
OURS = PACKAGES | {"tongbao", "tests", "tools"}

# Inside a service the arrows point down. Names that are not here have no floor.
LAYER = {
    "service": 4,
    "workers": 4,
    "flow": 3,
    "store": 2,
    "desk": 2,
    "wire": 2,
    "adapters": 2,
    "model": 1,
    "states": 0,
}


@dataclass(frozen=True)
class Source:
    """One file of ours: its path from the root, with slashes, and its text."""

    path: str
    text: str

    @property
    def top(self) -> str:
        return self.path.split("/")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


Rule = Callable[[Source], Iterator[str]]


@dataclass(frozen=True)
class Ban:
    """A spelling that has one home, or none, and what to write in its place."""

    pattern: str
    instead: str
    within: frozenset[str] = PACKAGES
    homes: tuple[str, ...] = ()


BANS = (
    Ban(
        r"\bdatetime\.(now|utcnow|today)\b|\bdate\.today\b|\btime\.time(_ns)?\("
        r"|\bfrom time import .*\btime\b",
        "the clock of mesh.clock (the simulator has its own)",
        homes=("mesh/clock.py", "sim/clock.py"),
    ),
    Ban(
        r"\bos\.(environb?|getenvb?|putenv)\b|\bfrom os import .*\b(environ|getenv)",
        "a setting in mesh.config, or an argument",
        homes=("mesh/config.py",),
    ),
    Ban(r"\bfloat\(", "integers of minor units", within=SERVICES),
    Ban(
        r"(?m)^\s*(from|import) (sqlalchemy|psycopg)",
        "mesh.db",
        homes=(
            "mesh/db.py",
            "mesh/lists.py",  # Lists are put together from what is asked for.
            "mesh/outbox.py",  # Holds a lock for as long as it leads.
            "mesh/migrate.py",
            "mesh/embedded/*",  # Makes the roles before there is a database to speak of.
            "*/migrations/*",
            "bench/*",
        ),
    ),
    Ban(r"(?i)\bSELECT\s+\*", "the columns by name"),
    Ban(r"\b(TODO|FIXME)\b|(#|--|//).*\bXXX\b", "an issue, or the fix", within=FOLDERS | {"proto"}),
    Ban(
        r"\bunittest\.mock\b|\bfrom unittest import .*mock|\bMagicMock\b", "the real thing", FOLDERS
    ),
)


def sizes(source: Source) -> Iterator[str]:
    """A file fits in the head, a function fits on a screen."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"{source.path}:1 has {lines} lines, {FILE_LINES_MAX} are allowed"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{source.path}:{node.lineno} {node.name} has {lines} lines"


def imports(source: Source) -> Iterator[str]:
    """Folders depend on each other only along the arrows, and so do a service's own modules."""
    allowed = MAY_IMPORT.get(source.top)
    if allowed is None:
        return
    layer = _layer(source.path.removesuffix(".py").split("/"))
    for name, line in _imported(source):
        parts = name.split(".")
        if parts[0] not in OURS:
            continue
        if not any(f"{name}.".startswith(f"{one}.") for one in allowed):
            yield f"{source.path}:{line} imports {name}, which {source.top} may not know"
        elif parts[0] == source.top:
            target = _layer(parts)
            if layer is not None and target is not None and target > layer:
                yield f"{source.path}:{line} imports upwards: {name}"


def bans(source: Source) -> Iterator[str]:
    """One way to tell time, read settings, reach the database and count money."""
    if source.path.startswith("tests/tidy/"):
        return  # which must spell what it forbids
    for ban in BANS:
        if source.top not in ban.within or any(fnmatch(source.path, home) for home in ban.homes):
            continue
        for found in re.finditer(ban.pattern, source.text):
            line = source.line(found.start() + len(found[0]) - len(found[0].lstrip()))
            yield f"{source.path}:{line} {found[0].strip()!r}: write {ban.instead}"


def broad_excepts(source: Source) -> Iterator[str]:
    """Only the runtime catches everything, at its edges; elsewhere name the error you expect."""
    if source.top not in PACKAGES - {"mesh"}:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = [node.type]
        elif isinstance(node, ast.Call) and _called(node) == "suppress":
            caught = list(node.args)
        else:
            continue
        if any(each is None or _names_everything(each) for each in caught):
            yield f"{source.path}:{node.lineno} catches everything: name the error you expect"


def sleeps(source: Source) -> Iterator[str]:
    """A test waits for what it is about to check, never for time to pass."""
    if source.top != "tests":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called(node) == "sleep":
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and first.value == 0):
                yield f"{source.path}:{node.lineno} sleeps: wait for the event itself"


def docstrings(source: Source) -> Iterator[str]:
    """Every module says what it is for, and so does every public name outside the tests."""
    if not source.text.strip():
        return  # an empty __init__.py has nothing to say
    if not ast.get_docstring(source.tree):
        yield f"{source.path}:1 has no docstring"
    if source.top == "tests":
        return
    for node in source.tree.body:
        named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{source.path}:{node.lineno} {node.name} has no docstring"


def one_verb_per_flow_file(source: Source) -> Iterator[str]:
    """`flow/refund_payment.py` defines `refund_payment` and no other public function."""
    match = re.fullmatch(r"(\w+)/flow/(\w+)\.py", source.path)
    if match is None or match[1] not in SERVICES or match[2].startswith("_"):
        return
    functions = [
        node.name
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
    ]
    if functions != [match[2]]:
        yield f"{source.path}:1 must have one public function, {match[2]}; it has {functions}"


PYTHON_RULES: tuple[Rule, ...] = (
    sizes,
    imports,
    broad_excepts,
    sleeps,
    docstrings,
    one_verb_per_flow_file,
)
TEXT_RULES: tuple[Rule, ...] = (bans,)


def readme_names_every_file(service: str, files: list[str], readme: str | None) -> Iterator[str]:
    """A service's README names each of its modules once, and none that is gone.

    `files` are paths inside the service. Migrations are named as a folder.
    """
    wanted = {f for f in files if f.endswith(".py") and not f.endswith("__init__.py")}
    wanted = {"migrations/" if f.startswith("migrations/") else f for f in wanted}
    if not wanted:
        return
    if readme is None:
        yield f"{service}/README.md is missing"
        return
    for name in sorted(wanted):
        count = len(re.findall(rf"(?<![\w/.]){re.escape(name)}(?![\w.])", readme))
        if count != 1:
            yield f"{service}/README.md names {name} {count} times, not once"
    for name in re.findall(r"(?<![\w/.<])[\w/]+\.py\b", readme):
        if name not in files and name.split("/")[0] not in OURS:
            yield f"{service}/README.md names {name}, which does not exist"


ADDRESS = re.compile(
    r"\w+://|\bfile:|\bgit\+|(?:^|\s)--?(i|f|index-url|extra-index-url|find-links|trusted-host)\b"
    r"|(?:^|[\s=@'\"])~?/\w",
)


def addresses(path: str, text: str) -> Iterator[str]:
    """Requirements name packages, versions and hashes: no index, no address, no local path."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := ADDRESS.search(line):
            yield f"{path}:{number} {found[0].strip()!r} is an address"


def shared_files(owned: Mapping[str, list[str]]) -> Iterator[str]:
    """No two installed distributions own one file: the later one would have overwritten it."""
    owners: dict[str, list[str]] = {}
    for distribution, files in owned.items():
        for file in files:
            owners.setdefault(file, []).append(distribution)
    for file, names in sorted(owners.items()):
        if len(names) > 1:
            yield f"{file} belongs to {' and '.join(sorted(names))}"


def _layer(parts: list[str]) -> int | None:
    """The layer of a dotted name or a path, split; None outside the services' named modules."""
    return LAYER.get(parts[1]) if parts[0] in SERVICES and len(parts) > 1 else None


def _imported(source: Source) -> Iterator[tuple[str, int]]:
    """Every imported name in full, relative ones and `import_module("...")` included."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = source.path.split("/")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def _called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _names_everything(node: ast.expr) -> bool:
    each = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(n, ast.Name) and n.id in {"Exception", "BaseException"} for n in each)
