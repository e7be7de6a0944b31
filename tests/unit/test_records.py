"""Copies of frozen records with other values."""

import dataclasses
from dataclasses import FrozenInstanceError, dataclass

import pytest

from mesh.records import extend, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A record."""

    number: str
    amount: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOrder(Order):
    """A record with more fields."""

    fingerprint: bytes


ORDER = Order(number="A1", amount=5)


@pytest.mark.parametrize("changes", [{}, {"amount": 7}, {"number": "B2", "note": "why"}])
def test_a_copy_is_what_the_standard_library_makes(changes):
    """Equal, of the same class, and the first one is as it was."""
    assert replace(ORDER, **changes) == dataclasses.replace(ORDER, **changes)
    assert Order(number="A1", amount=5) == ORDER


def test_a_copy_is_frozen():
    """Like its original."""
    with pytest.raises(FrozenInstanceError):
        replace(ORDER, amount=7).amount = 8


def test_a_field_that_does_not_exist_is_refused():
    """A typing mistake is found."""
    with pytest.raises(AttributeError):
        replace(ORDER, amuont=7)


def test_a_record_becomes_one_with_more_fields():
    """All fields of the record, and those that it has not."""
    kept = extend(KeptOrder, ORDER, fingerprint=b"x")
    assert kept == KeptOrder(number="A1", amount=5, fingerprint=b"x")
    assert replace(kept, amount=6).fingerprint == b"x"
