"""The house rules, held against this tree. `rules.py` says what they are."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.rules import Source

ROOT = Path(__file__).resolve().parents[2]


def sources(*suffixes: str) -> Iterator[Source]:
    for folder in sorted(rules.FOLDERS | {"proto"}):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))


def assert_none(violations: Iterator[str] | list[str]) -> None:
    found = list(violations)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", rules.PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_python_keeps(rule: rules.Rule) -> None:
    assert_none([fault for source in sources(".py") for fault in rule(source)])


@pytest.mark.parametrize("rule", rules.TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_text_keeps(rule: rules.Rule) -> None:
    assert_none([fault for source in sources(".py", ".sql", ".proto") for fault in rule(source)])


@pytest.mark.parametrize("service", sorted(rules.SERVICES))
def test_a_readme_names_every_file_of_its_service(service: str) -> None:
    folder = ROOT / service
    files = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.py"))]
    readme = folder / "README.md"
    text = readme.read_text("utf-8") if readme.exists() else None
    assert_none(rules.readme_names_every_file(service, files, text))


def test_requirements_hold_no_address() -> None:
    for path in sorted((ROOT / "requirements").iterdir()):
        assert_none(rules.addresses(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))


def test_no_two_distributions_own_one_file() -> None:
    owned: dict[str, list[str]] = {}
    for each in metadata.distributions():
        owned.setdefault(each.name, []).extend(
            str(each.locate_file(file)) for file in each.files or []
        )
    assert_none(rules.shared_files(owned))


def test_the_stubs_stay_a_namespace() -> None:
    """An `__init__.py` there would hide the stubs that another wheel puts beside ours."""
    assert_none([str(p) for p in (ROOT / "gen/python").rglob("__init__.py")])
    assert not (ROOT / "tongbao").exists()
