"""What channel has of a trace."""

from tests.service.channel.world import BALANCE, World, leg, refund_of


async def test_a_trace_holds_its_attempts_and_callbacks_oldest_first(world: World) -> None:
    """Those of the app, with everything that is worth knowing."""
    paid, attempt = await world.paid(trace_no="MALL-7")
    refund = await world.attempted(refund_of(paid, trace_no="MALL-7"))
    await world.until(refund.attempt_no, "succeeded")

    entries = await world.entries("MALL-7")

    assert [(entry.kind, entry.state) for entry in entries] == [
        ("attempt", "SUCCEEDED"),
        ("callback", ""),
        ("attempt", "SUCCEEDED"),
        ("callback", ""),
    ]
    charge, callback, back, _ = entries
    assert {entry.service for entry in entries} == {"channel"}
    assert (charge.number, back.number) == (attempt.attempt_no, refund.attempt_no)
    assert (charge.amount.minor_units, charge.amount.currency_code) == (1000, "CNY")
    assert charge.facts["channel_code"] == "sim-a"
    assert charge.facts["leg_no"] == paid.leg_no
    assert charge.facts["cost_minor"] == "6"
    assert charge.facts["provider_no"].startswith("sim-a-")
    assert back.facts["original_attempt_no"] == attempt.attempt_no
    assert callback.facts == {
        "attempt_no": attempt.attempt_no,
        "channel_code": "sim-a",
        "verdict": "succeeded",
    }
    assert not charge.HasField("due_time")


async def test_what_is_open_says_when_it_is_looked_at_next(world: World) -> None:
    """An attempt that waits for its payer."""
    await world.simulator.rule("lost_callback", op="charge")
    await world.attempted(leg(trace_no="MALL-8"))

    [entry] = await world.entries("MALL-8")

    assert entry.state == "PROCESSING"
    assert entry.due_time.ToDatetime() > entry.create_time.ToDatetime()


async def test_another_app_sees_nothing_of_it(world: World) -> None:
    """Also when it knows the trace number."""
    await world.attempted(leg(tool=BALANCE, user_no="u1", trace_no="MALL-9"))

    assert len(await world.entries("MALL-9")) == 1
    assert await world.entries("MALL-9", app_id="shop") == []
    assert await world.entries("MALL-10") == []
