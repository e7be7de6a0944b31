"""What the demo orders: a list that follows from a seed, with every story in it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from demo.world import APPS, DAILY_LIMIT_MINOR, DENIED_USER, WALLET_USERS


class Story(StrEnum):
    """What is to happen to an order."""

    # As it should be.
    QR = auto()  # The payer scans a code.
    TWO_STEPS = auto()  # Ordered first, paid by a second call.
    WALLET = auto()  # Paid from the user's balance.
    RECHARGE = auto()  # The user's balance is filled.
    REPEATED = auto()  # The caller sends the same call three times at once.
    REFUND_WHOLE = auto()
    REFUND_PARTS = auto()  # Twice a part, then the rest.
    REFUND_WALLET = auto()  # A part of what was paid from a balance.
    CLOSE_UNTRIED = auto()  # Ordered and closed; then nobody can pay it.
    CLOSE_UNPAID = auto()  # The payer has a code, does not come, and the order is closed.
    EXPIRE_UNTRIED = auto()  # Ordered, and nobody pays it in time.
    EXPIRE_UNPAID = auto()  # The payer has a code, and does not come in time.
    # As it should be refused.
    REUSED = auto()  # The same order number for another amount.
    BROKE = auto()  # The balance is not enough; then the payer scans.
    DENIED = auto()  # The payer is on the deny list.
    OVER_LIMIT = auto()  # More than a user may pay a day.
    REFUND_TOO_MUCH = auto()  # More than what is left.
    CLOSE_PAID = auto()  # Closed too late.
    CLOSE_PAYING = auto()  # Closed while the payer pays: it is refused, and then paid.
    # What goes wrong at the provider.
    LOST_CALLBACK = auto()  # Paid, and nobody tells us.
    PROCESSED_HANG = auto()  # It charges, and does not answer.
    RESET = auto()  # The connection is cut before it has read the request.
    REFUSED_LATER = auto()  # Accepted, then failed.
    TRIPLE_CALLBACK = auto()  # Told three times.
    WRONG_AMOUNT = auto()  # One minor unit too much is charged: a person has to look.
    HANG = auto()  # It neither charges nor answers.
    CLOSE_LATE_SUCCESS = auto()  # It closes, and charges all the same: a person has to look.
    REFUND_LOST = auto()
    REFUND_HANG = auto()
    REFUND_RESET = auto()
    REFUND_REFUSED = auto()
    REFUND_TRIPLE = auto()
    # A whole provider is down.
    FAILOVER = auto()  # The first one: the second one charges.
    OUTAGE = auto()  # Both: the payment fails, and is tried again when they are back.


# The simulator makes these faults of an amount's last two digits.
CHARGE_FAULTS: Mapping[Story, int] = {
    Story.LOST_CALLBACK: 90,
    Story.PROCESSED_HANG: 91,
    Story.RESET: 92,
    Story.REFUSED_LATER: 94,
    Story.TRIPLE_CALLBACK: 95,
    Story.WRONG_AMOUNT: 96,
    Story.HANG: 97,
}
REFUND_FAULTS: Mapping[Story, int] = {
    Story.REFUND_LOST: 90,
    Story.REFUND_HANG: 91,
    Story.REFUND_RESET: 92,
    Story.REFUND_REFUSED: 94,
    Story.REFUND_TRIPLE: 95,
}
# And these of the last four.
CLOSE_FAULTS: Mapping[Story, int] = {
    Story.CLOSE_UNPAID: 7702,
    Story.EXPIRE_UNPAID: 7702,
    Story.CLOSE_PAYING: 7701,
    Story.CLOSE_LATE_SUCCESS: 7703,
}
EXPIRING = (Story.EXPIRE_UNTRIED, Story.EXPIRE_UNPAID)
# Their payers do nothing before the caller closes.
WAITING = CLOSE_FAULTS.keys() - EXPIRING
OUTAGES = (Story.FAILOVER, Story.OUTAGE)

# How many of each there are at least, and of how many in a hundred the rest consists.
_LEAST: Mapping[Story, int] = {
    Story.REFUND_PARTS: 3,
    Story.REFUND_WHOLE: 3,
    Story.REFUND_WALLET: 3,
    Story.REPEATED: 3,
    **dict.fromkeys(CHARGE_FAULTS, 2),
    Story.FAILOVER: 2,
}
_REST: Mapping[Story, int] = {
    Story.QR: 40,
    Story.TWO_STEPS: 10,
    Story.WALLET: 30,
    Story.REPEATED: 4,
    Story.REFUND_WHOLE: 4,
    Story.REFUND_PARTS: 6,
    Story.REFUND_WALLET: 4,
    Story.RECHARGE: 2,
}
FROM_WALLET = (Story.WALLET, Story.REFUND_WALLET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order to be made. `refunds` are amounts to be given back when it is paid."""

    story: Story
    app: str
    order_no: str
    merchant: str
    user_no: str
    amount_minor: int
    refunds: tuple[int, ...] = ()

    @property
    def trace_no(self) -> str:
        """Its business trace number."""
        return f"{self.app}-{self.order_no}"


def plan(count: int, *, seed: int, run: int) -> Sequence[Order]:
    """Return `count` orders, recharges first; with 70 or more, every story is among them."""
    draw = random.Random(seed)  # noqa: S311  # To be repeated, not to be secret.
    stories = _essential()[:count]
    stories += draw.choices(list(_REST), list(_REST.values()), k=count - len(stories))
    draw.shuffle(stories)
    stories.sort(key=lambda story: story is not Story.RECHARGE)
    orders, filled = [], 0
    for place, story in enumerate(stories, 1):
        app = APPS[filled % len(APPS)] if story is Story.RECHARGE else draw.choice(APPS)
        if story in (Story.OVER_LIMIT, Story.DENIED):
            app = APPS[0]  # Where there are limits.
        user_no = WALLET_USERS[filled // len(APPS) % len(WALLET_USERS)]
        filled += story is Story.RECHARGE
        amount_minor, refunds = _amounts(story, draw)
        orders.append(
            Order(
                story=story,
                app=app.name,
                order_no=f"R{run}-{place:04d}",
                merchant=draw.choice(app.merchants).name if story is not Story.RECHARGE else "",
                user_no=user_no if story is Story.RECHARGE else _user(story, draw),
                amount_minor=amount_minor,
                refunds=refunds,
            )
        )
    return orders


def _essential() -> list[Story]:
    """Return one recharge for every wallet and the least of every story, the rare ones first."""
    recharges = [Story.RECHARGE] * (len(APPS) * len(WALLET_USERS))
    others = [story for story in Story for _ in range(_LEAST.get(story, 1))
              if story is not Story.RECHARGE]  # fmt: skip
    return [*recharges, *others]


def _user(story: Story, draw: random.Random) -> str:
    if story is Story.DENIED:
        return DENIED_USER
    if story in (*FROM_WALLET, Story.BROKE, Story.OVER_LIMIT):
        return draw.choice(WALLET_USERS)
    return draw.choice(("", *WALLET_USERS))


def _amounts(story: Story, draw: random.Random) -> tuple[int, tuple[int, ...]]:
    """Return the amount and the refunds. Without a fault they end below 90."""
    amount = draw.randint(5, 60) * 100
    if story in CHARGE_FAULTS:
        return amount + CHARGE_FAULTS[story], ()
    if story in CLOSE_FAULTS:
        return CLOSE_FAULTS[story], ()
    amount += draw.randint(0, 89)
    if story in REFUND_FAULTS:
        return amount, (200 + REFUND_FAULTS[story],)
    match story:
        case Story.RECHARGE:
            return draw.randint(900, 1100) * 100, ()
        case Story.OVER_LIMIT:
            return DAILY_LIMIT_MINOR + 100, ()
        case Story.BROKE:
            return 5_000_000 + draw.randint(0, 89), ()
        case Story.REFUND_WHOLE:
            return amount, (amount,)
        case Story.REFUND_PARTS:
            return amount, _parts(amount, draw)
        case Story.REFUND_WALLET:
            return amount, (draw.randint(100, 189),)
        case Story.REFUND_TOO_MUCH:
            return amount, (amount + 1,)
        case _:
            return amount, ()


def _parts(amount: int, draw: random.Random) -> tuple[int, ...]:
    """Return three parts of `amount`, none of which makes a fault."""
    while True:
        first, second = draw.randint(100, 189), draw.randint(100, 189)
        parts = (first, second, amount - first - second)
        if all(part % 100 < min(CHARGE_FAULTS.values()) for part in parts):
            return parts
