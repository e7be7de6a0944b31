"""What the papers point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ["README.md", "docs/requirements.md"]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_PATH = re.compile(r"`([a-z_]+(?:/[\w.*<>-]+)+/?)`")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_path_in_a_paper_exists(paper):
    """Also patterns; `<service>` stands for any."""
    found = _PATH.findall((ROOT / paper).read_text())

    assert found
    for path in found:
        pattern = path.replace("<service>", "*").rstrip("/")
        assert any(ROOT.glob(pattern)), f"{paper}: {path}"


def test_every_link_in_a_paper_leads_somewhere():
    """Relative ones; what others publish is not asked for."""
    papers = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    broken = [
        f"{paper.relative_to(ROOT)}: {target}"
        for paper in papers
        for target in _LINK.findall(paper.read_text())
        if not (paper.parent / target).exists()
    ]

    assert papers
    assert broken == []
