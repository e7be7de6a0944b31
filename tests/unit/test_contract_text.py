"""What text a caller may send, read from the descriptors: no row can hold a NUL."""

import importlib
import pathlib

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from buf.validate import validate_pb2
from mesh.errors import Malformed
from mesh.wire import check
from tongbao.common.v1 import money_pb2, options_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

ROOT = pathlib.Path(__file__).resolve().parents[2]
SET = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/tongbao.binpb").read_bytes())
# Sealed before it is written, so it may be any text.
SEALED = {"tongbao.channel.v1.PutChannelAccountRequest.secret"}


def public_requests():
    """The request of every rpc that apps or operators may call."""
    for file in SET.file:
        if not file.package.startswith("tongbao."):
            continue
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        for service in file.service:
            for rpc in service.method:
                roles = rpc.options.Extensions[options_pb2.policy].roles
                if options_pb2.ROLE_SERVICE not in roles:
                    yield rpc.input_type.removeprefix(".")


def texts(message, seen):
    """Every string field of `message` and of what is in it, with its rules."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            rules = field.GetOptions().Extensions[validate_pb2.field].map
            sides = zip(field.message_type.fields, (rules.keys, rules.values), strict=True)
            for side, rule in sides:
                assert side.type == side.TYPE_STRING, f"{field.full_name}: look into it too"
                yield f"{field.full_name}.{side.name}", rule.string
        elif field.message_type is not None and field.message_type.full_name.startswith("tongbao."):
            yield from texts(field.message_type, seen)
        elif field.type == field.TYPE_STRING:
            rules = field.GetOptions().Extensions[validate_pb2.field]
            repeated = rules.repeated.items.string
            yield field.full_name, repeated if field.is_repeated else rules.string


def test_every_text_that_a_caller_sends_has_a_pattern():
    """Or is a URI: lengths alone let a NUL through, which is a bug of ours further on."""
    seen = set()
    pool = descriptor_pool.Default()
    found = [
        text for name in public_requests() for text in texts(pool.FindMessageTypeByName(name), seen)
    ]

    assert len(found) > 25
    loose = {name for name, rules in found if not rules.pattern and not rules.uri}
    assert loose - SEALED == set()


@pytest.mark.parametrize("odd", ["\0", "\n", "\x1b[2J", "\x7f"])
@pytest.mark.parametrize("field", ["subject", "merchant_id", "order_no"])
def test_a_control_character_is_a_violation_of_its_field(field, odd):
    """And named, as any other violation is; text of every language passes."""
    trade = pb.NewTrade(
        order_no="o1",
        product_code="MALL_COLLECT",
        merchant_id="mch_1",
        amount=money_pb2.Money(currency_code="CNY", minor_units=1),
        subject="铁观音 '; -- \\ 😀",
    )
    check(pb.CreateTradeRequest(trade=trade))
    setattr(trade, field, f"a{odd}b")
    with pytest.raises(Malformed) as malformed:
        check(pb.CreateTradeRequest(trade=trade))

    assert [one.field for one in malformed.value.violations.field_violations] == [f"trade.{field}"]
