"""The provider simulator's protocol: signed JSON. The reference for adapters to come."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import blake2s
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from channel.adapters.outcomes import OutcomeTable, unknown
from channel.adapters.spi import (
    BODY_BYTES_MAX,
    Account,
    Blame,
    ChannelSpec,
    HttpCall,
    HttpReply,
    Notification,
    Operation,
    Outcome,
    PayRequest,
    Peek,
    RawNotification,
    Ref,
    RefundRequest,
    Result,
    Stamp,
    Step,
    Unreadable,
    Untrusted,
)

WINDOW_SECONDS = 300

_OUTCOMES = OutcomeTable.load(Path(__file__).with_name("sim_outcomes.toml"))
_OPERATIONS = {"charge": Operation.PAY, "refund": Operation.REFUND}
_NUMBER_FIELD = {
    Operation.PAY: "charge_no",
    Operation.QUERY: "charge_no",
    Operation.CLOSE: "charge_no",
    Operation.REFUND: "refund_no",
    Operation.QUERY_REFUND: "refund_no",
}
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_CODE = re.compile(r"[A-Z][A-Z_]{0,63}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT_MINOR_MAX = 2**63 - 1


class SimAdapter:
    """Speaks with the simulator."""

    spec: ClassVar[ChannelSpec] = ChannelSpec(
        code="sim",
        tools=frozenset({"QR_PAYER"}),
        operations=frozenset(Operation),
        awaits_payer=True,
        not_found_grace_seconds=10,
        query_horizon_seconds=24 * 3600,
    )

    def pay(self, account: Account, request: PayRequest, stamp: Stamp) -> Step:
        """See ChannelAdapter."""
        content = {
            "charge_no": request.attempt_no,
            "amount_minor": request.amount_minor,
            "currency": request.currency_code,
            "subject": request.subject or request.attempt_no,  # It wants at least one character.
            "notify_url": request.notify_url,
            "attach": request.trace_no,
        }
        call = _call(account, stamp, "POST", "/v1/charges", content)
        return _ask(account, stamp, call, Operation.PAY, request.attempt_no)

    def query(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """See ChannelAdapter."""
        call = _call(account, stamp, "GET", f"/v1/charges/{ref.attempt_no}")
        return _ask(account, stamp, call, Operation.QUERY, ref.attempt_no)

    def close(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """See ChannelAdapter."""
        call = _call(account, stamp, "POST", f"/v1/charges/{ref.attempt_no}/close")
        return _ask(account, stamp, call, Operation.CLOSE, ref.attempt_no)

    def refund(self, account: Account, request: RefundRequest, stamp: Stamp) -> Step:
        """See ChannelAdapter."""
        content = {
            "refund_no": request.attempt_no,
            "charge_no": request.original_attempt_no,
            "amount_minor": request.amount_minor,
            "currency": request.currency_code,
            "notify_url": request.notify_url,
            "attach": request.trace_no,
        }
        call = _call(account, stamp, "POST", "/v1/refunds", content)
        return _ask(account, stamp, call, Operation.REFUND, request.attempt_no)

    def query_refund(self, account: Account, ref: Ref, stamp: Stamp) -> Step:
        """See ChannelAdapter."""
        call = _call(account, stamp, "GET", f"/v1/refunds/{ref.attempt_no}")
        return _ask(account, stamp, call, Operation.QUERY_REFUND, ref.attempt_no)

    def peek(self, notification: RawNotification) -> Peek:
        """See ChannelAdapter."""
        number = _text(_content(notification.body), "number")
        account = notification.headers.get("sim-account", "")
        if not account:
            raise Unreadable("the callback names no account")
        return Peek(provider_account=account, number=number)

    def read_notification(self, account: Account, notification: RawNotification) -> Notification:
        """See ChannelAdapter."""
        headers = notification.headers
        if headers.get("sim-account") != account.provider_account:
            raise Untrusted("the callback is for another account")
        timestamp = _timestamp(headers, near=notification.received_at)
        nonce = headers.get("sim-nonce", "")
        head = f"POST\n{notification.path}\n{timestamp}\n{nonce}\n"
        _verify(account, head, notification.body, headers)
        content = _content(notification.body)
        operation = _OPERATIONS.get(_text(content, "kind"))
        if operation is None:
            raise Unreadable(f"kind {content['kind']!r}")
        return Notification(
            number=_text(content, "number"),
            operation=operation,
            result=_order(content, operation),
            # Its copies have the same body. Other content under the same id is another word.
            dedup_key=f"{_kept_text(content, 'event_id')}:{blake2s(notification.body).hexdigest()}",
        )

    def ack(self, *, accepted: bool) -> bytes:
        """See ChannelAdapter."""
        return b"OK" if accepted else b"LATER"


def _call(
    account: Account, stamp: Stamp, method: str, path: str, content: object = None
) -> HttpCall:
    """Return the signed request. An empty body is empty, not `null`."""
    body = b"" if content is None else orjson.dumps(content)
    base_url = account.base_url.rstrip("/")
    target = urlsplit(base_url).path + path
    head = f"{method}\n{target}\n{stamp.timestamp}\n{stamp.nonce}\n"
    headers = {
        "Content-Type": "application/json",
        "Sim-Account": account.provider_account,
        "Sim-Timestamp": str(stamp.timestamp),
        "Sim-Nonce": stamp.nonce,
        "Sim-Signature": _signature(account, head, body),
    }
    return HttpCall(method=method, url=base_url + path, headers=headers, body=body)


def _ask(account: Account, stamp: Stamp, call: HttpCall, operation: Operation, number: str) -> Step:
    """Send `call` and return what the reply means. Raises Untrusted, Unreadable."""
    reply = yield call
    assert isinstance(reply, HttpReply), reply
    if "sim-signature" not in reply.headers:
        raise Untrusted(f"the reply is not signed: HTTP {reply.status}")
    timestamp = _timestamp(reply.headers, near=stamp.timestamp)
    head = f"{reply.status}\n{timestamp}\n{stamp.nonce}\n"
    _verify(account, head, reply.body, reply.headers)
    content = _content(reply.body)
    if reply.status != 200:
        code = _text(content, "code")
        if not _CODE.fullmatch(code):
            raise Unreadable(f"code {code!r}")
        message = f"HTTP {reply.status} {content.get('field', '')}".rstrip()
        return _OUTCOMES.read(operation, code=code, message=message)
    if content.get(_NUMBER_FIELD[operation]) != number:
        raise Unreadable(f"the reply is not about {number}")
    return _order(content, operation)


def _order(content: Mapping[str, Any], operation: Operation) -> Result:
    """Return what the order in a reply or callback says. Raises Unreadable."""
    state, provider_no = _text(content, "state"), _kept_text(content, "provider_no")
    is_refund = operation in (Operation.REFUND, Operation.QUERY_REFUND)
    match state:
        case "SUCCEEDED":
            amount, currency = content.get("amount_minor"), content.get("currency")
            # `type`, because True is an int to isinstance.
            if type(amount) is not int or not 0 < amount <= _AMOUNT_MINOR_MAX:
                raise Unreadable(f"amount {amount!r}")
            if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
                raise Unreadable(f"currency {currency!r}")
            return Result(
                outcome=Outcome.SUCCEEDED,
                provider_no=provider_no,
                amount_minor=amount,
                currency_code=currency,
            )
        case "FAILED":
            blame = Blame.CHANNEL if is_refund else Blame.PAYER
            return Result(
                outcome=Outcome.FAILED, blame=blame, code="REFUSED", provider_no=provider_no
            )
        case "REVERSED":
            return Result(outcome=Outcome.REVERSED, code="REVERSED", provider_no=provider_no)
        case "CLOSED" if not is_refund:
            return Result(outcome=Outcome.CLOSED, provider_no=provider_no)
        case "PENDING" if is_refund:
            return Result(outcome=Outcome.PENDING, provider_no=provider_no)
        case "PENDING":
            qr_code = _kept_text(content, "qr_code")
            return Result(outcome=Outcome.ACTION, provider_no=provider_no, qr_code=qr_code)
    return unknown(
        operation, blame=Blame.CHANNEL, code="UNKNOWN_STATE", message=f"state {state[:64]!r}"
    )


def _content(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises Unreadable."""
    if len(body) > BODY_BYTES_MAX:
        raise Unreadable(f"{len(body)} bytes")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(str(error)) from error
    if not isinstance(content, dict):
        raise Unreadable("not an object")
    return content


def _text(content: Mapping[str, Any], field: str) -> str:
    value = content.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= 512:
        raise Unreadable(f"no {field}")
    return value


def _kept_text(content: Mapping[str, Any], field: str) -> str:
    """Return text that goes into a row. No row can hold NUL: such a word is never applied."""
    text = _text(content, field)
    if "\0" in text:
        raise Unreadable(f"a NUL in {field}")
    return text


def _timestamp(headers: Mapping[str, str], *, near: int) -> str:
    """Return the signed time as it stands there. Raises Untrusted when it is not near enough."""
    text = headers.get("sim-timestamp", "")
    if not _TIMESTAMP.fullmatch(text) or abs(int(text) - near) > WINDOW_SECONDS:
        raise Untrusted(f"timestamp {text[:32]!r}")
    return text


def _verify(account: Account, head: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Raise Untrusted unless `headers` sign `head` and `body` with the account's secret."""
    # As bytes: `compare_digest` refuses text that is not ASCII, and a header may be anything.
    given = headers.get("sim-signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(_signature(account, head, body).encode(), given):
        raise Untrusted("the signature is wrong")


def _signature(account: Account, head: str, body: bytes) -> str:
    message = head.encode("utf-8", "replace") + body
    return hmac.digest(account.secret.encode(), message, "sha256").hex()
