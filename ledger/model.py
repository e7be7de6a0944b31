"""The nouns of this service: accounts, business events to book, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from functools import partial
from uuid import UUID

from mesh.errors import Refused
from tongbao.ledger.v1 import reasons_pb2 as reasons

refuse = partial(Refused, "ledger.tongbao", reasons.Reason)

# The refusal of a number that stands for other content: booked already, with other facts.
DIFFERS = "EXISTS_WITH_DIFFERENT_FIELDS"
# The refusal of a number whose time is before all that the database still has.
TOO_OLD = "ID_TOO_OLD"

# Owner of the clearing account through which wallets pay; it returns to zero.
BALANCE = "balance"


class AccountKind(StrEnum):
    """What an account is for. Mirrors `AccountKind` in the contract."""

    WALLET = auto()
    MERCHANT_PENDING = auto()
    CLEARING = auto()
    REFUND_TRANSIT = auto()
    SUSPENSE = auto()
    FEE_INCOME = auto()
    CHANNEL_COST = auto()
    DUPLICATE = auto()
    RECEIVABLE = auto()
    MERCHANT_AVAILABLE = auto()
    MERCHANT_RESERVE = auto()
    PAYOUT_TRANSIT = auto()
    CASH = auto()
    ESCROW = auto()
    SURPLUS = auto()
    SHORTAGE = auto()
    CHANNEL_RECEIVABLE = auto()
    MARKETING_EXPENSE = auto()
    RECON_GAIN = auto()
    RECON_LOSS = auto()
    ROUNDING = auto()
    PROFIT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What all accounts of a kind have in common.

    `normal` is 1 when credits make the balance more (liability, equity, income), -1 when debits
    do (asset, expense). `floored` accounts never go below zero. `owned` ones have an owner.
    """

    normal: int
    floored: bool
    owned: bool


NATURES: Mapping[AccountKind, Nature] = {
    AccountKind.WALLET: Nature(normal=1, floored=True, owned=True),
    AccountKind.MERCHANT_PENDING: Nature(normal=1, floored=True, owned=True),
    AccountKind.CLEARING: Nature(normal=-1, floored=False, owned=True),
    AccountKind.REFUND_TRANSIT: Nature(normal=1, floored=True, owned=False),
    AccountKind.SUSPENSE: Nature(normal=1, floored=False, owned=False),
    AccountKind.FEE_INCOME: Nature(normal=1, floored=False, owned=False),
    AccountKind.CHANNEL_COST: Nature(normal=-1, floored=False, owned=False),
    AccountKind.DUPLICATE: Nature(normal=1, floored=False, owned=False),
    AccountKind.RECEIVABLE: Nature(normal=-1, floored=False, owned=True),
    AccountKind.MERCHANT_AVAILABLE: Nature(normal=1, floored=True, owned=True),
    AccountKind.MERCHANT_RESERVE: Nature(normal=1, floored=True, owned=True),
    AccountKind.PAYOUT_TRANSIT: Nature(normal=1, floored=True, owned=True),
    AccountKind.CASH: Nature(normal=-1, floored=False, owned=True),
    AccountKind.ESCROW: Nature(normal=1, floored=True, owned=False),
    AccountKind.SURPLUS: Nature(normal=1, floored=False, owned=False),
    AccountKind.SHORTAGE: Nature(normal=-1, floored=False, owned=False),
    AccountKind.CHANNEL_RECEIVABLE: Nature(normal=-1, floored=False, owned=True),
    AccountKind.MARKETING_EXPENSE: Nature(normal=-1, floored=False, owned=False),
    AccountKind.RECON_GAIN: Nature(normal=1, floored=False, owned=False),
    AccountKind.RECON_LOSS: Nature(normal=-1, floored=False, owned=False),
    AccountKind.ROUNDING: Nature(normal=-1, floored=False, owned=False),
    AccountKind.PROFIT: Nature(normal=1, floored=False, owned=False),
}

# Kinds whose owner may be that of a wallet, `<business code>/<user no>`.
_OF_WALLETS = {AccountKind.WALLET, AccountKind.RECEIVABLE, AccountKind.PAYOUT_TRANSIT}


# Kinds that belong to a customer, and not on their way to him: a payout in transit must arrive.
# Everybody's events name the others: one that is blocked,
# capped or closed would have them refused for ever.
CUSTOMERS = frozenset(
    {
        AccountKind.WALLET,
        AccountKind.MERCHANT_PENDING,
        AccountKind.MERCHANT_AVAILABLE,
        AccountKind.MERCHANT_RESERVE,
    }
)


@dataclass(frozen=True, slots=True)
class Account:
    """Which account. `owner` is empty for kinds without one."""

    kind: AccountKind
    owner: str
    currency_code: str

    @property
    def name(self) -> str:
        """Return what the account is called in its book, e.g. `wallet:MALL/u1:CNY`."""
        return f"{self.kind}:{self.owner}:{self.currency_code}"

    @classmethod
    def of(cls, name: str) -> Account:
        """Return the account that is called `name` in its book."""
        kind, _, rest = name.partition(":")
        owner, _, currency_code = rest.rpartition(":")
        return cls(AccountKind(kind), owner, currency_code)

    @property
    def business_code(self) -> str:
        """Return the business line it belongs to; empty for accounts that all lines share."""
        line, slash, _ = self.owner.partition("/")
        return line if slash and self.kind in _OF_WALLETS else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A business event to book; see `Posting` in the contract. Amounts are in minor units."""

    template: str
    source_no: str
    trace_no: str
    business_code: str
    currency_code: str
    amount_minor: int
    fee_minor: int = 0
    cost_minor: int = 0
    channel_code: str = ""
    merchant_id: str = ""
    user_no: str = ""
    reserve_minor: int = 0
    available_minor: int = 0
    owed_minor: int = 0
    to_user_no: str = ""
    to_merchant_id: str = ""
    to_channel_code: str = ""


class Outcome(StrEnum):
    """What became of one posting. Mirrors `PostingResult.Outcome` in the contract."""

    POSTED = auto()
    EXISTS = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingResult:
    """What became of one posting; `refusal` says why it was refused, else it is empty."""

    outcome: Outcome
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A chain of transfers that was booked together."""

    txn: UUID
    template: str
    source_no: str
    trace_no: str
    app_id: str
    amount_minor: int
    currency_code: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One transfer of a voucher, with the names of its accounts."""

    id: UUID
    txn: UUID
    debit: str
    credit: str
    amount_minor: int
    currency_code: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about the books that does not hold."""

    check: str
    place: str
    detail: str
