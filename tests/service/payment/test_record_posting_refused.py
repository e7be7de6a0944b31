"""Record a refused posting: a person has to look, once, and nothing else moves."""

from dataclasses import replace

from payment.case import RefusedPosting
from payment.flow.record_posting_refused import record_posting_refused
from payment.states import PaymentState
from tests.service.payment.scene import (
    TRACE,
    cases_of,
    on_behalf_of,
    resolve,
    seed,
    seed_refund,
    the_payment,
    told,
)


async def test_a_refused_posting_opens_one_case(desk):
    """The event may come twice, and again after somebody resolved the case."""
    payment_no = await seed(desk)
    refused = RefusedPosting(
        template="COLLECTED",
        source_no=payment_no,
        app_id="mall",
        trace_no=TRACE,
        currency_code="CNY",
        amount_minor=100,
        channel_code="sim",
        refusal="CREDIT_ACCOUNT_BLOCKED",
    )

    with on_behalf_of():
        first = await record_posting_refused(desk, refused=refused)
        await resolve(desk)
        second = await record_posting_refused(desk, refused=refused)

    assert (first, second) == (True, False)
    assert await cases_of(desk, payment_no) == [("LEDGER_REFUSED", "resolved")]
    [row] = await desk.db.rows("SELECT facts, app_id, trace_no FROM exception_case")
    assert (row.app_id, row.trace_no) == ("mall", TRACE)
    assert row.facts == {
        "template": "COLLECTED",
        "refusal": "CREDIT_ACCOUNT_BLOCKED",
        "currency_code": "CNY",
        "amount_minor": "100",
    }
    assert (await the_payment(desk, payment_no)).state is PaymentState.SUCCEEDED
    assert await told(desk, payment_no) == []


async def test_a_refund_that_its_merchant_may_not_have_back_is_a_case_of_the_refund(desk):
    """Of its payment, too: whoever looks at that finds it."""
    payment_no = await seed(desk)
    refund_no = await seed_refund(desk, payment_no)
    refused = RefusedPosting(
        template="REFUND_FAILED",
        source_no=refund_no,
        app_id="mall",
        trace_no=TRACE,
        currency_code="CNY",
        amount_minor=60,
        channel_code="sim",
        refusal="CREDIT_ACCOUNT_BLOCKED",
    )

    with on_behalf_of():
        assert await record_posting_refused(desk, refused=refused)

    [row] = await desk.db.rows("SELECT kind, subject, number, payment_no FROM exception_case")
    assert tuple(row) == ("LEDGER_REFUSED", "refund", refund_no, payment_no)


async def test_a_restored_success_that_is_refused_opens_the_case_again(desk):
    """Released, taken back, restored, refused: it waits anew, and older events open nothing."""
    payment_no = await seed(desk)
    first = RefusedPosting(
        template="COLLECTED",
        source_no=payment_no,
        app_id="mall",
        trace_no=TRACE,
        currency_code="CNY",
        amount_minor=100,
        channel_code="sim",
        refusal="CREDIT_ACCOUNT_BLOCKED",
    )
    again = replace(first, template="COLLECT_RESTORED", refusal="EXCEEDS_CAP")

    with on_behalf_of():
        for refused in (first, again):
            assert await record_posting_refused(desk, refused=refused)
            assert await cases_of(desk, payment_no) == [("LEDGER_REFUSED", "open")]
            await resolve(desk)
        for refused in (again, first):
            assert not await record_posting_refused(desk, refused=refused)

    assert await cases_of(desk, payment_no) == [("LEDGER_REFUSED", "resolved")]
    [row] = await desk.db.rows("SELECT facts, version FROM exception_case")
    assert (row.facts["template"], row.facts["refusal"]) == ("COLLECT_RESTORED", "EXCEEDS_CAP")
    notes = await desk.db.rows("SELECT event FROM case_note ORDER BY version")
    assert [note.event for note in notes] == ["opened", "opened"]
