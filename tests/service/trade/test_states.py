"""The tables of moves are total, reachable, those of the contract, and kept by the database."""

from __future__ import annotations

import psycopg
import pytest

from mesh.states import Illegal
from tests.service.trade.shop import Shop, World
from tongbao.trade.v1 import trade_pb2
from trade.states import (
    REFUND,
    TRADE,
    WEBHOOK,
    PayState,
    RefundEvent,
    RefundState,
    TradeEvent,
    TradeState,
    WebhookEvent,
    WebhookState,
)

MACHINES = [
    (TRADE, TradeState, TradeEvent),
    (REFUND, RefundState, RefundEvent),
    (WEBHOOK, WebhookState, WebhookEvent),
]
each_machine = pytest.mark.parametrize(
    ("machine", "states", "events"), MACHINES, ids=[machine.name for machine, *_ in MACHINES]
)


@each_machine
def test_every_pair_has_one_answer(machine, states, events):
    """Each (state, event) either moves or is refused; nothing is left open."""
    moves = {(source, event): target for source, event, target in machine.rows}
    for state in states:
        for event in events:
            assert machine.allows(state, event) == ((state, event) in moves)
            if (state, event) in moves:
                assert machine.next(state, event) is moves[state, event]
            else:
                with pytest.raises(Illegal):
                    machine.next(state, event)


@each_machine
def test_every_state_can_be_reached(machine, states, events):
    """No state exists that no event leads to, and no event that never happens."""
    assert {machine.initial} | {target for *_, target in machine.rows} == set(states)
    assert {event for _, event, _ in machine.rows} == set(events)


MIRRORED = [
    (TradeState, trade_pb2.Trade.State, set()),
    (RefundState, trade_pb2.Refund.State, set()),
    (PayState, trade_pb2.PaymentView.State, {"none"}),
]


@pytest.mark.parametrize(("ours", "contract", "own"), MIRRORED, ids=["trade", "refund", "payment"])
def test_code_and_contract_name_the_same_states(ours, contract, own):
    """They differ by the prefix and by what is never sent."""
    names = {name.removeprefix("STATE_").lower() for name in contract.keys()}  # noqa: SIM118
    assert names - {"unspecified"} == {state.value for state in ours} - own


def test_a_trade_is_completed_only_after_it_was_paid():
    """COMPLETED is the one state that nothing leads away from."""
    assert TRADE.final == {TradeState.COMPLETED}
    assert [source for source, _, target in TRADE.rows if target is TradeState.COMPLETED] == [
        TradeState.PAID
    ]


MOVES = [
    # table     key          from one state…  …to another, which no table has
    ("trade", "trade_no", "paid", "closed"),
    ("trade", "trade_no", "paid", "paying"),
    ("refund", "refund_no", "succeeded", "failed"),
]


async def test_the_database_refuses_what_the_tables_do_not_say(shop: Shop, world: World):
    """The trigger reads the same rows as the code."""
    trade = await shop.paid()
    refund = (await shop.refund(trade, 300)).message.refund
    numbers = {"trade": trade.trade_no, "refund": refund.refund_no}
    for table, key, source, target in MOVES:
        found = f"{key} = '{numbers[table]}' AND state = '{source}'"
        assert world.trade.rows(f"SELECT 1 FROM {table} WHERE {found}") == [(1,)]
        with pytest.raises(psycopg.errors.RaiseException, match="illegal move"):
            world.trade.rows(f"UPDATE {table} SET state = '{target}' WHERE {found}")
