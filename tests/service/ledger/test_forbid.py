"""Forbid: what was not booked never will be; what was booked stays."""

import asyncio

import pytest

from ledger.flow.forbid import forbid
from ledger.flow.post import post
from mesh.errors import Refused
from tests.service.ledger.books import connect, waiting
from tests.service.ledger.events import WALLET, booked, open_all, posting, standing


async def funded(desk):
    """A wallet with 10,000."""
    await open_all(desk)
    assert await booked(desk, posting("RECHARGED")) == ["posted"]


async def test_what_is_forbidden_is_never_booked(desk):
    """Refused with its own reason, however often it comes; no entry, no voucher."""
    await funded(desk)
    leg = posting("WALLET_PAID")

    assert not await forbid(desk, leg)
    assert not await forbid(desk, leg)

    assert await booked(desk, leg, leg) == ["refused FORBIDDEN"] * 2
    assert (await standing(desk))[WALLET.name] == 10_000


async def test_what_was_booked_cannot_be_forbidden(desk):
    """It says so, and the booking stays what it was."""
    await funded(desk)
    leg = posting("WALLET_PAID", amount_minor=4_000)
    assert await booked(desk, leg) == ["posted"]

    assert await forbid(desk, leg)

    assert await booked(desk, leg) == ["exists"]
    assert (await standing(desk))[WALLET.name] == 6_000


async def test_what_was_refused_keeps_its_reason(desk):
    """The first refusal is the one that is remembered."""
    await funded(desk)
    leg = posting("WALLET_PAID", amount_minor=10_001)
    assert await booked(desk, leg) == ["refused EXCEEDS_FLOOR"]

    assert not await forbid(desk, leg)

    assert await booked(desk, leg) == ["refused EXCEEDS_FLOOR"]


async def test_another_template_of_the_same_number_is_not_forbidden(desk):
    """What may not be taken may still be given back."""
    await funded(desk)
    leg = posting("WALLET_PAID", amount_minor=100)
    assert not await forbid(desk, leg)
    assert await booked(desk, posting("WALLET_REFUNDED", source_no=leg.source_no)) == ["posted"]


async def test_booking_and_forbidding_at_once_agree_who_was_first(desk, dsn):
    """Ten of each wait for the book; of every pair exactly one has its way."""
    await funded(desk)
    legs = [posting("WALLET_PAID", amount_minor=1) for _ in range(10)]
    with connect(dsn) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT 1 FROM book FOR UPDATE")
        booking = [asyncio.create_task(post(desk, [leg])) for leg in legs]
        forbidding = [asyncio.create_task(forbid(desk, leg)) for leg in legs]
        await waiting(dsn, 2)
        holder.execute("COMMIT")
    outcomes = [results[0].outcome for results in await asyncio.gather(*booking)]
    too_late = await asyncio.gather(*forbidding)

    assert [outcome == "posted" for outcome in outcomes] == too_late
    assert (await standing(desk))[WALLET.name] == 10_000 - too_late.count(True)


async def test_what_cannot_be_planned_cannot_be_forbidden(desk):
    """The same reasons as for booking it."""
    with pytest.raises(Refused) as refused:
        await forbid(desk, posting("WALLET_PAID", user_no=""))
    assert refused.value.reason == "FACT_MISSING"
