"""Calls to a provider about one attempt: send it, ask about it, end it."""

from __future__ import annotations

from functools import partial

from channel.adapters.spi import Operation as Call
from channel.adapters.spi import Result
from channel.desk import Desk
from channel.model import Attempt, ChannelAccount, Operation
from channel.orders import adapter_of, pay_request, ref_of, refund_request, spoken
from channel.store import attempt as store
from channel.transport import CALL_SECONDS
from mesh.context import within


async def account_of(desk: Desk, attempt: Attempt) -> ChannelAccount:
    """Return the account that the attempt was given to."""
    account = await desk.accounts.get(attempt.channel_code)
    assert account is not None, f"{attempt.channel_code} is gone; accounts are never deleted"
    return account


async def send(desk: Desk, attempt: Attempt, *, sent_before: bool) -> Result:
    """Return what the provider says to the request. Every send of an attempt is the same."""
    account = await account_of(desk, attempt)
    adapter, own = adapter_of(account), spoken(account)
    notify_url = desk.notify_url(account.channel_code)
    if attempt.operation is Operation.PAY:
        begin = partial(adapter.pay, own, pay_request(attempt, notify_url=notify_url))
    else:
        original = await store.find_attempt(
            desk.db, attempt.original_attempt_no, app_id=attempt.app_id
        )
        assert original is not None, f"{attempt.attempt_no} gives nothing back"
        request = refund_request(attempt, provider_no=original.provider_no, notify_url=notify_url)
        begin = partial(adapter.refund, own, request)
    with within(CALL_SECONDS):
        return await desk.transport.run(
            begin, account=own, operation=Call(attempt.operation), sent_before=sent_before
        )


async def ask(desk: Desk, attempt: Attempt) -> Result:
    """Return what the provider says to our question how the attempt stands."""
    account = await account_of(desk, attempt)
    adapter, own = adapter_of(account), spoken(account)
    is_pay = attempt.operation is Operation.PAY
    begin = adapter.query if is_pay else adapter.query_refund
    with within(CALL_SECONDS):
        return await desk.transport.run(
            partial(begin, own, ref_of(attempt)),
            account=own,
            operation=Call.QUERY if is_pay else Call.QUERY_REFUND,
            sent_before=True,
        )


async def end(desk: Desk, attempt: Attempt) -> Result:
    """Return what the provider says to our wish that nobody pays the attempt any more."""
    account = await account_of(desk, attempt)
    adapter, own = adapter_of(account), spoken(account)
    assert Call.CLOSE in adapter.spec.operations, f"{adapter.spec.code} cannot close"
    with within(CALL_SECONDS):
        return await desk.transport.run(
            partial(adapter.close, own, ref_of(attempt)),
            account=own,
            operation=Call.CLOSE,
            sent_before=True,
        )
