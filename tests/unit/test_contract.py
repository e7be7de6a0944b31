"""What the contracts promise about themselves, read from the descriptors."""

import pathlib
import re

import pytest
from google.protobuf import descriptor_pb2

from tongbao.common.v1 import options_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ("trade", "payment", "channel", "ledger", "settlement", "risk")
SET = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/tongbao.binpb").read_bytes())
OURS = [file for file in SET.file if file.package.startswith("tongbao.")]
RPCS = [
    (f"{file.package}.{service.name}", method)
    for file in OURS
    for service in file.service
    for method in service.method
]
each_rpc = pytest.mark.parametrize(
    ("service", "rpc"), RPCS, ids=[f"{service}/{rpc.name}" for service, rpc in RPCS]
)


@each_rpc
def test_every_rpc_has_a_whole_policy(service, rpc):
    """Permission, callers, and how it may be repeated."""
    policy = rpc.options.Extensions[options_pb2.policy]

    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", policy.permission)
    assert policy.roles
    assert policy.idempotency != options_pb2.IDEMPOTENCY_UNSPECIFIED


@each_rpc
def test_services_that_may_call_are_named(service, rpc):
    """Inside, and only inside; each of them is one of ours and not the one that answers."""
    policy = rpc.options.Extensions[options_pb2.policy]

    assert bool(policy.services) == (options_pb2.ROLE_SERVICE in policy.roles)
    assert set(policy.services) <= set(SERVICES) - {service.split(".")[1]}


def test_permissions_are_unique():
    """One right, one rpc."""
    permissions = [rpc.options.Extensions[options_pb2.policy].permission for _, rpc in RPCS]

    assert len(set(permissions)) == len(permissions)


@each_rpc
def test_only_services_may_call_inside(service, rpc):
    """What serves the mesh is closed to apps and operators, and the other way round."""
    roles = set(rpc.options.Extensions[options_pb2.policy].roles)

    inside = options_pb2.ROLE_SERVICE in roles
    assert inside is not bool(roles - {options_pb2.ROLE_SERVICE})


@pytest.mark.parametrize("service", SERVICES)
def test_every_reason_has_a_status(service):
    """A reason without a gRPC code could not be sent."""
    reasons = [
        value
        for file in OURS
        if file.package == f"tongbao.{service}.v1"
        for enum in file.enum_type
        if enum.name == "Reason"
        for value in enum.value
        if value.number
    ]

    for reason in reasons:
        assert reason.options.Extensions[options_pb2.grpc_code], reason.name


@pytest.mark.parametrize("service", SERVICES)
def test_reasons_named_in_comments_exist(service):
    """What an rpc's comment says it fails with is in a table of reasons."""
    folder = ROOT / "proto/tongbao" / service / "v1"
    known = set()
    for path in (folder / "reasons.proto", ROOT / "proto/tongbao/common/v1/reasons.proto"):
        if path.exists():
            known |= set(re.findall(r"REASON_(\w+) =", path.read_text()))
    for path in folder.glob("*_service.proto"):
        text = re.sub(r"\n\s*// ?", " ", path.read_text())
        for sentence in re.findall(r"(?:Fails|An item fails)[^.]*\.", text):
            for name in re.findall(r"`([A-Z_]{6,})`", sentence):
                assert name in known, f"{path.name}: {name}"
