"""Secrets at rest open only with their key and in their place."""

import pytest

from mesh.seal import Seal


def test_a_sealed_secret_opens_where_it_belongs(tmp_path):
    """Sealed twice it looks different; the key file is private and stays the same."""
    path = tmp_path / "keys" / "trade.seal"
    seal = Seal.from_file(path)

    first, second = seal.close("geheim", place="app|a"), seal.close("geheim", place="app|a")

    assert first != second
    assert b"geheim" not in first
    assert path.stat().st_mode & 0o777 == 0o600
    assert Seal.from_file(path).open(first, place="app|a") == "geheim"


def test_nothing_else_opens(tmp_path):
    """Another key, another row, a changed byte, bytes that were never sealed."""
    seal, other = Seal.from_file(tmp_path / "a"), Seal.from_file(tmp_path / "b")
    sealed = seal.close("geheim", place="app|a")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])

    for bad in (
        lambda: other.open(sealed, place="app|a"),
        lambda: seal.open(sealed, place="app|b"),
        lambda: seal.open(changed, place="app|a"),
        lambda: seal.open(b"geheim", place="app|a"),
    ):
        with pytest.raises(ValueError, match=r"seal"):
            bad()
