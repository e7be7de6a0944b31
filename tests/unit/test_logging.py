"""Log lines: their form, whose they are, and what never gets into them."""

import io
import json
import logging

import pytest
import structlog

from mesh.config import load
from mesh.context import Acting, acting_as
from mesh.logging import configure


@pytest.fixture
def lines(tmp_path):
    """Return a function that gives all lines so far, as objects; logging is put back after."""
    root = logging.getLogger()
    kept = (root.handlers[:], root.level)
    stream = io.StringIO()
    settings = load("payment", home=tmp_path, log_format="json", log_level="info")
    configure(settings, stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = kept
    structlog.reset_defaults()


log = structlog.get_logger()


def test_a_line_says_who_what_when_and_on_whose_trace(lines):
    """The trace number comes from the call that is being served."""
    with acting_as(Acting(app_id="mall", trace_no="M1-42")):
        log.info("payment made", amount_minor=100)
    [line] = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "payment made",
        "level": "info",
        "service": "payment",
        "app_id": "mall",
        "trace_no": "M1-42",
        "amount_minor": 100,
    }


def test_what_libraries_say_has_the_same_form(lines):
    """Through the standard logging, with its arguments in place."""
    logging.getLogger("some.library").warning("lost %s of %d", "one", 3)
    [line] = lines()
    assert (line["event"], line["level"], line["service"]) == (
        "lost one of 3",
        "warning",
        "payment",
    )


def test_less_than_the_level_is_not_written(lines):
    """Neither ours nor a library's."""
    log.debug("detail")
    logging.getLogger("some.library").debug("detail")
    logging.getLogger("grpc").info("detail")
    assert lines() == []


def test_an_exception_is_one_line_with_its_traceback(lines):
    """A line stays a line."""
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    [line] = lines()
    assert "ValueError: broken" in line["exception"]


@pytest.mark.parametrize(
    "facts",
    [
        {"password": "geheim"},
        {"api_token": "geheim"},
        {"Authorization": "geheim"},
        {"database_dsn": "geheim"},
        {"card_pan": "geheim"},
        {"request": {"headers": [{"client_secret": "geheim"}]}},
        {"header": "Bearer geheim"},
        {"url": "nats://payment:geheim@127.0.0.1:4222"},
        {"text": "host=db password=geheim user=a"},
        {"pem": "-----BEGIN PRIVATE KEY-----\ngeheim\n-----END PRIVATE KEY-----"},
        {"error": ValueError("password=geheim")},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_secrets_are_hidden_by_name_and_by_look(lines, facts):
    """Wherever they are, however deep."""
    log.info("call", **facts)
    logging.getLogger("some.library").warning("call %s", facts)
    assert len(lines()) == 2
    assert "geheim" not in json.dumps(lines()[0])


def test_a_secret_in_a_message_or_a_traceback_is_hidden(lines):
    """What an exception quotes is written too."""
    logging.getLogger("some.library").warning("Bearer geheim")
    try:
        raise ValueError("postgresql://payment:geheim@host/db")
    except ValueError:
        log.exception("failed")
    assert len(lines()) == 2
    assert "geheim" not in json.dumps(lines())


def test_a_card_number_is_hidden_and_other_digits_are_not(lines):
    """By the check digit, with spaces too; order numbers stay readable."""
    log.info(
        "typed 4111 1111 1111 1111", order="20261122TR0A1B2C0010000001", amount="1234567890123"
    )
    text = json.dumps(lines())
    assert "1111" not in text
    assert "20261122TR0A1B2C0010000001" in text
    assert "1234567890123" in text


def test_a_span_is_not_a_card(lines):
    """Only whole words count as names of secrets."""
    log.info("call", span="abc", company="x")
    [line] = lines()
    assert (line["span"], line["company"]) == ("abc", "x")


def test_on_request_lines_are_for_people(tmp_path):
    """Text instead of JSON."""
    root = logging.getLogger()
    kept = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure(load(home=tmp_path, log_format="text"), stream=stream)
    log.info("payment made", amount_minor=100)
    root.handlers[:], root.level = kept
    structlog.reset_defaults()
    assert "payment made" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
