"""Defects seen in other systems, about telling and going on. Sentences: docs/requirements.md."""

from tests.defects.mall import Mall
from tests.waiting import eventually


async def test_defect_07_a_lost_notification_is_never_found_again(mall: Mall):
    """The provider's callback is lost, and the receiver is down for hours: both are made good."""
    mall.receiver.then(500, 500, 500)
    trade = await mall.order(17_790)  # Nobody calls back.
    await mall.shift("1 minute")
    trade = await mall.until(trade, "paid")

    for tries in (1, 2, 3):
        await eventually(lambda count=tries: len(mall.receiver.came) == count)
        await mall.shift("1 hour")

    sql = "SELECT state FROM webhook"
    await eventually(lambda: mall.services["trade"].rows(sql) == [("delivered",)])
    assert len(mall.receiver.came) == 4
    assert len({(one.id, one.body) for one in mall.receiver.came}) == 1


async def test_defect_08_a_webhook_carries_a_stale_state(mall: Mall):
    """The body is the state of the version in its id, written with the move."""
    trade = await mall.until(await mall.order(20_000), "paid")
    await eventually(lambda: mall.told(trade) == ["trade.paid"])
    [paid] = [one for one in mall.receiver.came if one.id.startswith(trade.trade_no)]
    number, _, version = paid.id.partition(":")
    assert (number, paid.content["data"]["state"]) == (trade.trade_no, "STATE_PAID")
    assert str(paid.content["data"]["version"]) == version
    assert paid.is_signed(mall.shop.webhook_secret)


async def test_defect_14_an_acknowledged_event_is_lost_and_nobody_notices(mall: Mall):
    """A wiped or rolled-back broker: tests/mesh/test_outbox.py. Here: told again, done once."""
    trade = await mall.until(await mall.order(20_000), "paid")
    await eventually(lambda: mall.told(trade) == ["trade.paid"])
    await eventually(lambda: mall.books().get("fee_income::CNY"))
    before = mall.books()

    for service in ("ledger", "trade", "risk", "settlement"):
        await mall.ground.deliver_again(service, source="payment")
    again = await mall.until(await mall.order(30_000), "paid")
    await eventually(lambda: mall.told(again) == ["trade.paid"])
    await eventually(lambda: mall.books().get("fee_income::CNY") == 120 + 180)

    assert before["fee_income::CNY"] == 120
    assert mall.told(trade) == ["trade.paid"]
    assert mall.services["settlement"].rows("SELECT count(*) FROM clearing_item") == [(2,)]
    await mall.proves()


async def test_defect_15_an_interrupted_run_starts_from_zero(mall: Mall):
    """Reconciliation is to come; clearing that was interrupted goes on where it stopped."""
    done = [await mall.until(await mall.order(10_000 + n), "paid") for n in range(3)]
    rows = mall.services["settlement"].rows
    await eventually(lambda: rows("SELECT count(*) FROM clearing_item") == [(3,)])
    seen = rows("SELECT source_no, version, update_time FROM clearing_item ORDER BY source_no")

    await mall.ground.deliver_again("settlement", source="payment")
    await mall.until(await mall.order(10_010), "paid")
    await eventually(lambda: rows("SELECT count(*) FROM clearing_item") == [(4,)])

    kept = rows("SELECT source_no, version, update_time FROM clearing_item ORDER BY source_no")
    assert [one for one in kept if one in seen] == seen
    assert len(done) == 3
