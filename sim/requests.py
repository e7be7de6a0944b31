"""What a caller may say, checked to the letter, and how the provider puts its answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from yarl import URL

from sim.book import Ask, Order
from sim.faults import Kind, Op

BODY_BYTES_MAX = 16 * 1024
AMOUNT_MINOR_MAX = 10**15

_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NOTE = re.compile(r"[ -~]{1,128}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_ROUTES = (
    ("POST", re.compile(r"/v1/charges"), Op.CHARGE),
    ("GET", re.compile(rf"/v1/charges/({_NUMBER.pattern})"), Op.QUERY),
    ("POST", re.compile(rf"/v1/charges/({_NUMBER.pattern})/close"), Op.CLOSE),
    ("POST", re.compile(r"/v1/refunds"), Op.REFUND),
    ("GET", re.compile(rf"/v1/refunds/({_NUMBER.pattern})"), Op.QUERY_REFUND),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was understood. `ask` is there when an order is to be made."""

    op: Op
    number: str
    ask: Ask | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON object."""

    status: int
    content: dict[str, Any]


class Refusal(Exception):
    """A request that is answered with an error and changes nothing."""

    def __init__(self, status: int, code: str, **facts: str) -> None:
        super().__init__(code)
        self.answer = Answer(status, {"code": code, **facts})


def invalid(field: str) -> Refusal:
    """Return the refusal of a request whose `field` is wrong, missing or not known."""
    return Refusal(400, "INVALID_PARAMETER", field=field)


def read_request(method: str, path: str, body: bytes, *, acquirer: str) -> Asked:
    """Return what is asked. Raises Refusal: UNKNOWN_PATH, INVALID_PARAMETER."""
    op, number = _route(method, path)
    if not op.is_creating:
        if body:
            raise invalid("body")
        return Asked(op, number, None)
    ask = _read_ask(body, kind=op.kind, acquirer=acquirer)
    return Asked(op, ask.number, ask)


def describe(order: Order) -> Answer:
    """Return the reply that shows an order as it is."""
    content: dict[str, Any] = {
        "provider_no": order.provider_no,
        "state": order.state,
        "amount_minor": order.reported_minor,
        "currency": order.reported_currency,
    }
    if order.ask.kind is Kind.CHARGE:
        charge = {"charge_no": order.ask.number, "qr_code": order.qr_code}
        return Answer(200, charge | content)
    return Answer(200, {"refund_no": order.ask.number, "charge_no": order.ask.of, **content})


def _route(method: str, path: str) -> tuple[Op, str]:
    for verb, pattern, op in _ROUTES:
        if method == verb and (match := pattern.fullmatch(path)):
            return op, "" if op.is_creating else match[1]
    raise Refusal(404, "UNKNOWN_PATH")


def _read_ask(body: bytes, *, kind: Kind, acquirer: str) -> Ask:
    if len(body) > BODY_BYTES_MAX:
        raise invalid("body")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid("body") from error
    if not isinstance(content, dict):
        raise invalid("body")
    checks = _CHARGE if kind is Kind.CHARGE else _REFUND
    for field, is_right in checks.items():
        if field not in content and field in _OPTIONAL:
            continue
        if field not in content or not is_right(content[field]):
            raise invalid(field)
    for field in content:
        if field not in checks:
            raise invalid(field)
    return Ask(
        kind=kind,
        acquirer=acquirer,
        number=content[f"{kind}_no"],
        of=content["charge_no"] if kind is Kind.REFUND else "",
        amount_minor=content["amount_minor"],
        currency=content["currency"],
        subject=content.get("subject", ""),
        notify_url=content["notify_url"],
        attach=content.get("attach", ""),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def _is_amount(value: object) -> bool:
    # `type`, because True is an int to isinstance.
    return type(value) is int and 0 < value <= AMOUNT_MINOR_MAX


def _is_currency(value: object) -> bool:
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128


def _is_note(value: object) -> bool:
    return isinstance(value, str) and _NOTE.fullmatch(value) is not None


def _is_url(value: object) -> bool:
    if not isinstance(value, str) or len(value) > 512:
        return False
    try:
        url = URL(value, encoded=True)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


_OPTIONAL = frozenset({"attach"})

_Checks = dict[str, Callable[[object], bool]]
_REFUND: _Checks = {
    "refund_no": _is_number,
    "charge_no": _is_number,
    "amount_minor": _is_amount,
    "currency": _is_currency,
    "notify_url": _is_url,
    "attach": _is_note,
}
_CHARGE: _Checks = {
    "charge_no": _is_number,
    "amount_minor": _is_amount,
    "currency": _is_currency,
    "subject": _is_subject,
    "notify_url": _is_url,
    "attach": _is_note,
}
