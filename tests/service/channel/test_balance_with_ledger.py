"""A wallet leg with the real ledger behind it."""

from channel.adapters.spi import Outcome, Result
from channel.desk import opened
from channel.flow.apply_result import apply_result
from channel.states import State
from channel.store.attempt import find_attempt
from channel.verdicts import Source
from mesh.records import replace
from tests.service.channel.world import BALANCE, FAILED, SUCCEEDED, World, leg, refund_of
from tests.services import Ground, Handle
from tests.simulator import Simulator
from tongbao.common.v1 import item_pb2
from tongbao.ledger.v1 import ledger_pb2 as books
from tongbao.ledger.v1 import ledger_service_pb2 as pb
from tongbao.ledger.v1 import ledger_service_pb2_grpc as pb_grpc

CONTEXT = item_pb2.ItemContext(app_id="mall", trace_no="MALL-1")
WALLET = books.AccountKey(kind=books.ACCOUNT_KIND_WALLET, owner="MALL/u1", currency_code="CNY")
BANK = books.AccountKey(kind=books.ACCOUNT_KIND_CLEARING, owner="bank", currency_code="CNY")
CLEARING = books.AccountKey(kind=books.ACCOUNT_KIND_CLEARING, owner="balance", currency_code="CNY")


async def filled(ledger: pb_grpc.LedgerServiceStub, amount_minor: int) -> None:
    """A wallet with that much money in it."""
    keys = [pb.OpenAccountItem(context=CONTEXT, account=key) for key in (WALLET, BANK)]
    await ledger.BatchOpenAccounts(pb.BatchOpenAccountsRequest(items=keys))
    posting = books.Posting(
        template="RECHARGED",
        source_no="20261122PY9999999999999999",
        trace_no="MALL-0",
        business_code="MALL",
        channel_code="bank",
        user_no="u1",
    )
    posting.amount.currency_code, posting.amount.minor_units = "CNY", amount_minor
    item = pb.PostItem(context=CONTEXT, postings=[posting])
    reply = await ledger.BatchPost(pb.BatchPostRequest(items=[item]))
    [outcome] = reply.results[0].postings
    assert outcome.outcome == books.PostingResult.OUTCOME_POSTED, outcome


async def balances(ledger: pb_grpc.LedgerServiceStub) -> tuple[int, int]:
    """What is in the wallet, and what wallets' clearing is owed."""
    items = [pb.GetBalanceItem(context=CONTEXT, account=key) for key in (WALLET, CLEARING)]
    reply = await ledger.BatchGetBalances(pb.BatchGetBalancesRequest(items=items))
    wallet, clearing = (result.balance.minor_units for result in reply.results)
    return wallet, clearing


async def test_wallet_and_clearing_tell_the_same_story(
    ground: Ground, simulator: Simulator
) -> None:
    """Paid, refused for want of money, given back: each is in the books once."""
    world = World(ground, simulator, None)
    handle: Handle
    async with (
        ground.run("ledger") as handle,
        ground.run("channel", **world.settings) as world.handle,
    ):
        # Channel may post, trade may read; the contract says so.
        ledger = pb_grpc.LedgerServiceStub(handle.channel("trade"))
        await filled(pb_grpc.LedgerServiceStub(handle.channel("channel")), 1000)
        item = leg(tool=BALANCE, user_no="u1", amount_minor=700)

        paid = await world.attempted(item)
        again = await world.attempted(item)
        poor = await world.attempted(leg(tool=BALANCE, user_no="u1", amount_minor=301))
        assert (paid.state, again.state) == (SUCCEEDED, SUCCEEDED)
        assert (poor.state, poor.failure_reason) == (FAILED, "BALANCE_NOT_ENOUGH")
        assert await balances(ledger) == (300, -700)

        back = await world.attempted(refund_of(item))
        assert back.state == SUCCEEDED
        assert await balances(ledger) == (1000, 0)


async def test_a_denial_of_what_the_books_have_goes_to_review(
    ground: Ground, simulator: Simulator
) -> None:
    """Asking the ledger is a send, and its first word stands: nothing can have crossed it."""
    world = World(ground, simulator, None)
    async with (
        ground.run("ledger") as handle,
        ground.run("channel", **world.settings) as world.handle,
        ground.run("channel", replica=1, http_port=0) as other,
        opened(other.runtime) as desk,
    ):
        await filled(pb_grpc.LedgerServiceStub(handle.channel("channel")), 1000)
        paid = await world.attempted(leg(tool=BALANCE, user_no="u1", amount_minor=700))
        assert paid.state == SUCCEEDED
        stored = await find_attempt(desk.db, paid.attempt_no, app_id="mall")
        assert stored is not None
        known = replace(stored, state=State.PROCESSING, version=stored.version - 1)

        denied = Result(outcome=Outcome.CLOSED)
        after = await apply_result(desk, known, denied, source=Source.QUERY)

    assert (after.state, after.failure_reason) == ("review", "CHANNEL_REVERSED")
