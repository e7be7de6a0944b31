"""What templates are made of: amounts, the accounts on either side, legs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.model import BALANCE, Account, AccountKind, Posting


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount that a business event brings. Within a template the name is the leg's name.

    `of` is in minor units; `about` says the same to people.
    """

    name: str
    about: str
    of: Callable[[Posting], int]


AMOUNT = Amount("amount", "amount", lambda event: event.amount_minor)
NET = Amount("net", "amount − fee", lambda event: event.amount_minor - event.fee_minor)
FEE = Amount("fee", "fee", lambda event: event.fee_minor)
COST = Amount("cost", "cost", lambda event: event.cost_minor)
RESERVE_PART = Amount("reserve", "reserve", lambda event: event.reserve_minor)
AVAILABLE_PART = Amount("available", "available", lambda event: event.available_minor)
OWED_PART = Amount("owed", "owed", lambda event: event.owed_minor)
UNRESERVED = Amount(
    "rest", "amount − reserve", lambda event: event.amount_minor - event.reserve_minor
)


def _undrawn(event: Posting) -> int:
    drawn = event.reserve_minor + event.available_minor + event.owed_minor
    return event.amount_minor - event.fee_minor - drawn


UNDRAWN = Amount("pending", "amount − fee − reserve − available − owed", _undrawn)


@dataclass(frozen=True, slots=True)
class Side:
    """An account as a template names it: its kind, and the owner it has in an event.

    `about` is what people call it. `fact` is the field of the event that must not be empty for
    that; empty if none.
    """

    about: str
    kind: AccountKind
    owner: Callable[[Posting], str]
    fact: str = ""

    def name(self, event: Posting) -> str:
        """Return the name of the account in `event`."""
        return Account(self.kind, self.owner(event), event.currency_code).name


def _system(about: str, kind: AccountKind) -> Side:
    """Return the one account of `kind` in a book and currency."""
    return Side(about, kind, lambda _: "")


def _merchant(about: str, kind: AccountKind) -> Side:
    """Return an account of the event's merchant."""
    return Side(about, kind, lambda event: event.merchant_id, "merchant_id")


def _paid_merchant(about: str, kind: AccountKind) -> Side:
    """Return an account of the merchant that the event pays."""
    return Side(about, kind, lambda event: event.to_merchant_id, "to_merchant_id")


def _wallet(about: str, kind: AccountKind) -> Side:
    """Return an account of the event's user."""
    return Side(about, kind, lambda event: f"{event.business_code}/{event.user_no}", "user_no")


def _channel(about: str, kind: AccountKind) -> Side:
    """Return an account of the event's channel account."""
    return Side(about, kind, lambda event: event.channel_code, "channel_code")


WALLET = _wallet("wallet 钱包", AccountKind.WALLET)
WALLET_TRANSIT = _wallet("withdrawals in transit 提现在途", AccountKind.PAYOUT_TRANSIT)
# What is owed to us by whoever had the money: as their own accounts are called.
WALLET_DEBT = _wallet("receivable of the wallet 应收用户", AccountKind.RECEIVABLE)
PAID_WALLET = Side(
    "wallet that is paid",
    AccountKind.WALLET,
    lambda event: f"{event.business_code}/{event.to_user_no}",
    "to_user_no",
)

PENDING = _merchant("merchant, pending 待结算", AccountKind.MERCHANT_PENDING)
AVAILABLE = _merchant("merchant, available 可用余额", AccountKind.MERCHANT_AVAILABLE)
RESERVE = _merchant("merchant, reserve 保证金", AccountKind.MERCHANT_RESERVE)
MERCHANT_TRANSIT = _merchant("payouts in transit 出款在途", AccountKind.PAYOUT_TRANSIT)
MERCHANT_DEBT = _merchant("receivable of the merchant 应收商户", AccountKind.RECEIVABLE)
PAID_PENDING = _paid_merchant("merchant that is paid, pending", AccountKind.MERCHANT_PENDING)
PAID_AVAILABLE = _paid_merchant("merchant that is paid, available", AccountKind.MERCHANT_AVAILABLE)

CHANNEL = _channel("clearing of the channel 待清算", AccountKind.CLEARING)
CASH = _channel("cash at channel or bank 渠道资金", AccountKind.CASH)
CHANNEL_DEBT = _channel("receivable of the channel 应收渠道", AccountKind.CHANNEL_RECEIVABLE)
PAID_CASH = Side(
    "cash where it moves to",
    AccountKind.CASH,
    lambda event: event.to_channel_code,
    "to_channel_code",
)
WALLETS = Side("clearing of wallets 余额清算", AccountKind.CLEARING, lambda _: BALANCE)

TRANSIT = _system("refunds in transit 退款在途", AccountKind.REFUND_TRANSIT)
ESCROW = _system("escrow 担保", AccountKind.ESCROW)
SUSPENSE = _system("suspense 挂账", AccountKind.SUSPENSE)
DUPLICATE = _system("duplicates 重复支付", AccountKind.DUPLICATE)
SURPLUS = _system("surplus 长款", AccountKind.SURPLUS)
SHORTAGE = _system("shortage 短款", AccountKind.SHORTAGE)
FEE_INCOME = _system("fee income 手续费收入", AccountKind.FEE_INCOME)
RECON_GAIN = _system("gain 差错收益", AccountKind.RECON_GAIN)
CHANNEL_COST = _system("channel cost 渠道成本", AccountKind.CHANNEL_COST)
MARKETING = _system("marketing expense 营销费用", AccountKind.MARKETING_EXPENSE)
RECON_LOSS = _system("loss 差错损失", AccountKind.RECON_LOSS)
ROUNDING = _system("rounding 尾差", AccountKind.ROUNDING)
PROFIT = _system("profit 本年利润", AccountKind.PROFIT)


@dataclass(frozen=True, slots=True)
class Leg:
    """`amount` goes from the credit side of `credit` to the debit side of `debit`."""

    debit: Side
    credit: Side
    amount: Amount


@dataclass(frozen=True, slots=True)
class Template:
    """How one kind of event is booked. `code` and the place of a leg make the leg's code.

    `about` is the event in words, with its number in the design's list of postings (N, R) where
    it has one. With `opens`, accounts that are not there are opened first: money in doubt comes
    in currencies that nobody foresaw, and must be booked all the same. A template that opens
    pays nobody else's account: what it opens for a customer it fills from that customer's own.

    A customer's account may be blocked 止付/止收, capped or closed meanwhile. Where money has
    moved already and a refusal would leave the books behind, `otherwise` names the template that
    is booked instead, under the same number: it names no account that can refuse. Where it is
    empty nothing has moved: the refusal is the answer, and the money stays where it stands.
    """

    code: int
    about: str
    legs: tuple[Leg, ...]
    opens: bool = False
    otherwise: str = ""

    def facts(self) -> list[str]:
        """Return the fields an event must bring beside its amount, each once, in order."""
        sides = [side for leg in self.legs for side in (leg.debit, leg.credit)]
        return list(dict.fromkeys(side.fact for side in sides if side.fact))


# What a channel takes is owed to it from the moment it charges (reconciliation.md N1).
COST_LEG = Leg(CHANNEL_COST, CHANNEL, COST)
COST_BACK_LEG = Leg(CHANNEL, CHANNEL_COST, COST)


def back(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """Return the legs that undo `legs` to the last cent, in the same order."""
    return tuple(Leg(leg.credit, leg.debit, leg.amount) for leg in legs)
