"""What every adapter keeps to: results, tables of codes, specs; and the balance adapter."""

from dataclasses import replace

import pytest

from channel.adapters import ADAPTERS
from channel.adapters.outcomes import OutcomeTable
from channel.adapters.sim import _OUTCOMES, SimAdapter
from channel.adapters.spi import (
    Blame,
    LocalCall,
    Operation,
    Outcome,
    PostingOutcome,
    Result,
    Retry,
)
from tests.adapter_samples import (
    BALANCE,
    BEGIN,
    CHARGE_NO,
    REFUND_NO,
    SIM,
    WHO,
    answer,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": Outcome.UNKNOWN, "retry": Retry.ELSEWHERE},
        {"outcome": Outcome.UNKNOWN},
        {"outcome": Outcome.PENDING, "retry": Retry.ELSEWHERE},
        {"outcome": Outcome.FAILED, "retry": Retry.QUERY},
        {"outcome": Outcome.SUCCEEDED},
        {"outcome": Outcome.SUCCEEDED, "amount_minor": 1000},
        {"outcome": Outcome.SUCCEEDED, "amount_minor": 0, "currency_code": "CNY"},
        {"outcome": Outcome.FAILED, "amount_minor": 1000, "currency_code": "CNY"},
        {"outcome": Outcome.ACTION},
        {"outcome": Outcome.PENDING, "qr_code": "scan me"},
    ],
)
def test_a_result_that_cannot_be_true_cannot_be_made(wrong):
    """Unknown is never tried elsewhere; success says what moved."""
    with pytest.raises(ValueError, match=r".+"):
        Result(**wrong)


@pytest.mark.parametrize(
    ("operation", "template", "number", "amount"),
    [
        (Operation.PAY, "WALLET_PAID", CHARGE_NO, 1000),
        (Operation.QUERY, "WALLET_PAID", CHARGE_NO, 1000),
        (Operation.REFUND, "WALLET_REFUNDED", REFUND_NO, 400),
        (Operation.QUERY_REFUND, "WALLET_REFUNDED", REFUND_NO, 400),
    ],
)
def test_a_wallet_leg_is_one_posting_and_a_query_is_the_same(operation, template, number, amount):
    """Booked now or before, it succeeded with what was asked."""
    assert next(BEGIN[operation](BALANCE)) == LocalCall(
        template=template,
        source_no=number,
        amount_minor=amount,
        currency_code="CNY",
        channel_code="sim-a",
        **WHO,
    )
    result = answer(operation, PostingOutcome(is_booked=True))
    assert (result.outcome, result.amount_minor) == (Outcome.SUCCEEDED, amount)
    assert result.currency_code == "CNY"


def test_closing_a_wallet_leg_forbids_its_posting():
    """What was booked before is paid, what was not is over."""
    forbidding = next(BEGIN[Operation.CLOSE](BALANCE))
    assert forbidding == replace(next(BEGIN[Operation.PAY](BALANCE)), forbids=True)
    paid = answer(Operation.CLOSE, PostingOutcome(is_booked=True))
    assert (paid.outcome, paid.amount_minor) == (Outcome.SUCCEEDED, 1000)
    assert answer(Operation.CLOSE, PostingOutcome(is_booked=False)).outcome is Outcome.CLOSED


@pytest.mark.parametrize(
    ("operation", "refusal", "code", "blame"),
    [
        (Operation.PAY, "EXCEEDS_FLOOR", "BALANCE_NOT_ENOUGH", Blame.PAYER),
        (Operation.QUERY, "EXCEEDS_FLOOR", "BALANCE_NOT_ENOUGH", Blame.PAYER),
        (Operation.PAY, "DEBIT_ACCOUNT_BLOCKED", "DEBIT_ACCOUNT_BLOCKED", Blame.MERCHANT),
        (Operation.REFUND, "EXCEEDS_FLOOR", "EXCEEDS_FLOOR", Blame.MERCHANT),
    ],
)
def test_what_the_ledger_refuses_has_failed(operation, refusal, code, blame):
    """The ledger remembers refusals, so nothing can come of it later."""
    result = answer(operation, PostingOutcome(is_booked=False, refusal=refusal))
    assert (result.outcome, result.retry) == (Outcome.FAILED, Retry.NONE)
    assert (result.code, result.blame) == (code, blame)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_a_spec_is_sound(adapter):
    """Its own name, and every charge can be asked about and closed, every refund asked about."""
    spec = adapter.spec
    assert ADAPTERS[spec.code] is adapter
    assert spec.tools
    assert spec.operations == set(Operation)
    assert 0 <= spec.not_found_grace_seconds < spec.query_horizon_seconds


def test_the_reference_adapter_is_the_registered_one():
    """Others are written after it."""
    assert isinstance(SIM, SimAdapter)


def test_the_table_never_sends_a_refund_elsewhere():
    """A refund goes where the charge was made."""
    refunds = [v for (op, _), v in _OUTCOMES.verdicts.items() if op is Operation.REFUND]
    assert refunds
    assert all(verdict.retry is not Retry.ELSEWHERE for verdict in refunds)


@pytest.mark.parametrize(
    "rule",
    [
        'then = "unknown/elsewhere"\nblame = "none"',
        'then = "succeeded/none"\nblame = "none"',
        'then = "failed/none"\nblame = "nobody"',
        'then = "failed/none"\nblame = "none"\nsub = "X"',
        'then = "failed"\nblame = "none"',
    ],
)
def test_a_table_with_a_rule_that_cannot_be_does_not_load(tmp_path, rule):
    """Unknown may never be tried elsewhere, and a code alone never proves success."""
    path = tmp_path / "table.toml"
    path.write_text(f'[[rule]]\noperation = "pay"\ncode = "X"\n{rule}\n')
    with pytest.raises(ValueError, match=r".+"):
        OutcomeTable.load(path)


def test_a_table_with_a_double_rule_does_not_load(tmp_path):
    """Which of the two should win?"""
    rule = '[[rule]]\noperation = "pay"\ncode = "X"\nthen = "failed/none"\nblame = "none"\n'
    path = tmp_path / "table.toml"
    path.write_text(rule)
    assert len(OutcomeTable.load(path).verdicts) == 1
    path.write_text(rule + rule)
    with pytest.raises(ValueError, match="double"):
        OutcomeTable.load(path)
