"""End an attempt that nobody wants any more: the close at its provider, and what it says."""

from __future__ import annotations

from channel.adapters.spi import Outcome, Retry
from channel.calls import account_of, ask, end
from channel.desk import Desk
from channel.flow.apply_result import apply_result
from channel.model import Attempt
from channel.orders import adapter_of, asking_is_sending
from channel.verdicts import Source, closed_unseen


async def end_attempt(desk: Desk, attempt: Attempt) -> tuple[Attempt, bool]:
    """Have the provider end `attempt`, which is `closing`, and apply what it says.

    Return the attempt as it is then, and whether the provider would not close it because the
    payer is paying. A close whose outcome is not known is asked about at once: somebody may
    have paid before it. Where asking is itself a send it is only closed again, later.
    """
    assert attempt.closing, f"{attempt.attempt_no} is still wanted"
    account = await account_of(desk, attempt)
    said, source = await end(desk, attempt), Source.CLOSE
    is_paying = said.outcome in (Outcome.ACTION, Outcome.PENDING)
    if said.retry is Retry.QUERY and not asking_is_sending(account):
        said, source = await ask(desk, attempt), Source.QUERY
    else:
        spec = adapter_of(account).spec
        said = closed_unseen(attempt, said, spec=spec, now=desk.clock.now())
    return await apply_result(desk, attempt, said, source=source), is_paying
