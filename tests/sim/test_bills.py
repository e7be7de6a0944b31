"""The provider's bills: what moved that day and nothing else, but for what was planted."""

import csv
import hashlib
import io
from datetime import date, timedelta

import aiohttp
import pytest

from tests.simulator import Inbox, Simulator, charge, new_number, open_inbox, start_simulator
from tests.waiting import eventually

FEE_PPM = 6000
LINE_COLUMNS = [
    "time", "type", "provider_no", "order_no", "original_order_no", "state",
    "currency", "amount", "fee", "net", "attach",
]  # fmt: skip


@pytest.fixture
async def simulator(tmp_path):
    async with start_simulator(tmp_path, pay_delay_ms=5) as running:
        yield running


@pytest.fixture
async def inbox():
    async with open_inbox() as opened:
        yield opened


async def today(simulator: Simulator) -> date:
    """The provider's business day."""
    return (await simulator.now() + timedelta(hours=8)).date()


async def morning(simulator: Simulator) -> date:
    """Nine in the morning of a new business day, so that no test is cut by midnight."""
    at = await simulator.now() + timedelta(hours=8)
    start = at.replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)
    await simulator.advance(seconds=int((start - at).total_seconds()) + 1)
    return start.date()


async def next_noon(simulator: Simulator) -> None:
    """When the bill of the day that was is there."""
    await simulator.advance(hours=27)


async def paid(simulator: Simulator, inbox: Inbox, amount_minor: int = 1000, **other) -> str:
    asked = charge(inbox, amount_minor, **other)
    await simulator.call("POST", "/v1/charges", asked)
    await ended(simulator, "charges", asked["charge_no"])
    return asked["charge_no"]


async def refunded(simulator: Simulator, inbox: Inbox, number: str, amount_minor: int) -> str:
    asked = {
        "refund_no": new_number("RF"),
        "charge_no": number,
        "amount_minor": amount_minor,
        "currency": "CNY",
        "notify_url": inbox.url,
    }
    await simulator.call("POST", "/v1/refunds", asked)
    await ended(simulator, "refunds", asked["refund_no"])
    return asked["refund_no"]


async def ended(simulator: Simulator, kind: str, number: str) -> None:
    async def has() -> bool:
        return (await simulator.call("GET", f"/v1/{kind}/{number}"))[1]["state"] != "PENDING"

    await eventually(has)


def rows(bill: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(bill.decode(), newline="")))


def lines(bill: bytes) -> list[dict[str, str]]:
    return [dict(zip(LINE_COLUMNS, row, strict=True)) for row in rows(bill)
            if not row[0].startswith("#") and row != LINE_COLUMNS]  # fmt: skip


async def plant(simulator: Simulator, day: date, difference: str, **other) -> None:
    said = {"acquirer": "sim-a", "date": str(day), "difference": difference} | other
    await simulator.control("plant", said)


async def test_a_bill_has_what_moved_that_day_to_the_cent(simulator, inbox):
    """Payments with their fee, refunds, what was taken back, what was paid twice; not a failure."""
    day = await morning(simulator)
    whole = await paid(simulator, inbox, 1250, attach="MALL-1")
    given = await refunded(simulator, inbox, whole, 250)
    await paid(simulator, inbox, 1094)  # Refused by the payer's bank.
    twice = await paid(simulator, inbox, 17_704)
    back = await paid(simulator, inbox, 17_705)
    yen = await paid(simulator, inbox, 500, currency="JPY")
    await paid(simulator, inbox, 999, attach='x, "y"')
    await inbox.wait_for(lambda: len(inbox.about(back)) == 2 and len(inbox.about(twice)) == 2)
    await next_noon(simulator)

    bill = await simulator.bill(day)

    found = {(row["type"], row["order_no"], row["amount"], row["fee"], row["net"])
             for row in lines(bill)}  # fmt: skip
    assert {
        ("PAYMENT", whole, "12.50", "0.08", "12.42"),  # 7.5 is 8.
        ("REFUND", given, "-2.50", "0.00", "-2.50"),
        ("PAYMENT", twice, "177.04", "1.06", "175.98"),
        ("PAYMENT", back, "177.05", "1.06", "175.99"),
        ("PAYMENT_REVERSAL", back, "-177.05", "-1.06", "-175.99"),
        ("PAYMENT", yen, "500", "3", "497"),
    } <= found
    assert len([row for row in lines(bill) if row["order_no"] == twice]) == 2
    assert len({row["provider_no"] for row in lines(bill) if row["order_no"] == twice}) == 2
    [refund] = [row for row in lines(bill) if row["type"] == "REFUND"]
    assert refund["original_order_no"] == whole
    assert {row["attach"] for row in lines(bill)} >= {"MALL-1", 'x, "y"'}
    assert len(lines(bill)) == 8
    times = [row["time"] for row in lines(bill)]
    assert times == sorted(times)
    assert all(time.startswith(f"{day} ") for time in times)


async def test_head_and_totals_are_those_of_the_lines(simulator, inbox):
    """Exactly these rows, in CRLF."""
    day = await morning(simulator)
    number = await paid(simulator, inbox, 1000)
    await refunded(simulator, inbox, number, 400)
    await next_noon(simulator)
    bill = await simulator.bill(day)
    assert bill.count(b"\r\n") == bill.count(b"\n") == 12
    told = rows(bill)
    assert told[:6] == [
        ["#bill", "sim", "1"],
        ["#account", "sim-a"],
        ["#bill_date", str(day)],
        ["#zone", "+08:00"],
        ["#made", f"{day + timedelta(days=1)} 10:00:00"],
        LINE_COLUMNS,
    ]
    assert told[8:] == [
        ["#total", "currency", "type", "count", "amount", "fee", "net"],
        ["#total", "CNY", "PAYMENT", "1", "10.00", "0.06", "9.94"],
        ["#total", "CNY", "REFUND", "1", "-4.00", "0.00", "-4.00"],
        ["#end", "2"],
    ]


async def test_a_bill_is_not_there_before_its_time(simulator, inbox):
    """Ten o'clock of the next day; a day without money has none."""
    day = await morning(simulator)
    await paid(simulator, inbox)
    for early in (day, day + timedelta(days=400)):
        status, said = await simulator.call("GET", f"/v1/bills/{early}")
        assert (status, said["code"]) == (409, "BILL_NOT_READY")
    assert (await simulator.call("GET", f"/v1/bills/{day}"))[1]["ready_time"].endswith(
        "T02:00:00.000Z"
    )
    await simulator.advance(hours=24)
    assert (await simulator.call("GET", f"/v1/bills/{day}"))[0] == 409
    await simulator.advance(hours=1)
    assert (await simulator.call("GET", f"/v1/bills/{day}"))[0] == 200
    empty = await simulator.call("GET", f"/v1/bills/{day - timedelta(days=9)}")
    assert empty == (404, {"code": "NO_BILL"})
    assert await simulator.call("GET", f"/v1/bills/{day}", acquirer="sim-b") == empty
    wrong = await simulator.call("GET", "/v1/bills/2026-02-30")
    assert wrong == (400, {"code": "INVALID_PARAMETER", "field": "bill_date"})
    assert await simulator.call("GET", "/v1/bills/soon") == (404, {"code": "UNKNOWN_PATH"})


async def test_only_who_has_the_address_gets_the_file(simulator, inbox):
    """Another file by the same token, another hour, or nothing at all: no."""
    day = await morning(simulator)
    await paid(simulator, inbox)
    await next_noon(simulator)
    _, said = await simulator.call("GET", f"/v1/bills/{day}")
    url = simulator.base_url() + said["url"]
    bare = url.partition("?")[0]
    wrong = [bare, url[:-1], url.replace(str(day), str(day + timedelta(days=1))),
             url.replace("expires=", "expires=9")]  # fmt: skip
    for one in wrong:
        async with simulator.session.get(one) as reply:
            assert reply.status == 403, one
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        first = await (await session.get(url)).read()
        assert first == await (await session.get(url)).read()
    assert first.startswith(b"\x1f\x8b")


async def test_a_bill_keeps_its_bytes_for_ever(simulator, inbox):
    """After a kill, after other bills, after more orders."""
    day = await morning(simulator)
    for _ in range(3):
        await paid(simulator, inbox)
    await plant(simulator, day, "other_amount", times=1, by_minor=7)
    await next_noon(simulator)
    bill = await simulator.bill(day)
    planted = await simulator.told("planted")
    await paid(simulator, inbox)
    await simulator.restart()
    late = {"acquirer": "sim-a", "date": str(day), "difference": "missing"}
    assert "is out" in await simulator.control("plant", late, expect=409)
    assert await simulator.told("planted") == planted
    assert await simulator.bill(day) == bill
    await next_noon(simulator)
    assert await simulator.bill(day + timedelta(days=1)) != bill
    assert await simulator.bill(day) == bill


@pytest.mark.parametrize(
    ("difference", "count", "changes"),
    [
        ("missing", 2, {}),
        ("other_amount", 3, {"amount": "11.00", "net": "10.94"}),
        ("other_fee", 3, {"fee": "0.07", "net": "9.93"}),
        ("other_state", 3, {"state": "PROCESSING"}),
        ("duplicate", 4, {}),
    ],
)
async def test_a_planted_difference_is_in_the_bill_and_on_the_list(
    simulator, inbox, difference, count, changes
):
    """The one line that was named, changed in nothing else; truth and bill side by side."""
    day = await morning(simulator)
    number = await paid(simulator, inbox)
    for _ in range(2):
        await paid(simulator, inbox)
    await plant(simulator, day, difference, match={"number": number})
    await next_noon(simulator)
    found = lines(await simulator.bill(day))
    [planted] = await simulator.told("planted")
    assert len(found) == count
    own = [row for row in found if row["order_no"] == number]
    assert (planted["difference"], planted["number"], planted["bill_date"]) == (
        difference,
        number,
        str(day),
    )
    truth = planted["truth"]
    assert (truth["amount"], truth["fee"], truth["state"]) == ("10.00", "0.06", "SUCCEEDED")
    if difference == "missing":
        assert own == []
        assert planted["bill"] is None
    else:
        assert own == [truth | changes] * (2 if difference == "duplicate" else 1)
        assert planted["bill"] == own[0]


async def test_a_line_about_nothing_is_nobodys_order(simulator, inbox):
    """As many as are asked for, each with numbers of its own; on a day without money, too."""
    day = await morning(simulator)
    await plant(simulator, day, "extra", times=2, by_minor=4242)
    await next_noon(simulator)
    found = lines(await simulator.bill(day))
    assert [row["amount"] for row in found] == ["42.42", "42.42"]
    assert len({row["order_no"] for row in found}) == 2
    assert all(one["truth"] is None for one in await simulator.told("planted"))
    assert await simulator.truth() == []


async def test_a_line_can_cross_midnight(simulator, inbox):
    """Missing today and there tomorrow; planted once, with both dates."""
    day = await morning(simulator)
    number = await paid(simulator, inbox)
    other = await paid(simulator, inbox)
    await plant(simulator, day, "cross_day", match={"number": number})
    await simulator.advance(hours=51)
    assert [row["order_no"] for row in lines(await simulator.bill(day))] == [other]
    tomorrow = day + timedelta(days=1)
    [crossed] = lines(await simulator.bill(tomorrow))
    assert (crossed["order_no"], crossed["time"]) == (number, f"{tomorrow} 00:00:00.000")
    [planted] = await simulator.told("planted")
    assert (planted["bill_date"], planted["other_bill_date"]) == (str(day), str(tomorrow))


async def test_a_share_of_the_lines_is_chosen_by_the_seed(simulator, inbox):
    """By the note of the caller; `times` cuts it; refunds alone, when they are named."""
    day = await morning(simulator)
    for n in range(30):
        number = await paid(simulator, inbox, attach=f"MALL-{n}")
    await refunded(simulator, inbox, number, 100)
    await simulator.control("seed", {"seed": 5})
    await plant(simulator, day, "missing", match={"share_ppm": 300_000, "type": "PAYMENT"})
    await plant(simulator, day, "other_amount", match={"type": "REFUND"}, by_minor=-1)
    await next_noon(simulator)
    found = lines(await simulator.bill(day))
    planted = await simulator.told("planted")
    gone = {one["truth"]["attach"] for one in planted if one["difference"] == "missing"}
    expected = {
        f"MALL-{n}"
        for n in range(30)
        if int.from_bytes(hashlib.sha256(f"5/{day}/0/MALL-{n}".encode()).digest()[:8]) % 10**6
        < 300_000
    }
    assert gone == expected
    assert gone
    assert len(found) == 31 - len(gone)
    assert [row["amount"] for row in found if row["type"] == "REFUND"] == ["-1.01"]


async def test_an_amount_can_ask_to_be_missing(simulator, inbox):
    """98: for who has no control port."""
    day = await morning(simulator)
    number = await paid(simulator, inbox, 1098)
    await paid(simulator, inbox)
    await next_noon(simulator)
    assert len(lines(await simulator.bill(day))) == 1
    [planted] = await simulator.told("planted")
    assert (planted["number"], planted["difference"]) == (number, "missing")


async def test_nothing_is_planted_into_a_bill_that_is_out(simulator, inbox):
    """Nor into the day before one that is, for a line may cross; nor what makes no sense."""
    day = await morning(simulator)
    await paid(simulator, inbox)
    await next_noon(simulator)
    await simulator.bill(day)
    for late in (day, day - timedelta(days=1)):
        said = {"acquirer": "sim-a", "date": str(late), "difference": "missing"}
        assert "is out" in await simulator.control("plant", said, expect=409)
    for wrong in ({"difference": "spelling"}, {"date": "soon"}, {"times": 0}, {"match": {"x": 1}},
                  {"by_minor": 1.5}, {"acquirer": "sim-z"}):  # fmt: skip
        said = {"acquirer": "sim-a", "date": "2030-01-01", "difference": "missing"} | wrong
        await simulator.control("plant", said, expect=400)
    assert await simulator.told("planted") == []
