"""Our records in the words of adapters: accounts, requests, questions."""

from __future__ import annotations

from datetime import timedelta

from channel.adapters import ADAPTERS
from channel.adapters.spi import Account, ChannelAdapter, PayRequest, Ref, RefundRequest
from channel.model import BALANCE, Attempt, ChannelAccount
from channel.transport import CALL_SECONDS


def asking_is_sending(account: ChannelAccount) -> bool:
    """Return whether a question may itself carry the order out: the ledger is asked by posting.

    Such a question counts as a send, so that nobody calls the order off meanwhile.
    """
    return account.adapter == BALANCE


def patience(account: ChannelAccount) -> timedelta:
    """Return how long the first send is left alone before its outcome is asked for.

    A reply usually comes at once; after two seconds without one it is quicker to ask. But a
    question that is a send must not overtake the first one: if that one meets nobody, the
    leg has failed for good, which is better to know than a question more.
    """
    return timedelta(seconds=CALL_SECONDS + 1 if asking_is_sending(account) else 2)


def adapter_of(account: ChannelAccount) -> ChannelAdapter:
    """Return the adapter that speaks with the account's provider."""
    return ADAPTERS[account.adapter]


def spoken(account: ChannelAccount) -> Account:
    """Return the account as its adapter needs it."""
    return Account(
        channel_code=account.channel_code,
        base_url=account.base_url,
        provider_account=account.provider_account,
        secret=account.secret,
        cost_ppm=account.cost_ppm,
    )


def pay_request(attempt: Attempt, *, notify_url: str) -> PayRequest:
    """Return the charge. Equal for every send of an attempt."""
    return PayRequest(
        attempt_no=attempt.attempt_no,
        amount_minor=attempt.amount_minor,
        currency_code=attempt.currency_code,
        subject=attempt.subject,
        notify_url=notify_url,
        user_no=attempt.user_no,
        business_code=attempt.business_code,
        trace_no=attempt.trace_no,
    )


def refund_request(attempt: Attempt, *, provider_no: str, notify_url: str) -> RefundRequest:
    """Return the refund; `provider_no` is the provider's number of what is given back."""
    return RefundRequest(
        attempt_no=attempt.attempt_no,
        original_attempt_no=attempt.original_attempt_no,
        provider_no=provider_no,
        amount_minor=attempt.amount_minor,
        currency_code=attempt.currency_code,
        notify_url=notify_url,
        user_no=attempt.user_no,
        business_code=attempt.business_code,
        trace_no=attempt.trace_no,
    )


def ref_of(attempt: Attempt) -> Ref:
    """Return what a question names."""
    return Ref(
        attempt_no=attempt.attempt_no,
        amount_minor=attempt.amount_minor,
        currency_code=attempt.currency_code,
        user_no=attempt.user_no,
        business_code=attempt.business_code,
        trace_no=attempt.trace_no,
    )
