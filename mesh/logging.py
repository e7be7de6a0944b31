"""Log lines: JSON to stdout, text on a terminal, with the service and the trace number.

Call `configure` once in each process, then `log = structlog.get_logger()` anywhere. What
libraries say through the standard `logging` comes out in the same form.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO, cast

import structlog
from google.protobuf import text_format
from google.protobuf.message import Message
from structlog.typing import EventDict, Processor, WrappedLogger

from mesh.config import Settings
from mesh.context import acting
from mesh.redact import HIDDEN, conceal, is_sensitive_name, redacted

# Keys whose value never goes into a log, wherever they appear.
_SECRET_KEY = re.compile(
    r"password|passwd|secret|token|authorization|cookie|private|dsn|credential|(^|_)pan$|card_no",
    re.IGNORECASE,
)
# Values that are secrets under whatever key: the last line of defence, not the first.
_SECRET_VALUES = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), r"\1 " + HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*-----", re.S), HIDDEN),
    (re.compile(r"(?i)\bpassword=\S+"), f"password={HIDDEN}"),
    (re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), HIDDEN),
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send log lines of this process to `stream`, by default stdout, in its format."""
    out = stream or sys.stdout
    text = settings.log_format == "text" or (settings.log_format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _owner(settings.service),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="time")
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processor=renderer, foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These say at INFO what every call or query does; ours say it once, with meaning.
    for name in ("grpc", "psycopg", "nats", "alembic", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


def debugging() -> bool:
    """Return whether debug lines are written.

    To be asked before each one on the hot path: even a line that nobody writes costs 10 us.
    """
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Return the event without secrets.

    By what the contracts call sensitive (mesh.redact), by the name of the key, and, as the last
    line, by the look of the value.
    """
    return cast(EventDict, _clean(event))


def _owner(service: str | None) -> Processor:
    """Add which service speaks and, inside a call, on whose trace."""

    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if service is not None:
            event.setdefault("service", service)
        who = acting()
        if who.trace_no:
            event.setdefault("trace_no", who.trace_no)
        if who.app_id:
            event.setdefault("app_id", who.app_id)
        return event

    return add


def _clean(value: object) -> object:
    match value:
        case str():
            return _clean_text(value)
        case Mapping():
            return {
                key: HIDDEN if _is_secret(str(key)) else _clean(inner)
                for key, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_clean(inner) for inner in value]
        case Message():
            return text_format.MessageToString(redacted(value), as_one_line=True)
        case BaseException():
            return _clean_text(repr(value))
        case _:
            return value


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) or is_sensitive_name(key)


def _clean_text(text: str) -> str:
    text = conceal(text)
    for pattern, instead in _SECRET_VALUES:
        text = pattern.sub(instead, text)
    return _CARD.sub(_mask_card, text)


def _mask_card(match: re.Match[str]) -> str:
    """Hide a run of digits that passes the check digit of a card number."""
    digits = [int(letter) for letter in match[0] if letter.isdigit()]
    doubled = [
        digit if place % 2 == 0 else (digit * 2 - 9 if digit > 4 else digit * 2)
        for place, digit in enumerate(reversed(digits))
    ]
    return HIDDEN if sum(doubled) % 10 == 0 else match[0]
