"""What the papers point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ["README.md", "docs/requirements.md"]
_PATH = re.compile(r"`([a-z_]+(?:/[\w.*<>-]+)+/?)`")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_path_in_a_paper_exists(paper):
    """Also patterns; `<service>` stands for any."""
    found = _PATH.findall((ROOT / paper).read_text())

    assert found
    for path in found:
        pattern = path.replace("<service>", "*").rstrip("/")
        assert any(ROOT.glob(pattern)), f"{paper}: {path}"
