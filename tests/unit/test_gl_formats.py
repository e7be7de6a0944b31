"""Vouchers for the general ledger: refused when no ledger would take them, and every format."""

import csv
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.gl import FORMATS, kingdee_kis, plain, yonyou_u8
from ledger.gl.voucher import GlBook, GlError, GlLine, GlVoucher, based, checked, in_base
from mesh.money import major

DAY = date(2026, 11, 22)
BOOK = GlBook(rates={"JPY": Decimal("0.0467"), "KWD": Decimal("23.3105")})


def line(code, *, debit=0, credit=0, summary="收款", **more):
    """A line of clearing 1012.01, of what merchants are owed 2202.01, or of income 6001.01."""
    root = {"1": "asset", "2": "liability", "6": "profit_loss"}[code[0]]
    return GlLine(
        summary=summary,
        subject_code=code,
        subject_name=f"科目{code}",
        subject_class=root,
        normal=-1 if root == "asset" else 1,
        debit_minor=debit,
        credit_minor=credit,
        **more,
    )


def voucher(key, *lines, currency="CNY", day=DAY):
    return GlVoucher(key=key, acct_date=day, currency_code=currency, lines=lines)


COLLECTED = voucher(
    "1-20261122-3-CNY",
    line("1012.01", debit=10_000),
    line("2202.01", credit=9_940),
    line("6001.01", credit=60),
)
RED = voucher(
    "1-20261122-17-CNY",
    line("1012.01", debit=-500, summary="冲正, 渠道=a"),
    line("2202.01", credit=-500),
)
YEN = voucher(
    "1-20261122-3-JPY",
    line("1012.01", debit=1_001),
    line("2202.01", credit=334),
    line("6001.01", credit=667),
    currency="JPY",
)
DINAR = voucher(
    "1-20261201-3-KWD",
    line("1012.01", debit=1_234),
    line("2202.01", credit=1_234),
    currency="KWD",
    day=date(2026, 12, 1),
)
ALL = [COLLECTED, RED, YEN, DINAR]


@pytest.mark.parametrize(
    ("vouchers", "why"),
    [
        ([COLLECTED, COLLECTED], "1-20261122-3-CNY is there twice"),
        ([replace(COLLECTED, lines=[])], "has no line"),
        ([voucher("k", line("1012.01"))], "1012.01 needs exactly one side"),
        ([voucher("k", line("1012.01", debit=1, credit=1))], "1012.01 needs exactly one side"),
        (
            [voucher("k", line("1012.01", debit=1), line("2202.01", credit=2))],
            "debits 1, credits 2",
        ),
    ],
)
def test_what_no_ledger_would_take_is_refused(vouchers, why):
    assert checked(ALL) is ALL
    with pytest.raises(GlError, match=why):
        checked(vouchers)


def test_amounts_have_the_decimals_of_their_currency():
    assert [major(-1_234, code) for code in ("JPY", "CNY", "KWD")] == ["-1234", "-12.34", "-1.234"]


@given(
    parts=st.lists(st.integers(1, 10**12), min_size=1, max_size=6),
    rate=st.decimals("0.0001", "9999", places=4),
)
def test_in_the_base_currency_both_sides_are_still_the_same(parts, rate):
    """However the lines round, and each by less than two minor units."""
    lines = [line("1012.01", debit=sum(parts)), *(line("2202.01", credit=part) for part in parts)]
    debit, *credits = in_base(voucher("k", *lines, currency="USD"), GlBook(rates={"USD": rate}))
    assert debit == sum(credits)
    assert all(abs(got - part * rate) < 2 for got, part in zip(credits, parts, strict=True))


def test_a_red_line_among_black_ones_keeps_the_sides_the_same():
    mixed = voucher(
        "k", line("1012.01", debit=667), line("2202.01", credit=1_000),
        line("2202.01", credit=-333), currency="JPY",
    )  # fmt: skip
    debit, *credits = in_base(mixed, BOOK)
    assert (debit, sum(credits)) == (3_115, 3_115)


def test_a_line_that_comes_to_nothing_is_left_out():
    """One yen comes to less than half a fen."""
    small = voucher(
        "k", line("1012.01", debit=30), line("2202.01", credit=29), line("6001.01", credit=1),
        currency="JPY",
    )  # fmt: skip
    book = GlBook(rates={"JPY": Decimal("0.004")})
    assert [(one.subject_code, at) for one, at in based(small, book)] == [
        ("1012.01", 12), ("2202.01", 12),
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "beancount"])
def test_a_currency_without_a_rate_is_refused_with_what_to_do(name):
    with pytest.raises(GlError, match="no rate from JPY to CNY: give one, e.g. --rate JPY="):
        FORMATS[name].render([YEN], GlBook())


def test_kingdee_cloud_has_heads_that_its_lines_add_up_to():
    models = json.loads(FORMATS["kingdee-cloud"].render(ALL, BOOK))["Model"]

    for model in models:
        debits = sum(Decimal(entry["FDEBIT"]) for entry in model["FEntity"])
        credits = sum(Decimal(entry["FCREDIT"]) for entry in model["FEntity"])
        assert Decimal(model["FDEBITTOTAL"]) == debits == credits == Decimal(model["FCREDITTOTAL"])
    collected, red, yen, dinar = models
    assert (collected["FBILLNO"], collected["FYEAR"], collected["FPERIOD"]) == (
        "1-20261122-3-CNY", 2026, 11,
    )  # fmt: skip
    assert [entry["FDC"] for entry in collected["FEntity"]] == ["1", "-1", "-1"]
    assert [entry["FDEBIT"] for entry in red["FEntity"]] == ["-5.00", "0.00"]
    assert yen["FEntity"][0] | {"FEXPLANATION": ""} == {
        "FEXPLANATION": "",
        "FACCOUNTID": {"FNumber": "1012.01"},
        "FCURRENCYID": {"FNumber": "JPY"},
        "FEXCHANGERATE": "0.0467",
        "FAMOUNTFOR": "1001",
        "FAMOUNT": "46.75",
        "FDC": "1",
        "FDEBIT": "46.75",
        "FCREDIT": "0.00",
    }
    assert (dinar["FPERIOD"], dinar["FDEBITTOTAL"]) == (12, "28.77")


def test_kis_rows_are_numbered_by_day_and_a_formula_stays_text():
    trick = replace(COLLECTED, lines=[replace(COLLECTED.lines[0], summary="=1+1"),
                                      *COLLECTED.lines[1:]])  # fmt: skip
    rows = sheet(FORMATS["kingdee-kis"].render([trick, RED, DINAR], BOOK))

    assert tuple(rows[0]) == kingdee_kis.COLUMNS
    assert [row[2] for row in rows[1:]] == [
        "22001", "22001", "22001", "22002", "22002", "1001", "1001",
    ]  # fmt: skip
    assert rows[1][4] == "=1+1 1-20261122-3-CNY"
    assert [rows[1][7], rows[1][8], rows[2][8]] == ["100.00", "0", "99.40"]


def test_u8_lines_have_the_required_fields_and_one_side():
    text = yonyou_u8.render(ALL, BOOK).decode("gb18030")

    lines = text.split("\r\n")
    assert lines.pop() == ""
    fields = [one.split(",") for one in lines]
    assert {len(one) for one in fields} == {12}
    assert all((Decimal(one[6]) == 0) != (Decimal(one[7]) == 0) for one in fields)
    assert fields[0] == [
        "2026-11-22", "记", "1-20261122-3-CNY", "0", "收款", "1012.01", "100.00", "0.00",
        "", "", "", "tongbao",
    ]  # fmt: skip
    assert fields[3][4] == "冲正， 渠道=a"  # A comma would begin another field.
    assert fields[5][9:11] == ["1001", "0.0467"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (replace(COLLECTED, key="x" * 31), "numbers of 30 characters"),
        (
            voucher("k", line("1" * 16, debit=1), line("2202.01", credit=1)),
            "U8 takes 15 characters",
        ),
    ],
)
def test_u8_refuses_what_its_fields_cannot_hold(broken, why):
    with pytest.raises(GlError, match=why):
        yonyou_u8.render([broken], BOOK)


def test_csv_gives_both_currencies_and_no_formula():
    trick = voucher("k", line("1012.01", debit=1, summary="@SUM(A1)"), line("2202.01", credit=1))
    rows = list(csv.DictReader(io.StringIO(plain.render([YEN, trick], BOOK).decode())))

    assert [row["base_credit"] for row in rows[:3]] == ["0.00", "15.60", "31.15"]
    assert (rows[0]["debit"], rows[0]["base_debit"], rows[0]["rate"]) == ("1001", "46.75", "0.0467")
    assert rows[3]["summary"] == "'@SUM(A1)"


def test_beancount_takes_it_and_would_not_take_what_does_not_balance(tmp_path):
    assert bean_check(tmp_path, FORMATS["beancount"].render(ALL, BOOK)) == (0, "")

    lines = [COLLECTED.lines[0], replace(COLLECTED.lines[1], credit_minor=9_939)]
    broken = [replace(COLLECTED, lines=lines)]
    code, said = bean_check(tmp_path, FORMATS["beancount"].render(broken, BOOK))
    assert code == 1
    assert "Transaction does not balance" in said


def bean_check(folder, content):
    """Return the exit code and the words of bean-check about a file."""
    file = folder / "day.beancount"
    file.write_bytes(content)
    program = Path(sys.executable).with_name("bean-check")
    ran = subprocess.run([program, "--no-cache", file], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def sheet(content):
    """Return the cells of the first sheet of an .xlsx file as texts."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        shared = ET.fromstring(parts.read("xl/sharedStrings.xml"))
        root = ET.fromstring(parts.read("xl/worksheets/sheet1.xml"))
    texts = ["".join(one.itertext()) for one in shared]
    assert not list(root.iter(f"{space}f")), "a formula"

    def text(cell):
        value = cell.findtext(f"{space}v", "")
        return texts[int(value)] if cell.get("t") == "s" else value

    return [[text(cell) for cell in row] for row in root.iter(f"{space}row")]
