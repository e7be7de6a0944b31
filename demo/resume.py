"""What a run that was broken off owes: orders that only their caller brings to an end."""

from __future__ import annotations

from collections.abc import Sequence

from checker.evidence import Call
from demo.plan import WAITING, Order, Story


def left_behind(calls: Sequence[Call]) -> list[Order]:
    """Return the orders whose payers wait for a close, as far as its answer says."""
    closed = {
        call.trace_no
        for call in calls
        if call.verb == "CloseTrade" and (call.was_done or not call.may_be_done)
    }
    begun = {
        call.trace_no: call
        for call in calls
        if call.story in WAITING and call.verb == "PayTrade" and call.trace_no not in closed
    }
    return [
        Order(
            story=Story(call.story),
            app=call.app,
            order_no=call.trace_no.removeprefix(f"{call.app}-"),
            merchant="",
            user_no=call.user_no,
            amount_minor=call.amount_minor,
        )
        for call in begun.values()
    ]
