"""The choice of a channel account: pure, and able to say why.

The first that fits is taken, in the order of priority and code; whatever was passed over has
a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from channel.model import ChannelAccount
from mesh.money import rate_of


class Against(StrEnum):
    """Why an account was passed over. The first that holds, in this order."""

    TOOL = "TOOL"
    CURRENCY = "CURRENCY"
    ALREADY_TRIED = "ALREADY_TRIED"
    LOWER_PRIORITY = "LOWER_PRIORITY"  # It fits; another was taken.


@dataclass(frozen=True, slots=True)
class Choice:
    """The account that was taken, if any fits, and why not the others, by code."""

    account: ChannelAccount | None
    against: Mapping[str, Against]


def choose(
    accounts: Sequence[ChannelAccount],
    *,
    tool: str,
    currency_code: str,
    tried: Collection[str] = (),
) -> Choice:
    """Return the account to carry out a charge; `tried` are codes that are out of question."""
    chosen: ChannelAccount | None = None
    against: dict[str, Against] = {}
    for account in sorted(accounts, key=lambda one: (one.priority, one.channel_code)):
        if tool not in account.tools:
            against[account.channel_code] = Against.TOOL
        elif currency_code not in account.currency_codes:
            against[account.channel_code] = Against.CURRENCY
        elif account.channel_code in tried:
            against[account.channel_code] = Against.ALREADY_TRIED
        elif chosen is not None:
            against[account.channel_code] = Against.LOWER_PRIORITY
        else:
            chosen = account
    return Choice(chosen, against)


def cost_of(account: ChannelAccount, *, amount_minor: int) -> int:
    """Return what the provider takes of a charge, in minor units, rounded half up."""
    return rate_of(amount_minor, account.cost_ppm)
