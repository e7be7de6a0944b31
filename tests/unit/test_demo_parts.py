"""The demo's own parts: its plan, its files, its receiver."""

import asyncio
import json
import resource
from dataclasses import replace

import aiohttp
import pytest

from checker.evidence import Call, Told
from demo.drain import waiting
from demo.history import History
from demo.journal import Journal
from demo.plan import CHARGE_FAULTS, REFUND_FAULTS, Story, plan
from demo.receiver import Receiver, is_signed, sign
from demo.resume import left_behind
from mesh.clock import real_seconds
from tests.simulator import free_port
from tests.unit.forgery import changed, is_a, true_world

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def test_a_plan_follows_from_its_seed_and_holds_every_story():
    """The same again, another one with another seed, 120 with every story."""
    orders = plan(120, seed=7, run=1)
    assert orders == plan(120, seed=7, run=1) != plan(120, seed=8, run=1)
    assert {order.story for order in orders} == set(Story)
    assert len({order.trace_no for order in orders}) == len(orders) == 120
    assert len(plan(3, seed=1, run=2)) == 3


@pytest.mark.parametrize("seed", range(20))
def test_only_the_stories_of_faults_have_amounts_that_make_them(seed):
    """The simulator goes by the last two digits, of charges and of refunds."""
    for order in plan(200, seed=seed, run=1):
        digits = order.amount_minor % 100
        assert digits == CHARGE_FAULTS.get(order.story, min(digits, 89)), order
        for amount in order.refunds:
            if order.story is not Story.REFUND_TOO_MUCH:
                fault = REFUND_FAULTS.get(order.story, min(amount % 100, 89))
                assert amount % 100 == fault, order
                assert 0 < amount <= order.amount_minor, order


def test_what_was_broken_off_before_its_close_is_closed_by_the_next_run():
    """Not what is closed, what was refused, or what a payer or the time brings to an end."""
    paid = Call(seq=1, story="close_unpaid", verb="PayTrade", app="MALL", trace_no="MALL-R1-1",
                number="R1-1-P1", amount_minor=7702, currency_code="CNY")  # fmt: skip
    closing = replace(paid, verb="CloseTrade", number="R1-1-C")
    assert [order.order_no for order in left_behind([paid])] == ["R1-1"]
    assert left_behind([paid, closing])[0].trace_no == "MALL-R1-1"
    assert left_behind([paid, replace(closing, answer=Told(code="UNAVAILABLE"))])
    assert not left_behind([paid, closing, replace(closing, answer=Told(code="OK"))])
    assert not left_behind([paid, replace(closing, answer=Told(code="FAILED_PRECONDITION"))])
    assert not left_behind([replace(paid, story="expire_unpaid"), replace(paid, story="qr")])


async def test_a_history_survives_the_process_that_wrote_it(tmp_path):
    """Calls are read back by the next run, which goes on counting; a torn line is cut off."""
    path = tmp_path / "history.jsonl"
    first = Call(seq=1, story="qr", verb="PayTrade", app="MALL", trace_no="MALL-1", number="1",
                 amount_minor=5, currency_code="CNY")  # fmt: skip
    history = History(path)
    assert history.take_seq() == 1
    await asyncio.gather(*(history.sent(replace(first, seq=seq)) for seq in range(1, 40)))
    await history.answered(1, Told(code="OK", trade_no="T1"))
    history.close()
    with path.open("a") as file:
        file.write('{"sent": {"seq": 40')
    again = History(path)
    assert [call.seq for call in again.calls()] == list(range(1, 40))
    assert again.calls()[0].answer == Told(code="OK", trade_no="T1")
    assert again.take_seq() == 40
    await again.sent(replace(first, seq=40))
    assert len(again.calls()) == 40
    again.close()


async def test_a_disk_that_refuses_is_told_to_every_writer(tmp_path):
    """Nobody may believe that its line is kept; later lines are, when there is room again."""
    journal = Journal(tmp_path / "lines")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        results = await asyncio.gather(
            *(journal.append(letter * 10) for letter in "abc"), return_exceptions=True
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [type(result) for result in results] == [OSError] * 3
    await journal.append("later")
    assert journal.lines()[-1].endswith("later\n")
    journal.close()


def test_a_signature_holds_for_these_bytes_and_this_moment():
    """Another body, secret, id or an old timestamp is refused."""
    now = str(real_seconds())
    signature = sign(SECRET, webhook_id="whk_1", timestamp=now, body=b"{}")
    headers = {"webhook-id": "whk_1", "webhook-timestamp": now, "webhook-signature": signature}
    assert is_signed(SECRET, headers, b"{}")
    assert is_signed(SECRET, headers | {"webhook-signature": f"v1,old {signature}"}, b"{}")
    assert not is_signed(SECRET, headers, b"{ }")
    assert not is_signed("whsec_AAAA", headers, b"{}")
    assert not is_signed(SECRET, headers | {"webhook-id": "whk_2"}, b"{}")
    assert not is_signed(SECRET, {}, b"{}")
    old = str(real_seconds() - 301)
    signature = sign(SECRET, webhook_id="whk_1", timestamp=old, body=b"{}")
    late = headers | {"webhook-timestamp": old, "webhook-signature": signature}
    assert not is_signed(SECRET, late, b"{}")


async def test_a_receiver_writes_down_what_came_and_refuses_the_first_ones(tmp_path):
    """The first of two ids get a 500 once, so that they are repeated; a stranger gets a 401."""
    journal, port = Journal(tmp_path / "webhooks.jsonl"), free_port()
    receiver = Receiver(journal, port=port, secrets={"MALL": SECRET}, refuse=2)
    async with receiver, aiohttp.ClientSession() as session:

        async def send(webhook_id, *, secret=SECRET, app="MALL"):
            now = str(real_seconds())
            data = {"traceNo": "MALL-1", "state": "STATE_PAID"}
            body = json.dumps({"id": f"{webhook_id}:1", "type": "trade.paid", "data": data})
            headers = {
                "webhook-id": webhook_id,
                "webhook-timestamp": now,
                "webhook-signature": sign(
                    secret, webhook_id=webhook_id, timestamp=now, body=body.encode()
                ),
            }
            url = f"http://127.0.0.1:{port}/webhooks/{app}"
            async with session.post(url, data=body, headers=headers) as reply:
                return reply.status

        assert [await send("a"), await send("a"), await send("a")] == [500, 200, 200]
        assert [await send("b"), await send("b")] == [500, 200]
        assert await send("c") == 200
        assert await send("d", secret="whsec_AAAA") == 401
        assert await send("e", app="NOBODY") == 401
    found = receiver.deliveries()
    assert [one.answered for one in found] == [500, 200, 200, 500, 200, 200, 401, 401]
    assert [one.signed for one in found] == [True] * 6 + [False] * 2
    assert found[0].number == "a"
    journal.close()


def test_a_trace_is_quiet_when_nothing_in_it_goes_on_by_itself():
    """Open payments, refunds, attempts and webhooks go on; cases and unpaid trades do not."""
    truth = true_world()
    assert not any(waiting(entries) for entries in truth.traces.values())
    for kind in (is_a("payment", "payment"), is_a("payment", "refund"), is_a("trade", "refund"),
                 is_a("channel", "attempt")):  # fmt: skip
        assert waiting(changed(truth, "MALL-qr", kind, state="PROCESSING").traces["MALL-qr"])
    pending = changed(truth, "MALL-qr", is_a("trade", "webhook"), state="PENDING")
    assert waiting(pending.traces["MALL-qr"])
    unbooked = [one for one in truth.traces["MALL-qr"] if one.service != "ledger"]
    assert waiting(unbooked), "a success whose booking is still to come"
