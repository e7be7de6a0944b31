"""Apply: the one door for everything a provider says about an attempt."""

from __future__ import annotations

from channel.adapters.spi import Result
from channel.calls import account_of, ask
from channel.desk import Desk
from channel.model import Attempt
from channel.orders import adapter_of, asking_is_sending
from channel.states import State
from channel.store import attempt as store
from channel.verdicts import Source, is_crossed, judged, next_look
from channel.wire import attempt_to_proto
from mesh.events import pack
from mesh.records import replace
from tongbao.channel.v1 import events_pb2

_TOLD = {
    State.SUCCEEDED: events_pb2.AttemptSucceeded,
    State.FAILED: events_pb2.AttemptFailed,
    State.CLOSED: events_pb2.AttemptFailed,
    State.REVIEW: events_pb2.AttemptReviewed,
}

# A refusal that comes so is about the sends that were made before it, and no later one.
_OF_A_SEND = (Source.REPLY, Source.RESENT, Source.CLOSE)


async def apply_result(desk: Desk, attempt: Attempt, said: Result, *, source: Source) -> Attempt:
    """Change `attempt` by what its provider said, and return it as it is then.

    That the word is about this attempt, number and account, is the caller's to know; amount
    and currency are checked here. Applying a word again changes nothing, and words may come
    in any order: whoever loses a race reads the attempt anew and judges again. `attempt` is as
    it was known when the provider was asked. An answer that nobody has paid may have crossed the
    word that somebody has: then the provider is asked once more, and that answer counts.
    """
    account = await account_of(desk, attempt)
    spec = adapter_of(account).spec
    sends = attempt.sends if source in _OF_A_SEND else None
    # Where asking is a send the first word stands for ever: nothing can cross it.
    may_cross = attempt.is_open and not asking_is_sending(account)
    while True:
        if may_cross and is_crossed(attempt, said, source=source):
            said, source, sends, may_cross = await ask(desk, attempt), Source.QUERY, None, False
        now = desk.clock.now()
        after = judged(attempt, said, sends=sends)
        if after.is_open:
            due_time, tries = next_look(after, said, source=source, spec=spec, now=now)
            after = replace(after, due_time=due_time, tries=tries)
        if after.version == attempt.version:
            if after.due_time is not None and after != attempt:
                await store.put_off(desk.db, after, due_time=after.due_time, tries=after.tries)
            return after
        after = replace(after, update_time=now)
        if await store.move_attempt(desk.db, after, event=_event(after, was=attempt.state)):
            _tell_caller(desk, after)
            return after
        latest = await store.find_attempt(desk.db, attempt.attempt_no, app_id=attempt.app_id)
        assert latest is not None, f"{attempt.attempt_no} is gone; attempts are never deleted"
        attempt = latest


def _tell_caller(desk: Desk, attempt: Attempt) -> None:
    """Wake who waits here for the leg's end; a reply that is still awaited adds nothing."""
    awaited = desk.awaited.get(attempt.leg_no)
    if awaited is not None and not awaited.done() and not attempt.is_open:
        awaited.set_result(attempt)


def _event(attempt: Attempt, *, was: State) -> bytes:
    """Return the event of the attempt's new state; none when it is in the state it was in."""
    if attempt.state is was:
        return b""
    return pack(
        _TOLD[attempt.state](attempt=attempt_to_proto(attempt)),
        number=attempt.attempt_no,
        version=attempt.version,
        app_id=attempt.app_id,
        trace_no=attempt.trace_no,
        time=attempt.update_time,
    )
