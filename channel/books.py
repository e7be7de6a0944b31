"""The ledger as channel needs it: postings of the balance adapter, accounts for clearing."""

from __future__ import annotations

import structlog

from channel.adapters.spi import LocalCall, PostingOutcome
from mesh.batch import NotExecuted, Unknown
from mesh.call import BatchLink
from mesh.errors import Declined
from mesh.wire import money
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2, ledger_service_pb2

# Clearing accounts belong to no tenant, but every item names one.
_PLATFORM = "platform"

PostLink = BatchLink[ledger_service_pb2.PostItem, ledger_service_pb2.PostResult]
ForbidLink = BatchLink[ledger_service_pb2.ForbidItem, ledger_service_pb2.ForbidResult]
OpenLink = BatchLink[ledger_service_pb2.OpenAccountItem, ledger_service_pb2.OpenAccountResult]

log = structlog.get_logger()

_BOOKED = (ledger_pb2.PostingResult.OUTCOME_POSTED, ledger_pb2.PostingResult.OUTCOME_EXISTS)


class Books:
    """Posts and opens by batch links; the clearing account of a wallet leg is opened once."""

    def __init__(self, *, posts: PostLink, forbids: ForbidLink, opens: OpenLink) -> None:
        self._posts, self._forbids, self._opens = posts, forbids, opens
        self._open: set[tuple[str, str]] = set()

    async def carry_out(self, call: LocalCall) -> PostingOutcome:
        """Return what the ledger made of `call`. Raises NotExecuted, Unknown."""
        return await (self._forbid(call) if call.forbids else self._post(call))

    async def _forbid(self, call: LocalCall) -> PostingOutcome:
        context = item_pb2.ItemContext(trace_no=call.trace_no)
        item = ledger_service_pb2.ForbidItem(context=context, posting=_posting(call))
        try:
            result = await self._forbids.ask(item)
        except Declined as error:
            log.warning("forbidding_declined", source_no=call.source_no, problem=str(error))
            raise NotExecuted(str(error)) from error
        return PostingOutcome(is_booked=result.is_booked)

    async def _post(self, call: LocalCall) -> PostingOutcome:
        """Refusals are remembered by the ledger, so the account must be open before."""
        if (call.channel_code, call.currency_code) not in self._open:
            try:
                await self.open_clearing(call.channel_code, call.currency_code)
            except Unknown as error:
                raise NotExecuted(f"nothing was posted: {error}") from error
        item = ledger_service_pb2.PostItem(
            context=item_pb2.ItemContext(trace_no=call.trace_no), postings=[_posting(call)]
        )
        try:
            result = await self._posts.ask(item)
        except Declined as error:
            # Refused at the door: this call has booked nothing, another may have.
            log.warning("posting_declined", source_no=call.source_no, problem=str(error))
            raise NotExecuted(str(error)) from error
        [posting] = result.postings
        if posting.outcome in _BOOKED:
            return PostingOutcome(is_booked=True)
        if posting.outcome == ledger_pb2.PostingResult.OUTCOME_REFUSED:
            return PostingOutcome(is_booked=False, refusal=posting.refusal)
        raise Unknown(f"the ledger answers with outcome {posting.outcome}")

    async def open_clearing(self, channel_code: str, currency_code: str) -> None:
        """Open the clearing account of a channel account; again, it changes nothing.

        Raises Declined, NotExecuted, Unknown.
        """
        key = ledger_pb2.AccountKey(
            kind=ledger_pb2.ACCOUNT_KIND_CLEARING, owner=channel_code, currency_code=currency_code
        )
        context = item_pb2.ItemContext(app_id=_PLATFORM)
        await self._opens.ask(ledger_service_pb2.OpenAccountItem(context=context, account=key))
        self._open.add((channel_code, currency_code))


def _posting(call: LocalCall) -> ledger_pb2.Posting:
    return ledger_pb2.Posting(
        template=call.template,
        source_no=call.source_no,
        trace_no=call.trace_no,
        business_code=call.business_code,
        amount=money(call.currency_code, call.amount_minor),
        channel_code=call.channel_code,
        user_no=call.user_no,
    )
