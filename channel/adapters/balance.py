"""The platform's own balances as a channel: a leg is one posting, and done at once.

Asking about it is posting it again: the ledger books an attempt's number once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NoReturn

from channel.adapters.spi import (
    Account,
    Blame,
    ChannelSpec,
    LocalCall,
    Notification,
    Operation,
    Outcome,
    PayRequest,
    Peek,
    PostingOutcome,
    RawNotification,
    Ref,
    RefundRequest,
    Result,
    Stamp,
    Step,
)

_PAID = "WALLET_PAID"
_REFUNDED = "WALLET_REFUNDED"


class BalanceAdapter:
    """Moves money between a user's wallet and our clearing account."""

    spec: ClassVar[ChannelSpec] = ChannelSpec(
        code="balance",
        tools=frozenset({"BALANCE"}),
        operations=frozenset(Operation),
        awaits_payer=False,
        not_found_grace_seconds=0,
        query_horizon_seconds=24 * 3600,
    )

    def pay(self, account: Account, request: PayRequest, stamp: Stamp) -> Step:
        """Take the amount from the user's wallet."""
        return _post(account, request, _PAID)

    def query(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """Take the amount if it was not taken yet: then it has been asked for all the same."""
        return _post(account, ref, _PAID)

    def refund(self, account: Account, request: RefundRequest, stamp: Stamp) -> Step:
        """Put the amount into the user's wallet."""
        return _post(account, request, _REFUNDED)

    def query_refund(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """Put the amount into the wallet if it was not put there yet."""
        return _post(account, ref, _REFUNDED)

    def close(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """Have the ledger refuse the posting from now on, unless it was booked before."""
        answer = yield replace(_call(account, ref, _PAID), forbids=True)
        assert isinstance(answer, PostingOutcome), answer
        return _paid(ref) if answer.is_booked else Result(outcome=Outcome.CLOSED)

    def peek(self, notification: RawNotification) -> Peek:
        """Never called: nobody calls back about a wallet."""
        _never()

    def read_notification(self, account: Account, notification: RawNotification) -> Notification:
        """Never called: nobody calls back about a wallet."""
        _never()

    def ack(self, *, accepted: bool) -> bytes:
        """Never called: nobody calls back about a wallet."""
        _never()


def _post(account: Account, order: PayRequest | RefundRequest | Ref, template: str) -> Step:
    """Book the order under its attempt's number and return what the ledger says."""
    answer = yield _call(account, order, template)
    assert isinstance(answer, PostingOutcome), answer
    if answer.is_booked:
        return _paid(order)
    if template == _PAID and answer.refusal == "EXCEEDS_FLOOR":
        return Result(outcome=Outcome.FAILED, blame=Blame.PAYER, code="BALANCE_NOT_ENOUGH")
    return Result(outcome=Outcome.FAILED, blame=Blame.MERCHANT, code=answer.refusal)


def _call(account: Account, order: PayRequest | RefundRequest | Ref, template: str) -> LocalCall:
    return LocalCall(
        template=template,
        source_no=order.attempt_no,
        trace_no=order.trace_no,
        business_code=order.business_code,
        amount_minor=order.amount_minor,
        currency_code=order.currency_code,
        channel_code=account.channel_code,
        user_no=order.user_no,
    )


def _paid(order: PayRequest | RefundRequest | Ref) -> Result:
    return Result(
        outcome=Outcome.SUCCEEDED,
        amount_minor=order.amount_minor,
        currency_code=order.currency_code,
    )


def _never() -> NoReturn:
    raise AssertionError("nobody calls back about a wallet")
