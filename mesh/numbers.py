"""Numbers of orders and ids of everything else.

An order number is 26 characters `[0-9A-Z]` that sort by time and fit every channel's rule:

    YYYYMMDD  TR  0A1B2C  001  3D4E5F6
    date      kind  ms of day  node  sequence

The node is leased from the database and the upper digits of the sequence count its leases,
so two processes never make the same number, whatever their clocks do.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

from mesh.clock import Clock, real_now
from mesh.db import Database

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32: no I, L, O, U.
_PAIRS = [one + other for one in _DIGITS for other in _DIGITS]
_COUNT_BITS = 20  # Lower four digits of the sequence; the upper three count leases.
_LEASE_BITS = 15
_NODES = 32**3

LENGTH = 26


class Kind(StrEnum):
    """System code of an order number."""

    TRADE = "TR"
    PAYMENT = "PY"
    ATTEMPT = "AT"
    REFUND = "RF"


# First letter of the system code under which money of a payment leaves suspense, where it stands
# because its account had refused it; the second one counts how often it was to leave.
RELEASE = "L"


def payment_of(number: str) -> str:
    """Return the payment that is booked under `number`: itself, or the one that is released."""
    is_release = number[8:9] == RELEASE
    return f"{number[:8]}{Kind.PAYMENT}{number[10:]}" if is_release else number


class Numbers:
    """Makes order numbers of one node. Never the same twice, not even after a restart."""

    def __init__(self, clock: Clock, *, node: int, lease: int) -> None:
        assert 0 <= node < _NODES, node
        assert lease >= 0, lease

        self._clock, self._node = clock, _base32(node, 3)
        self._lease = (lease % (1 << _LEASE_BITS)) << _COUNT_BITS
        self._count = 0

    def next(self, kind: Kind) -> str:
        """Return a new number, dated with the business date."""
        local = self._clock.local()
        date = (local.year * 100 + local.month) * 100 + local.day
        midnight_ms = (local.hour * 3600 + local.minute * 60 + local.second) * 1000
        ms = midnight_ms + local.microsecond // 1000
        self._count = (self._count + 1) % (1 << _COUNT_BITS)
        count = self._lease | self._count
        return f"{date}{kind}{_pairs(ms, 3)}{self._node}{_DIGITS[count >> 30]}{_pairs(count, 3)}"


def first_at(kind: Kind, local: datetime) -> str:
    """Return what no number of `kind` made at `local` or later is below.

    `local` is in the business time zone. A number is made a moment after the time that its row
    calls its creation, so whoever looks by this leaves a margin.
    """
    ms = (local.hour * 3600 + local.minute * 60 + local.second) * 1000 + local.microsecond // 1000
    return f"{local:%Y%m%d}{kind}{_base32(ms, 6)}"


# A lease is never given back: who starts takes a new one. The oldest node goes first, so
# that a node's digits return as late as possible.
_LEASE_NODE = """
UPDATE node SET lease = lease + 1, lease_time = now(), holder = %(holder)s
WHERE node = (SELECT node FROM node ORDER BY lease_time, node LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING node, lease
"""


async def lease_numbers(db: Database, clock: Clock) -> Numbers:
    """Return numbers of a node that nobody else has, for as long as this process lives."""
    [row] = await db.rows(_LEASE_NODE, holder=f"{os.uname().nodename}:{os.getpid()}")
    return Numbers(clock, node=row.node, lease=row.lease)


def new_id(kind: str) -> str:
    """Return `<kind>_` and 26 characters: 48 bits of milliseconds, 80 bits of chance."""
    assert len(kind) == 3, kind
    assert kind.isalpha(), kind
    assert kind.islower(), kind

    number = int(real_now().timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return f"{kind}_{_base32(number, 26).lower()}"


def derived_id(number: str, *names: str) -> uuid.UUID:
    """Return the UUIDv7 that always stands for `names` of the order `number`.

    Its time is the number's own (date and millisecond of day), so ids lie on disk where
    their orders' ids lie; the rest is a hash, so everybody who books the same event uses
    the same id (decisions.md 6).
    """
    assert len(number) == LENGTH, number

    ms = _days(number[:8]) * 86_400_000 + _value(number[10:16])
    chance = int.from_bytes(sha256("\0".join((number, *names)).encode()).digest()[:10])
    bits = (ms & (1 << 48) - 1) << 80 | chance
    bits = bits & ~(0xF << 76) | 7 << 76  # Version 7,
    bits = bits & ~(0x3 << 62) | 2 << 62  # variant 10.
    return uuid.UUID(int=bits)


@lru_cache(maxsize=64)
def _days(date: str) -> int:
    """Return days since 1970-01-01 of a civil date (H. Hinnant, days_from_civil)."""
    year, month, day = int(date[:4]), int(date[4:6]), int(date[6:])
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468


@lru_cache(maxsize=1024)
def _value(digits: str) -> int:
    """Return what `digits` stand for. Raises ValueError."""
    value = 0
    for digit in digits:
        value = value << 5 | _DIGITS.index(digit)
    return value


def _base32(number: int, width: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in range(width - 1, -1, -1))


def _pairs(number: int, pairs: int) -> str:
    """Return the last `pairs` times two digits: half the work of digit by digit."""
    return "".join(_PAIRS[number >> 10 * place & 1023] for place in range(pairs - 1, -1, -1))
