"""The rules for runs under faults, and what acknowledged means, each seen to fail."""

import json
from dataclasses import replace

import pytest

from checker import timed
from checker.evidence import Intrusion, Sight, Snapshot, Told
from checker.history import Damaged
from checker.rules import UNDER_FAULTS
from checker.verdict import Harm, judge
from tests.unit.forgery import CNY, altered, changed, is_a, true_world

ENDED = "what was acknowledged is there and has come to its one end"
REFUSED = "what was refused for good never happened"
ONCE = "money moved once for each payment and refund, or a case says what is spare"
FORWARD = "what an app sees of a trade or refund never goes back"
ZERO = "the trial balance is zero whenever somebody looks"
OUT = "nobody gets at what is not theirs, and no old token opens a door"
BUGS = "no answer is a bug of ours"
OURS = "every order at a provider is an attempt of ours"
CAUSE = "every case has its cause at a provider"
BOOKS = "ledger = what happened, account by account, in every trace"


def sight(state, version, asked, told, number="TR1"):
    return Sight(number=number, trace_no="MALL-qr", state=state, version=version,
                 asked_ns=asked, told_ns=told)  # fmt: skip


@pytest.fixture
def truth():
    """A true world, with what a run under faults has seen of it."""
    world = true_world()
    entries = world.traces["MALL-review"]
    [review] = [one for one in entries if one.kind == "payment"]
    cause = {"kind": "AMOUNT_MISMATCH", "about": review.number, "parked_on": "suspense"}
    entries = altered(entries, lambda one: one.kind == "case", facts=cause)
    world = replace(world, traces={**world.traces, "MALL-review": entries})
    return replace(
        world,
        sights=(sight("PAYING", 1, 1, 2), sight("PAID", 3, 3, 4), sight("PAYING", 1, 0, 5)),
        snapshots=(Snapshot(told_ns=1, gap_minor={CNY: 0}),),
        intrusions=(
            Intrusion(what="an old token", verb="CreateRefund", expected="TOKEN_EXPIRED",
                      code="UNAUTHENTICATED", reason="TOKEN_EXPIRED"),
            Intrusion(what="another app", verb="GetTrade", expected="TRADE_NOT_FOUND",
                      code="UNAVAILABLE"),
        ),
    )  # fmt: skip


def found(evidence):
    """Return the harms of the findings by rule."""
    return {one.rule: set(one.harms()) for one in judge(UNDER_FAULTS, evidence) if not one.holds}


def call_of(evidence, verb, trace_no="MALL-qr"):
    return next(i for i, one in enumerate(evidence.calls)
                if (one.verb, one.trace_no) == (verb, trace_no))  # fmt: skip


def answered(evidence, index, answer):
    calls = list(evidence.calls)
    calls[index] = replace(calls[index], answer=answer)
    return replace(evidence, calls=tuple(calls))


def test_a_true_world_has_nothing_to_be_found(truth):
    """Every forgery below starts from here."""
    assert found(truth) == {}


@pytest.mark.parametrize("nothing", ["sights", "snapshots", "intrusions", "movements"])
def test_silence_is_a_finding(truth, nothing):
    """A run in which nobody looked proves nothing."""
    assert found(replace(truth, **{nothing: ()}))


def test_an_acknowledged_payment_that_has_not_ended_is_lost(truth):
    """Also when everybody agrees on that."""
    payment = truth.calls[0].answer.payment_no
    forged = changed(truth, "MALL-qr", is_a("payment", "payment", number=payment),
                     state="PROCESSING")  # fmt: skip
    assert found(forged)[ENDED] == {Harm.LOST}


def test_an_acknowledged_payment_that_is_not_there_is_lost(truth):
    """The whole trace, or only its payment."""
    payment = truth.calls[0].answer.payment_no
    gone = changed(truth, "MALL-qr", is_a("payment", "payment", number=payment), gone=True)
    assert found(gone)[ENDED] == {Harm.LOST}
    nothing = {name: found for name, found in truth.traces.items() if name != "MALL-qr"}
    assert found(replace(truth, traces=nothing))[ENDED] == {Harm.LOST}


def test_an_acknowledged_refund_that_has_not_ended_is_lost(truth):
    """PROCESSING for its app."""
    refund = truth.calls[call_of(truth, "CreateRefund")].answer.refund_no
    forged = changed(truth, "MALL-qr", is_a("trade", "refund", number=refund), state="PROCESSING")
    assert Harm.LOST in found(forged)[ENDED]


def test_a_refund_that_was_refused_and_made_is_found(truth):
    """A definite refusal is a promise that nothing happens."""
    index = call_of(truth, "CreateRefund")
    refund = truth.calls[index].answer.refund_no
    forged = changed(truth, "MALL-qr", is_a("trade", "refund", number=refund),
                     refund_order_no=truth.calls[index].number)  # fmt: skip
    assert found(forged) == {}
    refused = Told(code="FAILED_PRECONDITION", reason="REFUND_EXCEEDS_TRADE")
    assert REFUSED in found(answered(forged, index, refused))
    unclear = Told(code="UNAVAILABLE")
    assert REFUSED not in found(answered(forged, index, unclear))


def test_a_trace_of_an_order_that_was_refused_is_found(truth):
    """Every call of it was refused."""
    refused = Told(code="FAILED_PRECONDITION", reason="PRODUCT_NOT_FOUND")
    calls = [replace(one, answer=refused) if one.trace_no == "MALL-denied" else one
             for one in truth.calls]  # fmt: skip
    assert REFUSED in found(replace(truth, calls=tuple(calls)))


def test_money_that_moved_twice_for_one_payment_is_a_duplicate(truth):
    """Unless a case says so; the failed-over payment moved at the first provider as well."""
    trace = truth.traces["MALL-failover"]
    [first] = [one for one in trace if one.state == "FAILED" and one.kind == "attempt"]
    forged = replace(truth, movements=altered(
        truth.movements, lambda one: one.number == first.number, moved_minor=2_000,
        state="SUCCEEDED",
    ))  # fmt: skip
    assert found(forged)[ONCE] == {Harm.DUPLICATE}
    [payment] = [one for one in trace if one.kind == "payment"]
    case = replace(payment, kind="case", number="cas_1", state="OPEN",
                   facts={"kind": "DUPLICATE_SUCCESS", "about": payment.number})  # fmt: skip
    told = {**forged.traces, "MALL-failover": (*forged.traces["MALL-failover"], case)}
    assert ONCE not in found(replace(forged, traces=told))


def test_who_asks_later_must_not_be_told_what_was_before(truth):
    """By version, and by what is final; what was asked before may come later."""
    late = replace(truth, sights=(*truth.sights, sight("PAYING", 1, 6, 7)))
    assert found(late) == {FORWARD: {Harm.UNEXPLAINED}}
    undone = replace(truth, sights=(*truth.sights, sight("CLOSED", 4, 6, 7)))
    assert FORWARD in found(undone)
    reviewed = replace(truth, sights=(*truth.sights, sight("REVIEW", 4, 6, 7)))
    assert found(reviewed) == {}
    other = replace(truth, sights=(*truth.sights, sight("PAYING", 1, 6, 7, number="TR2")))
    assert found(other) == {}


def test_books_that_did_not_balance_for_a_moment_are_found(truth):
    """However right they are in the end."""
    forged = replace(truth, snapshots=(*truth.snapshots, Snapshot(told_ns=9, gap_minor={CNY: 1})))
    assert found(forged) == {ZERO: {Harm.UNBALANCED}}


@pytest.mark.parametrize(
    ("code", "reason"),
    [("OK", ""), ("FAILED_PRECONDITION", "REFUND_EXCEEDS_TRADE"), ("NOT_FOUND", "WRONG")],
)
def test_a_stranger_who_gets_in_is_found(truth, code, reason):
    """An answer that tells of what is not theirs, or another reason than the right one."""
    first, *rest = truth.intrusions
    forged = replace(truth, intrusions=(replace(first, code=code, reason=reason), *rest))
    assert found(forged) == {OUT: {Harm.UNEXPLAINED}}


def test_an_internal_error_is_found(truth):
    """Whatever is broken meanwhile: a bug is a bug."""
    call = replace(truth.calls[0], seq=99, number="other",
                   answer=Told(code="INTERNAL", reason="INTERNAL"))  # fmt: skip
    assert found(replace(truth, calls=(*truth.calls, call))) == {BUGS: {Harm.UNEXPLAINED}}


def test_an_order_at_the_provider_that_nobody_asked_for_is_found(truth):
    """Even if no money moved."""
    stray = replace(truth.movements[0], number="20260901AT9999999999999999", moved_minor=0)
    assert found(replace(truth, movements=(*truth.movements, stray))) == {OURS: {Harm.UNEXPLAINED}}


@pytest.mark.parametrize("kind", ["LATE_SUCCESS", "AMOUNT_MISMATCH", "CHANNEL_REVERSED"])
def test_a_case_without_a_cause_is_found(truth, kind):
    """About a payment of which exactly what was asked for moved once, or nothing at all."""
    trace_no = "MALL-denied" if kind == "LATE_SUCCESS" else "MALL-qr"
    [payment] = [one for one in truth.traces[trace_no] if (one.service, one.kind) ==
                 ("payment", "payment")]  # fmt: skip
    case = replace(payment, kind="case", number="cas_1", state="OPEN",
                   facts={"kind": kind, "about": payment.number})  # fmt: skip
    forged = replace(truth, traces={**truth.traces, trace_no: (*truth.traces[trace_no], case)})
    assert CAUSE in found(forged)


def test_of_two_calls_that_nobody_answered_either_may_have_made_the_trade(truth):
    """The checker believes what is there; an acknowledged call leaves it no choice."""
    index = call_of(truth, "PayTrade", "MALL-failover")
    first = truth.calls[index]
    other = replace(first, amount_minor=2_100, answer=Told(code="UNAVAILABLE"))
    unclear = replace(first, answer=Told(code="DEADLINE_EXCEEDED"))
    either = [one for one in truth.calls if one is not first]
    assert found(replace(truth, calls=(*either, other, unclear))) == {}
    acknowledged = replace(other, answer=first.answer)
    assert found(replace(truth, calls=(*either, acknowledged, unclear)))


def test_a_refund_is_not_what_the_trade_was_asked_for(truth):
    """Of an order whose payment nobody acknowledged only the refund has an answer."""
    calls = [replace(one, answer=Told(code="UNAVAILABLE"))
             if (one.verb, one.trace_no) == ("PayTrade", "MALL-qr") else one
             for one in truth.calls]  # fmt: skip
    assert found(replace(truth, calls=tuple(calls))) == {}


def test_a_booking_too_few_is_lost_and_one_too_many_a_duplicate(truth):
    """What a difference of the books means to a caller depends on its direction."""
    entries = [one for one in truth.traces["MALL-fill"] if one.kind == "entry"]
    gone = changed(truth, "MALL-fill", is_a("ledger", "entry", number=entries[0].number), gone=True)
    assert found(gone)[BOOKS] == {Harm.LOST}
    twice = {**truth.traces, "MALL-fill": (*truth.traces["MALL-fill"], entries[0])}
    assert found(replace(truth, traces=twice))[BOOKS] == {Harm.DUPLICATE}


def lines(*told):
    return [json.dumps(one) for one in told]


CALL = {
    "story": "qr", "verb": "PayTrade", "app": "MALL", "trace_no": "MALL-1", "number": "1",
    "amount_minor": 1, "currency_code": CNY,
}  # fmt: skip


def test_a_history_is_read_as_it_was_written():
    """Calls with and without an answer, sights with their times, looks, intrusions, faults."""
    seen = timed.read(lines(
        {"t_ns": 1, "type": "invoke", "i": 1, "f": "PayTrade", "call": CALL},
        {"t_ns": 2, "type": "invoke", "i": 2, "f": "PayTrade", "call": CALL},
        {"t_ns": 3, "type": "start", "i": 3, "f": "kill nats"},
        {"t_ns": 4, "type": "stop", "i": 3, "f": "kill nats", "hit": True},
        {"t_ns": 4, "type": "stop", "i": 9, "f": "kill nats", "hit": False},
        {"t_ns": 5, "type": "ok", "i": 1, "f": "PayTrade", "told": {"code": "OK"},
         "sights": [{"number": "TR1", "trace_no": "MALL-1", "state": "PAID", "version": 2}]},
        {"t_ns": 6, "type": "invoke", "i": 4, "f": "GetTrade",
         "intrusion": {"what": "x", "expected": "y"}},
        {"t_ns": 7, "type": "fail", "i": 4, "f": "GetTrade",
         "told": {"code": "NOT_FOUND", "reason": "y"}},
        {"t_ns": 8, "type": "invoke", "i": 5, "f": "GetTrialBalance"},
        {"t_ns": 9, "type": "ok", "i": 5, "f": "GetTrialBalance", "gap_minor": {CNY: 0}},
    ))  # fmt: skip

    assert [call.answer for call in seen.calls] == [Told(code="OK"), None]
    [look] = seen.sights
    assert (look.asked_ns, look.told_ns, look.version) == (1, 5, 2)
    assert seen.snapshots == [Snapshot(told_ns=9, gap_minor={CNY: 0})]
    [intrusion] = seen.intrusions
    assert (intrusion.code, intrusion.reason) == ("NOT_FOUND", "y")
    assert seen.faults == {"kill nats": 1}


@pytest.mark.parametrize(
    "bad",
    [["{"], lines({"t_ns": 1, "type": "ok", "i": 7, "f": "x"}),
     lines(*2 * [{"t_ns": 1, "type": "invoke", "i": 1, "f": "PayTrade"}]),
     lines({"t_ns": 1, "type": "invoke", "i": 1, "f": "PayTrade", "call": {"verb": "x"}})],
)  # fmt: skip
def test_a_damaged_history_is_refused(bad):
    """Torn, an answer to nothing, twice the same call, a call that is none."""
    with pytest.raises(Damaged):
        timed.read(bad)
