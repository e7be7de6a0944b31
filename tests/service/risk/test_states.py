"""The table of moves, and who reads it."""

from pathlib import Path

from risk.states import DECISION

README = Path(__file__).parents[3] / "risk" / "README.md"


def test_the_readme_shows_the_table():
    """The diagram is printed from the rows."""
    assert f"```mermaid\n{DECISION.mermaid()}\n```" in README.read_text()
