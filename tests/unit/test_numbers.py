"""Numbers fit every channel's rule, sort by time, and are never made twice."""

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mesh.clock import Clock
from mesh.numbers import LENGTH, Kind, Numbers, derived_id, new_id


def numbers(*, node=1, lease=1, ahead=0):
    return Numbers(Clock(shift=timedelta(seconds=ahead)), node=node, lease=lease)


def test_a_number_says_when_what_and_where():
    """Date in the business time zone, kind, millisecond of the day, node, sequence."""
    clock = Clock("Asia/Shanghai")

    number = Numbers(clock, node=35, lease=0).next(Kind.PAYMENT)

    assert len(number) == LENGTH
    assert number[:8] == clock.local().strftime("%Y%m%d")
    assert number[8:10] == "PY"
    assert number[16:19] == "013"  # 35 in base 32.
    assert set(number) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZPYATRF")


def test_later_numbers_sort_behind_earlier_ones():
    """Across seconds and days; text order is time order."""
    made = [numbers(ahead=seconds).next(Kind.TRADE) for seconds in (0, 1, 3_600, 86_400, 864_000)]

    assert made == sorted(made)


def test_a_number_is_never_made_twice():
    """Not by one node, not by two nodes, not by one node before and after a restart."""
    before, after, other = numbers(lease=1), numbers(lease=2), numbers(node=2)

    made = [source.next(Kind.TRADE) for source in (before, after, other) for _ in range(20_000)]

    assert len(set(made)) == len(made)


@given(st.integers(0, 20 * 365), st.integers(0, 86_399_999), st.sampled_from(list(Kind)))
def test_a_derived_id_is_a_uuid_of_the_numbers_own_time(days, ms, kind):
    """Version 7, variant 10, and the millisecond that the number holds."""
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=days, milliseconds=ms)
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    encoded = "".join(digits[ms >> 5 * place & 31] for place in range(5, -1, -1))
    number = f"{moment:%Y%m%d}{kind}{encoded}0010000001"

    derived = derived_id(number, "COLLECTED", "1")

    assert derived.version == 7
    assert derived.variant == uuid.RFC_4122
    assert derived.int >> 80 == int(moment.timestamp() * 1000 + 0.5)


def test_derived_ids_differ_by_every_part_of_their_name():
    """Neither the number nor the template nor the leg may be mistaken for another."""
    number, other = numbers().next(Kind.REFUND), numbers(node=2).next(Kind.REFUND)
    names = [(number, "A", "1"), (number, "A", "2"), (number, "B", "1"), (other, "A", "1")]
    names += [(number, "A1", ""), (number, "", "A1")]

    assert len({derived_id(*name) for name in names}) == len(names)
    assert derived_id(number, "A", "1") == derived_id(number, "A", "1")


def test_ids_of_things_that_are_no_orders():
    """Three letters, an underscore, 26 lower-case letters and digits; all different."""
    made = {new_id("mch") for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(one.startswith("mch_") and len(one) == 30 and one == one.lower() for one in made)
