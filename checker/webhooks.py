"""The receiver's own log of webhooks, line by line."""

from __future__ import annotations

import json

from checker.evidence import Delivery


def line(*, app: str, webhook_id: str, signed: bool, answered: int, body: str) -> str:
    """Return the line that a receiver writes down before it answers."""
    facts = {"app": app, "id": webhook_id, "signed": signed, "answered": answered, "body": body}
    return json.dumps(facts, ensure_ascii=False)


def read(text: str) -> Delivery:
    """Return what a line says; what is not a webhook of ours has no number and no state."""
    facts = json.loads(text)
    try:
        body = json.loads(facts["body"])
        number, _, version = body["id"].rpartition(":")
        told = {
            "event_type": str(body["type"]),
            "number": number,
            "version": int(version),
            "trace_no": str(body["data"]["traceNo"]),
            "state": str(body["data"]["state"]).removeprefix("STATE_"),
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        told = {"event_type": "", "number": "", "version": 0, "trace_no": "", "state": ""}
    return Delivery(
        app=facts["app"],
        webhook_id=facts["id"],
        body=facts["body"],
        signed=facts["signed"],
        answered=facts["answered"],
        **told,
    )
