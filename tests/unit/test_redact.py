"""What of a message may be shown, and what is taken out of any text while it is in hand."""

import asyncio
import io
import json
import logging

import pytest
import structlog

from mesh import redact
from mesh.config import load
from mesh.errors import refuse, to_item_status, to_status
from mesh.logging import configure
from tongbao.channel.v1 import channel_ops_service_pb2 as channel
from tongbao.common.v1 import event_pb2, money_pb2
from tongbao.common.v1 import reasons_pb2 as reasons
from tongbao.trade.v1 import setup_pb2
from tongbao.trade.v1 import trade_service_pb2 as pb

USER, SUBJECT = "user-0815-of-mall", "a ring for Lin"


def order():
    return pb.NewTrade(order_no="o1", user_no=USER, subject=SUBJECT)


def nested():
    item = pb.PayTradeRequest(request_id="r1", new_trade=order())
    return pb.BatchPayTradesRequest(items=[item])


@pytest.fixture
def lines(tmp_path):
    """What is logged, as one text."""
    root = logging.getLogger()
    kept = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure(load("payment", home=tmp_path, log_format="json"), stream=stream)
    yield lambda: stream.getvalue()
    root.handlers[:], root.level = kept
    structlog.reset_defaults()


log = structlog.get_logger()


async def in_hand(message, work):
    """Do `work` in a task of its own in which `message` is held."""

    async def task():
        redact.hold(message)
        return work()

    return await asyncio.create_task(task())


def test_a_shown_message_is_whole_but_for_what_is_sensitive():
    """At any depth; the message itself is left as it is."""
    message = nested()
    shown = redact.redacted(message).items[0]
    assert (shown.new_trade.user_no, shown.new_trade.subject) == ("***", "***")
    assert (shown.request_id, shown.new_trade.order_no) == ("r1", "o1")
    assert message == nested()
    assert redact.redacted(channel.PutChannelAccountRequest(secret="x" * 16)).secret == "***"


def test_bytes_are_not_shown():
    """Nobody knows what they are."""
    event = event_pb2.Event(event_id="e1", payload=order().SerializeToString())
    assert redact.redacted(event) == event_pb2.Event(event_id="e1")


async def test_a_text_loses_what_the_message_in_hand_holds():
    """Wherever it stands; only there, and only while it is in hand."""
    text = f"Key (user_no)=({USER}) of {SUBJECT!r}, order o1"
    told = await in_hand(nested(), lambda: redact.conceal(text))
    assert told == "Key (user_no)=(***) of '***', order o1"
    assert redact.conceal(text) == text


async def test_a_short_value_is_left_alone():
    """`u1` stands in half of all words."""
    wallet = setup_pb2.Wallet(user_no="u1", balance=money_pb2.Money(currency_code="CNY"))
    assert await in_hand(wallet, lambda: redact.conceal("u1 is busy")) == "u1 is busy"


async def test_an_error_tells_neither_by_name_nor_by_value():
    """In its text, in its facts, beside an item."""
    redact.learn(pb.DESCRIPTOR)
    error = refuse(reasons.REASON_PERMISSION_DENIED, permission=f"of {USER}", user_no="u1")

    def told():
        return str(to_status(error)) + str(to_item_status(error))

    said = await in_hand(order(), told)
    assert USER not in said
    assert to_item_status(error).metadata["user_no"] == "***"
    assert "PERMISSION_DENIED" in said


async def test_a_log_line_tells_neither_whoever_wrote_it(lines):
    """As a key, in a text, in a message, in the trace of an exception and of its cause."""
    redact.learn(pb.DESCRIPTOR)

    def work():
        log.info("paying", user_no="u1", order=order(), note=f"for {USER}")
        logging.getLogger("some.library").warning("bad row %s", USER)
        try:
            try:
                raise KeyError(USER)
            except KeyError as error:
                raise ValueError(f"no wallet of {USER}: {SUBJECT}") from error
        except ValueError:
            log.exception("broke")

    await in_hand(order(), work)
    said = lines()
    assert USER not in said
    assert SUBJECT not in said
    first, _, third = map(json.loads, said.splitlines())
    assert (first["user_no"], first["note"]) == ("***", "for ***")
    assert 'order_no: "o1"' in first["order"]
    assert "no wallet of ***" in third["exception"]
