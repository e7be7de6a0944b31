"""Cases, rules and give-backs as the contracts spell them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mesh.clock import to_timestamp
from mesh.wire import malformed, money
from payment.attempt import leg_of
from payment.case import (
    REFUNDABLE,
    Action,
    Case,
    CaseKind,
    GiveBack,
    Note,
    Place,
    Resolution,
    Rule,
    release_no,
)
from payment.model import Payment, Refund, TradeType
from payment.states import CaseState
from payment.wire import payment_posting, refund_posting
from tongbao.channel.v1 import attempt_pb2, channel_service_pb2
from tongbao.common.v1 import item_pb2, kinds_pb2, trace_pb2
from tongbao.ledger.v1 import ledger_pb2
from tongbao.payment.v1 import case_pb2, payment_pb2
from tongbao.payment.v1 import payment_ops_service_pb2 as ops

# How the ledger books money where it is parked, and on its way from there.
_PARKED = {Place.SUSPENSE: "MISMATCH_SUSPENDED", Place.DUPLICATE: "DUPLICATE_PARKED"}
_ASKED = {Place.SUSPENSE: "SUSPENSE_RETURN_ASKED", Place.DUPLICATE: "DUPLICATE_RETURN_ASKED"}
# How money that its account had refused leaves suspense.
_RELEASED = {TradeType.COLLECT: "SUSPENSE_COLLECTED", TradeType.RECHARGE: "SUSPENSE_RECHARGED"}


def case_to_proto(case: Case) -> case_pb2.Case:
    """Return the message of `case`."""
    return case_pb2.Case(
        case_id=case.case_id,
        kind=case.kind,
        number=case.number,
        payment_no=case.payment_no,
        app_id=case.app_id,
        trace_no=case.trace_no,
        state=case_pb2.Case.State.Value(f"STATE_{case.state.name}"),
        version=case.version,
        facts=case.facts,
        parked=money(case.parked_currency_code, case.parked_minor),
        parked_on=case.parked_on.name if case.parked_on else "",
        action=case_pb2.CaseAction.Value(f"CASE_ACTION_{case.action.name}"),
        rule=case.rule,
        owner=case.owner,
        resolution=resolution_to_proto(case.resolution),
        proposed_by=case.proposed_by,
        deadline=to_timestamp(case.deadline),
        due_time=to_timestamp(case.due_time) if case.due_time else None,
        create_time=to_timestamp(case.create_time),
        update_time=to_timestamp(case.update_time),
    )


def note_to_proto(note: Note) -> case_pb2.CaseNote:
    """Return the message of `note`."""
    return case_pb2.CaseNote(
        version=note.version,
        actor=note.actor,
        event=note.event.name,
        state=case_pb2.Case.State.Value(f"STATE_{note.state.name}"),
        resolution=resolution_to_proto(note.resolution),
        text=note.text,
        create_time=to_timestamp(note.create_time),
    )


def give_back_to_proto(give_back: GiveBack) -> payment_pb2.GiveBack:
    """Return the message of `give_back`."""
    kind = payment_pb2.GiveBack
    return kind(
        give_back_no=give_back.give_back_no,
        case_id=give_back.case_id,
        payment_no=give_back.payment_no,
        attempt_no=give_back.attempt_no,
        app_id=give_back.app_id,
        business_code=give_back.business_code,
        trace_no=give_back.trace_no,
        amount=money(give_back.currency_code, give_back.amount_minor),
        source=kind.Source.Value(f"SOURCE_{give_back.source.name}"),
        channel_code=give_back.channel_code,
        state=kind.State.Value(f"STATE_{give_back.state.name}"),
        version=give_back.version,
        failure_reason=give_back.failure_reason,
        create_time=to_timestamp(give_back.create_time),
        update_time=to_timestamp(give_back.update_time),
    )


def rule_to_proto(rule: Rule) -> case_pb2.CaseRule:
    """Return the message of `rule`."""
    return case_pb2.CaseRule(
        rule_id=rule.rule_id,
        version=rule.version,
        kind=rule.kind,
        app_id=rule.app_id,
        product_code=rule.product_code,
        channel_code=rule.channel_code,
        amount_max_minor=rule.amount_max_minor,
        action=case_pb2.CaseAction.Value(f"CASE_ACTION_{rule.action.name}"),
        delay_seconds=rule.delay_seconds,
        deadline_seconds=rule.deadline_seconds,
        owner=rule.owner,
        lifted=rule.lifted,
        author=rule.author,
        create_time=to_timestamp(rule.create_time),
    )


def rule_from_request(request: ops.PutCaseRuleRequest, *, author: str, now: datetime) -> Rule:
    """Return the rule that `request` writes, as if it were the first version.

    Raises Malformed for a kind that is none, and for one whose money no rule can give back.
    """
    if request.kind not in CaseKind.__members__:
        raise malformed("kind", rule="kind", description="is not a kind of case")
    kind = CaseKind(request.kind)
    action = Action[case_pb2.CaseAction.Name(request.action).removeprefix("CASE_ACTION_")]
    if action is Action.AUTO_REFUND and kind not in REFUNDABLE:
        possible = ", ".join(sorted(REFUNDABLE))
        raise malformed("action", rule="refundable", description=f"is possible for {possible}")
    return Rule(
        rule_id=request.rule_id,
        version=1,
        kind=kind,
        app_id=request.app_id,
        product_code=request.product_code,
        channel_code=request.channel_code,
        amount_max_minor=request.amount_max_minor,
        action=action,
        delay_seconds=request.delay_seconds,
        deadline_seconds=request.deadline_seconds,
        owner=request.owner,
        lifted=request.lifted,
        author=author,
        create_time=now,
    )


def resolution_to_proto(resolution: Resolution) -> case_pb2.Resolution.ValueType:
    """Return the contract's name of `resolution`."""
    name = "UNSPECIFIED" if resolution is Resolution.NONE else resolution.name
    return case_pb2.Resolution.Value(f"RESOLUTION_{name}")


def resolution_from_proto(resolution: case_pb2.Resolution.ValueType) -> Resolution:
    """Return our name of `resolution`, which is not unspecified."""
    return Resolution[case_pb2.Resolution.Name(resolution).removeprefix("RESOLUTION_")]


def give_back_item(give_back: GiveBack, payment: Payment) -> channel_service_pb2.SubmitItem:
    """Return the leg by which `give_back` returns a charge of `payment` to its payer."""
    return channel_service_pb2.SubmitItem(
        context=item_pb2.ItemContext(app_id=give_back.app_id, trace_no=give_back.trace_no),
        leg_no=leg_of(give_back.give_back_no),
        operation=attempt_pb2.OPERATION_REFUND,
        tool=kinds_pb2.Tool.Value(f"TOOL_{payment.tool}"),
        amount=money(give_back.currency_code, give_back.amount_minor),
        business_code=give_back.business_code,
        user_no=payment.user_no,
        subject=payment.subject,
        original_leg_no=leg_of(payment.payment_no),
        original_attempt_no=give_back.attempt_no,
    )


def give_back_postings(give_back: GiveBack) -> Sequence[ledger_pb2.Posting]:
    """Return what is booked before a channel hears of it: parked if it was not, then asked."""
    return [
        _posting(give_back, _PARKED[give_back.source], source_no=give_back.attempt_no),
        _posting(give_back, _ASKED[give_back.source], source_no=give_back.give_back_no),
    ]


def release_posting(case: Case, order: Payment | Refund) -> ledger_pb2.Posting:
    """Return what books the money of `case` out of suspense, to whoever `order` was to give it.

    Cost stands where the ledger put the money aside; it is booked now if the money had stood in
    suspense before, without it, and was refused on its way from there, or came back to it.
    """
    if isinstance(order, Refund):
        posting = refund_posting(order, "REFUND_RETURN_CREDITED")
    else:
        posting = payment_posting(order, _RELEASED[order.trade_type])
        refused = case.facts["template"]
        came_back = refused == "SUSPENSE_RESTORED" and order.from_suspense
        if refused not in _RELEASED.values() and not came_back:
            posting.cost_minor = 0
    posting.source_no = release_no(case.number, subject=case.subject, round_no=case.rounds)
    return posting


def case_to_trace(case: Case) -> trace_pb2.TraceEntry:
    """Return `case` as one thing of its trace."""
    over = case.state is CaseState.RESOLVED
    facts = dict(case.facts) | {
        "kind": case.kind,
        "about": case.number,
        "parked_on": case.parked_on,
        "owner": case.owner,
        "rule": case.rule,
        "action": case.action.name,
        "resolution": case.resolution.name if case.resolution else "",
        "proposed_by": case.proposed_by,
    }
    parked = money(case.parked_currency_code, case.parked_minor) if case.parked_minor else None
    return trace_pb2.TraceEntry(
        service="payment",
        kind="case",
        number=case.case_id,
        state=case.state.name,
        amount=parked,
        create_time=to_timestamp(case.create_time),
        update_time=to_timestamp(case.update_time),
        due_time=None if over else to_timestamp(case.due_time or case.deadline),
        facts={name: fact for name, fact in facts.items() if fact},
    )


def give_back_to_trace(give_back: GiveBack, *, due_time: datetime | None) -> trace_pb2.TraceEntry:
    """Return `give_back` as one thing of its trace; `due_time` is that of its case."""
    facts = {
        "case_id": give_back.case_id,
        "payment_no": give_back.payment_no,
        "attempt_no": give_back.attempt_no,
        "refund_attempt_no": give_back.refund_attempt_no,
        "source": give_back.source,
        "channel_code": give_back.channel_code,
        "failure_reason": give_back.failure_reason,
    }
    return trace_pb2.TraceEntry(
        service="payment",
        kind="give_back",
        number=give_back.give_back_no,
        state=give_back.state.name,
        amount=money(give_back.currency_code, give_back.amount_minor),
        create_time=to_timestamp(give_back.create_time),
        update_time=to_timestamp(give_back.update_time),
        due_time=to_timestamp(due_time) if due_time else None,
        facts={name: fact for name, fact in facts.items() if fact},
    )


def _posting(give_back: GiveBack, template: str, *, source_no: str) -> ledger_pb2.Posting:
    return ledger_pb2.Posting(
        template=template,
        source_no=source_no,
        trace_no=give_back.trace_no,
        business_code=give_back.business_code,
        amount=money(give_back.currency_code, give_back.amount_minor),
        channel_code=give_back.channel_code,
    )
