"""The operators' door: cases and the rules about them. One method, one flow."""

from __future__ import annotations

from datetime import UTC

from mesh.door import Context
from mesh.lists import Page
from mesh.replays import mark
from mesh.wire import fingerprint
from payment.desk import Desk
from payment.flow._acts import Request, operator
from payment.flow.approve_resolution import approve_resolution
from payment.flow.assign_case import assign_case
from payment.flow.get_case import get_case
from payment.flow.list_case_rules import list_case_rules
from payment.flow.list_cases import list_cases
from payment.flow.propose_resolution import propose_resolution
from payment.flow.put_case_rule import put_case_rule
from payment.flow.reject_resolution import reject_resolution
from payment.flow.resolve_case import resolve_case
from payment.states import CaseState
from payment.store.case_list import Filter
from payment.wire_case import (
    case_to_proto,
    give_back_to_proto,
    note_to_proto,
    resolution_from_proto,
    rule_from_request,
    rule_to_proto,
)
from tongbao.payment.v1 import case_pb2
from tongbao.payment.v1 import payment_ops_service_pb2 as pb
from tongbao.payment.v1 import payment_ops_service_pb2_grpc as pb_grpc


class PaymentOpsService(pb_grpc.PaymentOpsServiceServicer):
    """Each method is the verb of the same name in `payment/flow/`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListCases(  # noqa: N802
        self, request: pb.ListCasesRequest, context: Context
    ) -> pb.ListCasesResponse:
        """Returns cases; see the contract."""
        before = request.opened_before
        wanted = Filter(
            kinds=tuple(request.kinds),
            states=tuple(_state(state) for state in request.states),
            app_id=request.app_id,
            owner=request.owner,
            opened_before=(
                before.ToDatetime(tzinfo=UTC) if request.HasField("opened_before") else None
            ),
            overdue=request.overdue,
        )
        cases, token = await list_cases(self._desk, wanted=wanted, page=Page.of(request))
        return pb.ListCasesResponse(
            cases=[case_to_proto(case) for case in cases], next_page_token=token
        )

    async def GetCase(  # noqa: N802
        self, request: pb.GetCaseRequest, context: Context
    ) -> pb.GetCaseResponse:
        """Returns a case with everything about it; see the contract."""
        case, notes, give_backs, entries = await get_case(self._desk, case_id=request.case_id)
        return pb.GetCaseResponse(
            case=case_to_proto(case),
            notes=[note_to_proto(note) for note in notes],
            give_backs=[give_back_to_proto(one) for one in give_backs],
            entries=entries,
        )

    async def AssignCase(  # noqa: N802
        self, request: pb.AssignCaseRequest, context: Context
    ) -> pb.AssignCaseResponse:
        """Says who takes care of a case; see the contract."""
        case, known = await assign_case(
            self._desk, _request(request, text=request.owner), owner=request.owner
        )
        mark(context, replayed=known)
        return pb.AssignCaseResponse(case=case_to_proto(case))

    async def ResolveCase(  # noqa: N802
        self, request: pb.ResolveCaseRequest, context: Context
    ) -> pb.ResolveCaseResponse:
        """Resolves a case without moving money; see the contract."""
        case, known = await resolve_case(
            self._desk,
            _request(request, text=request.evidence),
            resolution=resolution_from_proto(request.resolution),
        )
        mark(context, replayed=known)
        return pb.ResolveCaseResponse(case=case_to_proto(case))

    async def ProposeResolution(  # noqa: N802
        self, request: pb.ProposeResolutionRequest, context: Context
    ) -> pb.ProposeResolutionResponse:
        """Proposes a resolution that moves money; see the contract."""
        case, known = await propose_resolution(
            self._desk,
            _request(request, text=request.evidence),
            resolution=resolution_from_proto(request.resolution),
        )
        mark(context, replayed=known)
        return pb.ProposeResolutionResponse(case=case_to_proto(case))

    async def ApproveResolution(  # noqa: N802
        self, request: pb.ApproveResolutionRequest, context: Context
    ) -> pb.ApproveResolutionResponse:
        """Has what another operator proposed carried out; see the contract."""
        case, known = await approve_resolution(
            self._desk, _request(request, text=request.text), version=request.version
        )
        mark(context, replayed=known)
        return pb.ApproveResolutionResponse(case=case_to_proto(case))

    async def RejectResolution(  # noqa: N802
        self, request: pb.RejectResolutionRequest, context: Context
    ) -> pb.RejectResolutionResponse:
        """Takes a proposal away; see the contract."""
        case, known = await reject_resolution(
            self._desk, _request(request, text=request.text), version=request.version
        )
        mark(context, replayed=known)
        return pb.RejectResolutionResponse(case=case_to_proto(case))

    async def PutCaseRule(  # noqa: N802
        self, request: pb.PutCaseRuleRequest, context: Context
    ) -> pb.PutCaseRuleResponse:
        """Writes a version of a rule; see the contract."""
        rule = rule_from_request(request, author=operator(), now=self._desk.clock.now())
        rule = await put_case_rule(self._desk, rule=rule)
        return pb.PutCaseRuleResponse(rule=rule_to_proto(rule))

    async def ListCaseRules(  # noqa: N802
        self, request: pb.ListCaseRulesRequest, context: Context
    ) -> pb.ListCaseRulesResponse:
        """Returns the rules; see the contract."""
        rules = await list_case_rules(self._desk)
        return pb.ListCaseRulesResponse(rules=[rule_to_proto(rule) for rule in rules])


def _request(
    message: pb.AssignCaseRequest
    | pb.ResolveCaseRequest
    | pb.ProposeResolutionRequest
    | pb.ApproveResolutionRequest
    | pb.RejectResolutionRequest,
    *,
    text: str,
) -> Request:
    """Return what all verbs about a case share. The verb belongs to the content."""
    verb = message.DESCRIPTOR.name.encode()
    return Request(
        request_id=message.request_id,
        fingerprint=verb + b" " + fingerprint(message),
        case_id=message.case_id,
        text=text,
    )


def _state(state: case_pb2.Case.State.ValueType) -> CaseState:
    return CaseState[case_pb2.Case.State.Name(state).removeprefix("STATE_")]
