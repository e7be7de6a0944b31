"""A voucher 记账凭证 of the general ledger, as neutral as the formats below can be made of it.

One voucher is what one template booked on one accounting date in one currency, summed up by
subject; its key is made of just that, so a second export of the same day has the same keys.
Amounts are in minor units here and in major units in every file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from mesh.money import DECIMALS, share


class GlError(Exception):
    """Vouchers cannot be written as they are; the text says which, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlLine:
    """One line 分录: a subject and what was booked on one side of it, the other being 0.

    Negative is a red entry 红字. `subject_code` is the code in the general ledger.
    """

    summary: str
    subject_code: str
    subject_name: str
    subject_class: str
    normal: int
    debit_minor: int = 0
    credit_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GlVoucher:
    """A balanced voucher; `key` is what makes a second push of it known as one."""

    key: str
    acct_date: date
    currency_code: str
    lines: Sequence[GlLine]

    @property
    def total_minor(self) -> int:
        """Return the sum of one side. Both are the same: see `checked`."""
        return sum(line.debit_minor for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlBook:
    """What the general ledger of the company is called there, and what it counts in.

    `rates` are units of the base currency for one of the other. `word` is the voucher's type
    凭证字, `word_no` the number that the type has.
    """

    base_currency: str = "CNY"
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    word: str = "记"
    word_no: str = "PRE001"
    account_book: str = "001"
    organisation: str = "100"
    prepared_by: str = "tongbao"

    def rate(self, currency_code: str) -> Decimal:
        """Return the rate of a currency. Raises GlError when there is none above zero."""
        if currency_code == self.base_currency:
            return Decimal(1)
        rate = self.rates.get(currency_code)
        if rate is None or not rate > 0:
            raise GlError(
                f"no rate from {currency_code} to {self.base_currency}:"
                f" give one, e.g. --rate {currency_code}=7.10"
            )
        return rate


def checked(vouchers: Sequence[GlVoucher]) -> Sequence[GlVoucher]:
    """Return `vouchers` as they are. Raises GlError for the first that no ledger would take.

    In this order: a key that is there twice, no line, a line with both sides or none, sides
    that differ.
    """
    seen: set[str] = set()
    for voucher in vouchers:
        if voucher.key in seen:
            raise GlError(f"voucher {voucher.key} is there twice")
        seen.add(voucher.key)
        if not voucher.lines:
            raise GlError(f"voucher {voucher.key} has no line")
        for line in voucher.lines:
            if (line.debit_minor == 0) == (line.credit_minor == 0):
                raise GlError(f"voucher {voucher.key}: {line.subject_code} needs exactly one side")
        credit_minor = sum(line.credit_minor for line in voucher.lines)
        if voucher.total_minor != credit_minor:
            raise GlError(
                f"voucher {voucher.key}: debits {voucher.total_minor}, credits {credit_minor}"
            )
    return vouchers


def based(voucher: GlVoucher, book: GlBook) -> list[tuple[GlLine, int]]:
    """Return the lines with what each comes to in minor units of the base currency.

    Lines that come to nothing are left out: the ledgers take none of zero. Raises GlError when
    there is no rate.
    """
    amounts = in_base(voucher, book)
    return [(line, at) for line, at in zip(voucher.lines, amounts, strict=True) if at]


def in_base(voucher: GlVoucher, book: GlBook) -> list[int]:
    """Return what each line comes to in minor units of the base currency.

    Rounded half up once, for the whole side; the lines share it out so that both sides still
    add up to the same, each off by less than two minor units. Raises GlError when there is no
    rate.
    """
    rate = book.rate(voucher.currency_code)
    if voucher.currency_code == book.base_currency:
        return [line.debit_minor or line.credit_minor for line in voucher.lines]
    shift = DECIMALS[book.base_currency] - DECIMALS[voucher.currency_code]
    factor = rate.scaleb(shift)
    amounts = [line.debit_minor or line.credit_minor for line in voucher.lines]
    rounded = [_rounded(amount * factor) for amount in amounts]
    total = _rounded(voucher.total_minor * factor)
    for is_debit in (True, False):
        places = [at for at, line in enumerate(voucher.lines) if bool(line.debit_minor) == is_debit]
        if all(amounts[at] > 0 for at in places):
            _share_out(rounded, amounts, places, total)
        else:  # Red lines among black ones have no shares: the last takes the remainder.
            rounded[places[-1]] += total - sum(rounded[at] for at in places)
    return rounded


def _share_out(rounded: list[int], amounts: list[int], places: list[int], total: int) -> None:
    """Write into `rounded` the shares of `total` that fall to the amounts at `places`."""
    whole, part, given = sum(amounts[at] for at in places), 0, 0
    for at in places:
        part += amounts[at]
        upto = share(total, part, whole)
        rounded[at], given = upto - given, upto


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))
