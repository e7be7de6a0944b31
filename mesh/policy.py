"""Who may call which method, and how urgent a call is: what the contract says, made quick.

A service that opens a door whose policy is not whole does not start.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from mesh.errors import refuse
from mesh.tokens import Identity
from tongbao.common.v1 import options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons


class Priority(enum.Enum):
    """What may wait when there is too much to do: NEW is turned away first."""

    CONTINUATION = enum.auto()  # A service goes on with what was accepted, an operator acts.
    QUERY = enum.auto()  # An app reads.
    NEW = enum.auto()  # An app brings new work.


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The policy of one method."""

    permission: str
    roles: frozenset[int]
    services: frozenset[str]
    reads: bool

    def demand(self, identity: Identity) -> None:
        """Raise Refused(PERMISSION_DENIED) unless `identity` may call the method."""
        role = identity.role
        if role not in self.roles or (
            role == options_pb2.ROLE_SERVICE and identity.name not in self.services
        ):
            raise refuse(reasons.REASON_PERMISSION_DENIED, permission=self.permission)

    def priority(self, identity: Identity) -> Priority:
        """Return how urgent the call of `identity` is."""
        if identity.role != options_pb2.ROLE_APP:
            return Priority.CONTINUATION
        return Priority.QUERY if self.reads else Priority.NEW


def rule_of(method: str) -> Rule:
    """Return the rule that the contract gives the method `/package.Service/Method`."""
    service_name, _, method_name = method.lstrip("/").partition("/")
    service = descriptor_pool.Default().FindServiceByName(service_name)
    return _rule(service.methods_by_name[method_name])


def demand_policies(service: ServiceDescriptor) -> None:
    """Raise AssertionError, with what is to be added, unless every method has a whole policy."""
    for method in service.methods:
        _rule(method)


def _rule(method: MethodDescriptor) -> Rule:
    policy = method.GetOptions().Extensions[options_pb2.policy]
    name = method.full_name
    assert policy.permission, f"{name} has no policy: give it a permission"
    assert policy.roles, f"{name}: its policy names no roles, so nobody may call it"
    inside = options_pb2.ROLE_SERVICE in policy.roles
    assert bool(policy.services) == inside, (
        f"{name}: a policy names the services that may call if, and only if, it has ROLE_SERVICE"
    )
    assert _has(method.input_type, policy.resource), (
        f"{name}: its request has no field {policy.resource}, which its policy calls the resource"
    )
    return Rule(
        permission=policy.permission,
        roles=frozenset(policy.roles),
        services=frozenset(policy.services),
        reads=policy.idempotency == options_pb2.IDEMPOTENCY_READ,
    )


def _has(message: Descriptor, path: str) -> bool:
    """Return whether `path`, such as `context.trace_no`, leads to a field; the empty one does."""
    inner: Descriptor | None = message
    for name in path.split(".") if path else ():
        field = inner.fields_by_name.get(name) if inner is not None else None
        if field is None:
            return False
        inner = field.message_type
    return True
