"""The choice of an account, and its reasons."""

from dataclasses import replace

from channel.accounts import BUILT_IN
from channel.model import ChannelAccount
from channel.routing import Against, choose, cost_of

FIRST = ChannelAccount(
    channel_code="b",
    adapter="sim",
    base_url="",
    provider_account="",
    secret="",
    tools=("QR_PAYER",),
    currency_codes=("CNY",),
    cost_ppm=6000,
    priority=1,
    version=1,
)
SECOND = replace(FIRST, channel_code="a", priority=2)
TWIN = replace(FIRST, channel_code="c")
YEN = replace(FIRST, channel_code="y", currency_codes=("JPY",), priority=0)
ALL = [SECOND, TWIN, YEN, BUILT_IN, FIRST]


def test_the_lowest_priority_goes_first_and_the_code_decides_between_equals() -> None:
    """Whatever order they come in; every other has a reason."""
    for accounts in (ALL, ALL[::-1]):
        choice = choose(accounts, tool="QR_PAYER", currency_code="CNY")
        assert choice.account == FIRST
        assert choice.against == {
            "a": Against.LOWER_PRIORITY,
            "c": Against.LOWER_PRIORITY,
            "y": Against.CURRENCY,
            "balance": Against.TOOL,
        }


def test_what_was_tried_is_passed_over() -> None:
    """Until nothing is left."""
    tried: set[str] = set()
    order = []
    while (choice := choose(ALL, tool="QR_PAYER", currency_code="CNY", tried=tried)).account:
        order.append(choice.account.channel_code)
        tried.add(choice.account.channel_code)

    assert order == ["b", "c", "a"]
    assert [choice.against[code] for code in order] == [Against.ALREADY_TRIED] * 3


def test_a_wallet_pays_in_every_currency_and_costs_nothing() -> None:
    """It is built in."""
    for currency_code in ("CNY", "JPY", "KWD"):
        assert choose([BUILT_IN], tool="BALANCE", currency_code=currency_code).account == BUILT_IN

    assert cost_of(BUILT_IN, amount_minor=10**15) == 0


def test_the_cost_is_rounded_half_up() -> None:
    """0.6 % of 0.83 is 0.00498, of 0.84 it is 0.00504."""
    assert [cost_of(FIRST, amount_minor=minor) for minor in (83, 84, 250)] == [0, 1, 2]
