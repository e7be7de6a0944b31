"""Integer arithmetic of money agrees with exact decimals and loses nothing."""

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from mesh import money

amounts = st.integers(0, money.AMOUNT_MAX)


@given(amounts, st.integers(0, money.PPM))
def test_a_rate_rounds_half_up(amount, ppm):
    """The same as ROUND_HALF_UP of the exact product."""
    exact = Decimal(amount) * ppm / money.PPM

    assert money.rate_of(amount, ppm) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(amounts, st.lists(st.integers(1, 10**9), min_size=1, max_size=20))
def test_shares_of_growing_parts_add_up_to_the_total(total, parts):
    """However a whole is cut, the differences of the shares are the total, exactly."""
    whole, given_so_far, part = sum(parts), 0, 0
    for one in parts:
        part += one
        share = money.share(total, part, whole) - given_so_far
        assert share >= 0
        given_so_far += share

    assert given_so_far == total


def test_what_is_a_currency():
    """Legal tender, upper case; no test codes, no metals."""
    assert money.known("CNY")
    assert not any(money.known(code) for code in ("cny", "XXX", "XTS", "XAU", ""))
