"""Closed days on their way into the general ledger: files, and what became of each voucher."""

import asyncio
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from ledger.flow.close_day import close_day
from ledger.flow.export_vouchers import export_vouchers
from ledger.flow.list_pushes import list_pushes
from ledger.flow.open_account import open_account
from ledger.flow.record_pushes import record_pushes
from ledger.gl import FORMATS
from ledger.gl.voucher import GlBook
from ledger.store.push import PushState, Told, VoucherKey
from mesh.errors import Refused
from mesh.lists import Page
from tests.service.ledger.books import BOOK, RED, connect, post, reverse, transfer, waiting
from tests.service.ledger.days import closed_day, next_day
from tests.service.ledger.events import CLEARING, PENDING, booked, open_all, posting
from tests.unit.test_gl_formats import bean_check

PUSHED, ACCEPTED, REJECTED = PushState.PUSHED, PushState.ACCEPTED, PushState.REJECTED
RATES = GlBook(rates={"JPY": Decimal("0.0467")})


async def a_day(desk):
    """Return a closed day with two vouchers in yuan and one in yen, and their keys."""
    await open_all(desk)
    for account in (PENDING, CLEARING):
        await open_account(desk, replace(account, currency_code="JPY"))
    events = [
        posting("COLLECTED"), posting("COLLECTED", currency_code="JPY"), posting("REFUND_ASKED"),
    ]  # fmt: skip
    assert await booked(desk, *events) == ["posted"] * 3
    day = await closed_day(desk)
    return day, [key(day, 3), key(day, 3, "JPY"), key(day, 5)]


def key(day, code, currency_code="CNY"):
    return VoucherKey(book_id=BOOK, acct_date=day, template_code=code, currency_code=currency_code)


def told(state, request_id="r1", *, again=False, cause="", voucher_no="", fingerprint=b"1"):
    return Told(
        state=state,
        voucher_no=voucher_no,
        cause=cause,
        again=again,
        actor="op:admin",
        request_id=request_id,
        fingerprint=fingerprint,
    )


async def exported(desk, day, name="csv", *, include_pushed=False, general_ledger=RATES):
    return await export_vouchers(
        desk,
        book_id=BOOK,
        acct_date=day,
        format_name=name,
        general_ledger=general_ledger,
        include_pushed=include_pushed,
    )


async def states(desk, *wanted, size=50, after=""):
    """Return key and state of a page."""
    page = Page(size=size, after=after, scope=b"x" * 9)
    found, _ = await list_pushes(desk, book_id=BOOK, states=wanted, page=page)
    return [(str(one.key), one.state) for one in found]


async def test_a_closed_day_goes_out_in_every_format_and_beancount_takes_it(desk, tmp_path):
    day, keys = await a_day(desk)

    files = {name: await exported(desk, day, name) for name in FORMATS}

    assert all(one.content and one.left_out == 0 for one in files.values())
    assert {tuple(one.keys) for one in files.values()} == {tuple(str(one) for one in keys)}
    assert files["yonyou-u8"].file_name == f"tongbao-1-{day:%Y%m%d}.txt"
    models = json.loads(files["kingdee-cloud"].content)["Model"]
    assert [model["FBILLNO"] for model in models] == [str(one) for one in keys]
    assert bean_check(tmp_path, files["beancount"].content) == (0, "")


async def test_what_is_pushed_is_left_out_until_it_is_rejected(desk):
    day, keys = await a_day(desk)

    await record_pushes(desk, keys[:2], told(PUSHED))
    assert (await exported(desk, day)).keys == [str(keys[2])]
    assert (await exported(desk, day)).left_out == 2
    assert len((await exported(desk, day, include_pushed=True)).keys) == 3

    await record_pushes(desk, keys[:1], told(ACCEPTED, "r2", voucher_no="7"))
    await record_pushes(desk, keys[1:2], told(REJECTED, "r3", cause="no such subject"))
    assert (await exported(desk, day)).keys == [str(keys[1]), str(keys[2])]

    [pushed], known = await record_pushes(desk, keys[1:2], told(PUSHED, "r4"))
    assert (pushed.state, pushed.pushes, known) == (PUSHED, 2, False)


async def test_nothing_is_pushed_twice_silently(desk):
    """Again only by name, and what was accepted never."""
    _, [voucher, other, _] = await a_day(desk)
    await record_pushes(desk, [voucher], told(PUSHED))

    with pytest.raises(Refused) as refused:
        await record_pushes(desk, [other, voucher], told(PUSHED, "r2"))
    assert refused.value.reason == "PUSH_REFUSED"
    assert refused.value.facts["external_key"] == str(voucher)
    assert (await states(desk, PUSHED)) == [(str(voucher), PUSHED)]  # All of them or none.

    again = told(PUSHED, "r3", again=True, cause="the import was interrupted")
    [pushed], _ = await record_pushes(desk, [voucher], again)
    assert (pushed.pushes, pushed.cause) == (2, "the import was interrupted")
    await record_pushes(desk, [voucher], told(ACCEPTED, "r4"))
    with pytest.raises(Refused, match="push refused"):
        await record_pushes(desk, [voucher], told(PUSHED, "r5", again=True, cause="why not"))


@pytest.mark.parametrize("state", [ACCEPTED, REJECTED])
async def test_what_was_never_pushed_has_no_answer(desk, state):
    _, keys = await a_day(desk)
    with pytest.raises(Refused, match="push refused") as refused:
        await record_pushes(desk, keys, told(state))
    assert refused.value.facts["state"] == "pending"


async def test_a_voucher_that_is_not_there_comes_before_one_that_may_not(desk):
    day, keys = await a_day(desk)
    await record_pushes(desk, keys, told(PUSHED))
    for stranger in (key(day, 4), key(date(2026, 1, 1), 3), key(day, 3, "USD")):
        with pytest.raises(Refused, match="voucher not found") as refused:
            await record_pushes(desk, [*keys, stranger], told(PUSHED, "r2"))
        assert refused.value.facts["external_key"] == str(stranger)


async def test_a_request_is_carried_out_once_also_by_two_at_once(desk, dsn):
    """Both wait for the day; the second finds what the first one wrote."""
    day, keys = await a_day(desk)
    with connect(dsn) as holder, holder.transaction():
        holder.execute("SELECT FROM book_day WHERE acct_date = %s FOR NO KEY UPDATE", [day])
        both = [asyncio.ensure_future(record_pushes(desk, keys, told(PUSHED))) for _ in range(2)]
        await waiting(dsn, 2)
    results = await asyncio.gather(*both)

    assert sorted(known for _, known in results) == [False, True]
    assert [one.pushes for one in results[0][0]] == [1, 1, 1]
    with pytest.raises(Refused, match="request reused"):
        await record_pushes(desk, keys[:1], told(ACCEPTED, fingerprint=b"2"))


async def test_pages_lead_through_all_days_the_newest_first(desk):
    first, keys = await a_day(desk)
    await booked(desk, posting("COLLECTED"))
    second = await next_day(desk)
    await close_day(desk, book_id=BOOK, acct_date=second)

    every = await states(desk)
    assert [name for name, _ in every] == [str(key(second, 3)), *(str(one) for one in keys)]
    paged = await states(desk, size=2)
    position = f"{first:%Y%m%d}_3_CNY"
    paged += await states(desk, size=50, after=position)
    assert paged == every


@pytest.mark.parametrize("verb", ["UPDATE voucher_push SET cause = 'x'", "DELETE FROM voucher_push",
                                  "TRUNCATE voucher_push"])  # fmt: skip
async def test_what_was_said_stays(desk, dsn, verb):
    _, keys = await a_day(desk)
    await record_pushes(desk, keys, told(PUSHED))
    with (
        connect(dsn) as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute(verb)


async def test_a_day_that_is_not_closed_does_not_go_out(desk):
    await open_all(desk)
    day = await next_day(desk)
    with pytest.raises(Refused, match="day not closed"):
        await exported(desk, day)


async def test_a_voucher_that_comes_to_nothing_keeps_nobody_from_exporting(desk, dsn):
    """An entry and its red one 红字 on one day; and a yen that is less than half a fen."""
    await open_all(desk)
    for account in (PENDING, CLEARING):
        await open_account(desk, replace(account, currency_code="JPY"))
    small = {"amount_minor": 1, "fee_minor": 0, "cost_minor": 0, "currency_code": "JPY"}
    await booked(desk, posting("COLLECTED"), posting("COLLECTED", **small))
    with connect(dsn) as connection:
        first, second = [
            row[0]
            for row in connection.execute(
                "SELECT account_id FROM account WHERE kind IN ('suspense', 'duplicate') "
                "AND currency_code = 'CNY' ORDER BY 1"
            )
        ]
        made = transfer(first, second, 500, 1024)
        assert post(connection, made, reverse(made, RED | 1024, 500)) == [0, 0]
    day = await closed_day(desk)

    book = GlBook(rates={"JPY": Decimal("0.004")})
    for name in FORMATS:
        found = await exported(desk, day, name, general_ledger=book)
        wanted = [str(key(day, 3))] + [str(key(day, 3, "JPY"))] * (not FORMATS[name].in_base)
        assert found.keys == wanted, name


async def test_a_rate_that_is_missing_is_asked_for(desk):
    day, _ = await a_day(desk)
    with pytest.raises(Refused, match="vouchers unfit") as refused:
        await exported(desk, day, "yonyou-u8", general_ledger=GlBook())
    assert "no rate from JPY to CNY" in refused.value.facts["problem"]
