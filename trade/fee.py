"""What a merchant pays us for a collection: known before the payer is charged."""

from __future__ import annotations

from mesh.money import rate_of


def fee_of(amount_minor: int, *, rate_ppm: int, least_minor: int) -> int:
    """Return the fee in minor units of the amount.

    The rate rounded half up to one minor unit, then not less than the least fee, then not
    more than the amount.
    """
    assert amount_minor > 0, amount_minor
    assert least_minor >= 0, least_minor

    return min(amount_minor, max(rate_of(amount_minor, rate_ppm), least_minor))
