"""One platform for all callers in other languages and over other protocols."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.mesh.platform import open_platform


@pytest.fixture(scope="package")
async def platform():
    """Everything up, with the demo's world in it."""
    home = Path(tempfile.mkdtemp(prefix="tongbao-home-"))
    home.chmod(0o711)
    async with open_platform(home) as opened:
        yield opened
    shutil.rmtree(home)
