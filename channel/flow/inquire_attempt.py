"""Inquire: ask the provider about an attempt that is due, send it again if it never came."""

from __future__ import annotations

from dataclasses import replace

import structlog

from channel.calls import account_of, ask, send
from channel.desk import Desk
from channel.flow._end import end_attempt
from channel.flow.apply_result import apply_result
from channel.model import Attempt
from channel.orders import adapter_of, asking_is_sending
from channel.store import attempt as store
from channel.verdicts import Source, may_resend

log = structlog.get_logger()


async def inquire_attempt(desk: Desk, attempt: Attempt) -> None:
    """Ask how `attempt` stands, apply what is said, and put down when to ask again.

    A number that the provider does not know after its grace is sent again, as it was: the
    send is written before it is made. One that nobody wants any more is ended instead.
    """
    if attempt.closing:
        await end_attempt(desk, attempt)
        return
    account = await account_of(desk, attempt)
    if not asking_is_sending(account):
        said = await ask(desk, attempt)
        spec = adapter_of(account).spec
        if not may_resend(attempt, said, spec=spec, now=desk.clock.now()):
            await apply_result(desk, attempt, said, source=Source.QUERY)
            return
        log.info("resending", attempt_no=attempt.attempt_no, sends=attempt.sends + 1)
    now = desk.clock.now()
    again = replace(
        attempt,
        version=attempt.version + 1,
        sends=attempt.sends + 1,
        sent_time=now,
        update_time=now,
    )
    if await store.move_attempt(desk.db, again, event=b""):
        said = await send(desk, again, sent_before=True)
        await apply_result(desk, again, said, source=Source.RESENT)
