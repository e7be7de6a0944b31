"""A bill as bytes: a CSV with a header, lines and totals. The same lines make the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sim.book import Happening, Order, What
from sim.clock import BILL_ZONE, local_time
from sim.faults import Kind

READY_AT = timedelta(days=1, hours=10)  # After the day has begun.

COLUMNS = (
    "time",
    "type",
    "provider_no",
    "order_no",
    "original_order_no",
    "state",
    "currency",
    "amount",
    "fee",
    "net",
    "attach",
)
_TOTALS = ("#total", "currency", "type", "count", "amount", "fee", "net")
_DECIMALS = {"JPY": 0, "KRW": 0, "VND": 0, "BHD": 3, "KWD": 3, "TND": 3}  # All others have 2.


class LineType(StrEnum):
    """What a line is about."""

    PAYMENT = "PAYMENT"
    REFUND = "REFUND"
    PAYMENT_REVERSAL = "PAYMENT_REVERSAL"
    REFUND_REVERSAL = "REFUND_REVERSAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One movement of money. `amount_minor` is what we owe the account for it, before the fee.

    It is negative for money that went the other way, and so is a fee that was given back.
    """

    time_ms: int
    type: LineType
    provider_no: str
    order_no: str
    original_order_no: str
    state: str
    currency: str
    amount_minor: int
    fee_minor: int
    attach: str


def line_of(order: Order, happening: Happening) -> Line:
    """Return the line of something that moved money."""
    is_charge, is_back = order.ask.kind is Kind.CHARGE, happening.what is What.REVERSED
    if is_back:
        kind = LineType.PAYMENT_REVERSAL if is_charge else LineType.REFUND_REVERSAL
    else:
        kind = LineType.PAYMENT if is_charge else LineType.REFUND
    sign = 1 if is_charge is not is_back else -1
    return Line(
        time_ms=happening.time_ms,
        type=kind,
        provider_no=happening.provider_no,
        order_no=order.ask.number,
        original_order_no=order.ask.of,
        state="SUCCEEDED",
        currency=happening.currency,
        amount_minor=sign * happening.moved_minor,
        fee_minor=sign * happening.fee_minor,
        attach=order.ask.attach,
    )


def written(line: Line) -> dict[str, str]:
    """Return the line as it stands in the file, by column."""
    net_minor = line.amount_minor - line.fee_minor
    values = (
        local_time(line.time_ms).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        line.type,
        line.provider_no,
        line.order_no,
        line.original_order_no,
        line.state,
        line.currency,
        decimal(line.amount_minor, line.currency),
        decimal(line.fee_minor, line.currency),
        decimal(net_minor, line.currency),
        line.attach,
    )
    return dict(zip(COLUMNS, values, strict=True))


def bill_csv(lines: Sequence[Line], *, account: str, day: date) -> bytes:
    """Return the file as it is before it is compressed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    ready = datetime(day.year, day.month, day.day, tzinfo=BILL_ZONE) + READY_AT
    writer.writerows(
        [
            ("#bill", "sim", "1"),
            ("#account", account),
            ("#bill_date", day.isoformat()),
            ("#zone", "+08:00"),
            ("#made", ready.strftime("%Y-%m-%d %H:%M:%S")),
            COLUMNS,
            *(tuple(written(line).values()) for line in lines),
            _TOTALS,
            *_totals(lines),
            ("#end", str(len(lines))),
        ]
    )
    return text.getvalue().encode()


def packed(content: bytes) -> bytes:
    """Return the file as it travels. Nothing of it depends on when it was packed."""
    return gzip.compress(content, mtime=0)


def decimal(minor: int, currency: str) -> str:
    """Return an amount as a bill has it: `-12.34`, or `-1234` for a currency without cents."""
    places = _DECIMALS.get(currency, 2)
    sign, digits = "-" if minor < 0 else "", str(abs(minor)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _totals(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Return a row for each currency and type that has lines."""
    counts: Counter[tuple[str, str]] = Counter()
    amounts: Counter[tuple[str, str]] = Counter()
    fees: Counter[tuple[str, str]] = Counter()
    for line in lines:
        key = line.currency, line.type.value
        counts[key] += 1
        amounts[key] += line.amount_minor
        fees[key] += line.fee_minor
    return [
        (
            "#total",
            currency,
            kind,
            str(counts[currency, kind]),
            decimal(amounts[currency, kind], currency),
            decimal(fees[currency, kind], currency),
            decimal(amounts[currency, kind] - fees[currency, kind], currency),
        )
        for currency, kind in sorted(counts)
    ]
