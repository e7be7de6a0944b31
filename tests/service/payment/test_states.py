"""The tables of moves: what the contract names, what the database lets through."""

from pathlib import Path

import pytest

import payment
from mesh.batch import Rejected
from payment.states import PAYMENT, REFUND, PaymentState, RefundState
from tests.service.payment.scene import seed, seed_refund, together
from tongbao.payment.v1 import payment_pb2

# decisions.md 20, word for word.
PAYMENT_MOVES = {
    "created": {"processing", "failed", "closed"},
    "processing": {"succeeded", "failed", "closed", "review"},
    "failed": {"review"},
    "closed": {"review"},
    "succeeded": {"review"},
    "review": {"succeeded", "closed"},
}
REFUND_MOVES = {
    "created": {"processing", "failed"},
    "processing": {"succeeded", "failed", "review"},
    "failed": {"review"},
    "succeeded": {"review"},
    "review": {"succeeded", "failed"},
}
OPEN = ("created", "processing")


@pytest.mark.parametrize(
    ("machine", "moves"),
    [(PAYMENT, PAYMENT_MOVES), (REFUND, REFUND_MOVES)],
    ids=["payment", "refund"],
)
def test_the_table_has_the_moves_we_decided_and_no_other(machine, moves):
    """Each state is reached, and each leads where the decision says."""
    found = {source.value: set() for source, _, _ in machine.rows}
    for source, _, target in machine.rows:
        found[source.value].add(target.value)
    assert found == moves
    assert {"created"}.union(*moves.values()) == set(moves)


@pytest.mark.parametrize(
    ("states", "message"), [(PaymentState, payment_pb2.Payment), (RefundState, payment_pb2.Refund)]
)
def test_code_and_contract_name_the_same_states(states, message):
    """They differ only by the prefix and UNSPECIFIED."""
    names = message.State.DESCRIPTOR.values_by_name
    wire = {name.removeprefix("STATE_").lower() for name in names}
    assert wire - {"unspecified"} == {state.value for state in states}


@pytest.mark.parametrize("machine", [PAYMENT, REFUND], ids=["payment", "refund"])
def test_the_readme_shows_the_table(machine):
    """The diagram is the one that the table draws."""
    readme = Path(payment.__file__).with_name("README.md").read_text()
    assert f"```mermaid\n{machine.mermaid().rstrip()}\n```" in readme


async def push(desk, table, number, state):
    """Write a state as SQL that forgot the rules would."""
    due = "now()" if state in OPEN else "NULL"
    sql = f"UPDATE {table} SET state = %(state)s, due_time = {due} WHERE {table}_no = %(number)s"
    await desk.db.rows(sql, state=state, number=number)


@pytest.mark.parametrize(
    ("table", "moves"), [("payment", PAYMENT_MOVES), ("refund", REFUND_MOVES)], ids=str
)
async def test_the_database_refuses_what_the_table_lacks(desk, table, moves):
    """Every pair of states is tried: the trigger lets through what the table has, no more."""
    payment_no = await seed(desk)
    for source in moves:
        for target in set(moves) - {source}:
            if table == "payment":
                number = await seed(desk, state=source)
            else:
                number = await seed_refund(desk, payment_no, state=source)
            [outcome] = await together(push(desk, table, number, target))
            if target in moves[source]:
                assert outcome is None, (source, target)
            else:
                assert isinstance(outcome, Rejected), (source, target)
                assert f"illegal move {source} -> {target}" in str(outcome)


@pytest.mark.parametrize("state", ["created", "processing"])
async def test_what_is_open_cannot_be_forgotten(desk, state):
    """An open order without a due time cannot be written."""
    number = await seed(desk, state=state)

    with pytest.raises(Rejected, match="check constraint"):
        await desk.db.rows(
            "UPDATE payment SET due_time = NULL WHERE payment_no = %(number)s", number=number
        )


@pytest.mark.parametrize("refunded", [-1, 101])
async def test_more_than_the_payment_cannot_be_refunded(desk, refunded):
    """The table checks what the flow promises."""
    with pytest.raises(Rejected, match="check constraint"):
        await seed(desk, refunded_minor=refunded)
