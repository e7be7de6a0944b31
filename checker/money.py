"""Fees and shares, computed by the words of the contract and not by the code of a service."""

from __future__ import annotations

from checker.evidence import Terms

PPM = 1_000_000


def rate(amount_minor: int, ppm: int) -> int:
    """Return `ppm` of the amount, rounded half up."""
    whole, rest = divmod(amount_minor * ppm, PPM)
    return whole + (2 * rest >= PPM)


def fee(amount_minor: int, terms: Terms) -> int:
    """Return what the merchant pays: the rate, not below the least, not above the amount."""
    return min(max(rate(amount_minor, terms.rate_ppm), terms.least_minor), amount_minor)


def fee_returned(amount_minor: int, returned_minor: int, terms: Terms) -> int:
    """Return what of the fee goes back with `returned_minor` of the amount, in sum."""
    if terms.policy == "KEEP":
        return 0
    whole, rest = divmod(fee(amount_minor, terms) * returned_minor, amount_minor)
    return whole + (2 * rest >= amount_minor)
