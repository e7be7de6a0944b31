"""What callers do: a list that follows from a seed, each deed at its time.

`OPS` is the table: how often each is drawn, beside what `callers.py` does for it. A verb that
comes to the contract gets a row here and a script there.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto

from demo.plan import CHARGE_FAULTS, CLOSE_FAULTS, REFUND_FAULTS
from demo.world import APPS, WALLET_USERS

BATCH_MAX = 6
_FUND_MINOR = 500_000
_FAITHLESS = 0.1  # Of all callers: they never ask again after an unclear answer.
_DIGITS = tuple(CHARGE_FAULTS.values())
_PLAIN_MAX = min(_DIGITS) - 1


class Op(StrEnum):
    """What a caller does with an order."""

    FUND = auto()  # Before the faults begin: fill a wallet.
    RECHARGE = auto()
    QR = auto()
    QR_FAULTY = auto()  # The provider misbehaves, by the amount.
    WALLET = auto()
    TWO_STEPS = auto()
    SAME_KEY = auto()  # Three times at once, one number, one content.
    OTHER_BODY = auto()  # Twice at once, one number, two contents.
    BATCH = auto()
    STREAM = auto()
    CLOSE = auto()  # Ordered, closed, and then it shall be paid.
    CLOSE_RACE = auto()  # Closed at the moment at which it is paid.
    CLOSE_FAULTY = auto()  # The payer is paying, never pays, or pays what was closed.
    REFUND_PARTS = auto()  # Two parts, the second one twice.
    REFUND_FAULTY = auto()
    REFUND_RACE = auto()  # Two at once that together are too much.
    REFUND_OVER = auto()
    REFUND_WALLET = auto()
    STRANGER = auto()  # Another app, an old token and a forged one try their luck.


OPS: Mapping[Op, int] = {
    Op.RECHARGE: 3,
    Op.QR: 22,
    Op.QR_FAULTY: 12,
    Op.WALLET: 18,
    Op.TWO_STEPS: 6,
    Op.SAME_KEY: 6,
    Op.OTHER_BODY: 4,
    Op.BATCH: 3,
    Op.STREAM: 3,
    Op.CLOSE: 3,
    Op.CLOSE_RACE: 5,
    Op.CLOSE_FAULTY: 4,
    Op.REFUND_PARTS: 7,
    Op.REFUND_FAULTY: 4,
    Op.REFUND_RACE: 5,
    Op.REFUND_OVER: 3,
    Op.REFUND_WALLET: 4,
    Op.STRANGER: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One deed. `at_ms` counts from when the faults begin; what funds comes before.

    `parts` are amounts of refunds, or of the other items of a batch. Whoever is not
    `faithful` leaves after the first unclear answer.
    """

    at_ms: int
    op: Op
    app: str
    order_no: str
    merchant: str
    user_no: str
    amount_minor: int
    parts: tuple[int, ...] = ()
    faithful: bool = True

    @property
    def trace_no(self) -> str:
        """Its business trace number."""
        return f"{self.app}-{self.order_no}"


def plan_deeds(seed: int, *, seconds: float, rate: float) -> Sequence[Deed]:
    """Return the deeds of a seed, `rate` a second over `seconds`, in order."""
    draw = random.Random(f"deeds {seed}")  # noqa: S311  # To be repeated, not to be secret.
    deeds = [
        _deed(draw, Op.FUND, place, at_ms=-1, app=app.name, user_no=user)
        for place, (app, user) in enumerate((app, user) for app in APPS for user in WALLET_USERS)
    ]
    times = sorted(draw.randrange(int(seconds * 1000)) for _ in range(int(seconds * rate)))
    ops = list(OPS)[: len(times)]  # One of each, and the rest by chance.
    ops += draw.choices(list(OPS), list(OPS.values()), k=len(times) - len(ops))
    draw.shuffle(ops)
    digits = _rotation(draw, _DIGITS), _rotation(draw, tuple(REFUND_FAULTS.values()))
    closing = _rotation(draw, tuple(sorted(set(CLOSE_FAULTS.values()))))
    for place, (at_ms, op) in enumerate(zip(times, ops, strict=True), len(deeds)):
        app = draw.choice(APPS).name
        deed = _deed(draw, op, place, at_ms=at_ms, app=app, user_no=_user(op, draw))
        if op is Op.QR_FAULTY:
            deed = replace(deed, amount_minor=deed.amount_minor // 100 * 100 + next(digits[0]))
        if op is Op.REFUND_FAULTY:
            deed = replace(deed, parts=(200 + next(digits[1]),))
        if op is Op.CLOSE_FAULTY:
            deed = replace(deed, amount_minor=next(closing))
        deeds.append(deed)
    return deeds


def _rotation(draw: random.Random, digits: Sequence[int]) -> Iterator[int]:
    """Return each of the digits in turn, for ever: no fault is left out by chance."""
    return itertools.cycle(draw.sample(digits, len(digits)))


def _deed(draw: random.Random, op: Op, place: int, *, at_ms: int, app: str, user_no: str) -> Deed:
    merchants = next(one.merchants for one in APPS if one.name == app)
    amount, parts = _amounts(op, draw)
    return Deed(
        at_ms=at_ms,
        op=op,
        app=app,
        order_no=f"T{place:04d}",
        merchant="" if op in (Op.FUND, Op.RECHARGE) else draw.choice(merchants).name,
        user_no=user_no,
        amount_minor=amount,
        parts=parts,
        faithful=op is Op.FUND or draw.random() >= _FAITHLESS,
    )


def _user(op: Op, draw: random.Random) -> str:
    if op in (Op.RECHARGE, Op.WALLET, Op.REFUND_WALLET, Op.BATCH):
        return draw.choice(WALLET_USERS)
    return draw.choice(("", *WALLET_USERS))


def _amounts(op: Op, draw: random.Random) -> tuple[int, tuple[int, ...]]:
    """Return the amount and the parts. Without a fault they end below 90."""
    if op is Op.FUND:
        return _FUND_MINOR, ()
    hundreds = draw.randint(5, 60) * 100
    amount = hundreds + draw.randint(0, _PLAIN_MAX)
    match op:
        case Op.BATCH | Op.STREAM:
            return amount, tuple(_any(draw) for _ in range(draw.randint(2, BATCH_MAX)))
        case Op.REFUND_PARTS | Op.REFUND_WALLET:
            return amount, (100 + draw.randint(0, _PLAIN_MAX), 200 + draw.randint(0, _PLAIN_MAX))
        case Op.REFUND_RACE:
            return 3000 + draw.randint(0, _PLAIN_MAX), (1800, 1900)
        case Op.REFUND_OVER:
            return amount, (amount + draw.randint(1, 50),)
    return amount, ()


def _any(draw: random.Random) -> int:
    return draw.randint(5, 40) * 100 + draw.randint(0, _PLAIN_MAX)
