"""The bills of one acquirer: when there is one, what stands in it, how it is fetched."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, timedelta
from typing import Any

import orjson
from aiohttp import web

from sim.bill_file import READY_AT, LineType, bill_csv, line_of, packed
from sim.book import Book, Order
from sim.clock import Clock, day_of, real_seconds, start_of, to_text
from sim.faults import Fault
from sim.journal import Journal, Record
from sim.planted import BY_MINOR, Difference, Plan, Planted, billed, plant
from sim.requests import Answer, Refusal, invalid
from sim.rules import MILLION, share_of

URL_SECONDS = 300

_DAY = re.compile(r"/v1/bills/([0-9]{4}-[0-9]{2}-[0-9]{2})")
_FILES = "/v1/bill-files/"
_ONE_DAY = timedelta(days=1)
_PLAN = frozenset({"acquirer", "date", "difference", "times", "by_minor", "match"})
_MATCH = frozenset({"share_ppm", "number", "attach", "app", "type"})


class BillIsOut(Exception):
    """Somebody has the bill already: it cannot change any more."""


class Bills:
    """Makes each bill from what happened that day and what was planted, always the same.

    That somebody was given a bill is in the journal, and so is every plan: a bill that is out
    has the same bytes for ever.
    """

    files = _FILES

    def __init__(
        self, acquirer: str, *, key: bytes, book: Book, journal: Journal, clock: Clock
    ) -> None:
        self._acquirer, self._key = acquirer, key
        self._book, self._journal, self._clock = book, journal, clock
        self._plans: dict[date, list[Plan]] = {}
        self._out: dict[date, str] = {}  # The hash of each bill that somebody was given.
        self._made: dict[date, bytes] = {}

    def replay(self, record: Record) -> bool:
        """Apply one record of the journal; return whether it is one of ours."""
        if "plant" in record and record["plant"]["acquirer"] == self._acquirer:
            plan = _plan_of(record["plant"])
            self._plans.setdefault(plan.day, []).append(plan)
        elif "bill" in record and record["bill"][0] == self._acquirer:
            self._out[date.fromisoformat(record["bill"][1])] = record["sha256"]
        else:
            return False
        return True

    def plan(self, said: Mapping[str, Any], *, seed: int) -> None:
        """Plant a difference. Raises BillIsOut, KeyError, TypeError, ValueError."""
        plan = _read_plan(said, seed=seed, nth=sum(map(len, self._plans.values())))
        if self._out.keys() & {plan.day, plan.day + _ONE_DAY}:
            raise BillIsOut(f"the bill of {plan.day} or of the day after it is out")
        record = {"plant": {one.name: getattr(plan, one.name) for one in fields(plan)}}
        self._journal.append(record)
        self._plans.setdefault(plan.day, []).append(plan)

    def planted(self) -> list[Planted]:
        """Return every difference in every bill that somebody was given, oldest bill first."""
        return [
            planted
            for day in sorted(self._out)
            for _, planted in self._placed(day)
            if planted is not None
        ]

    def day_in(self, method: str, path: str) -> date | None:
        """Return the day whose bill is asked for; None: it is another question."""
        match = _DAY.fullmatch(path)
        if method != "GET" or match is None:
            return None
        try:
            return date.fromisoformat(match[1])
        except ValueError as error:
            raise invalid("bill_date") from error

    def announce(self, day: date) -> Answer:
        """Return where the bill of `day` can be had. Raises Refusal: BILL_NOT_READY, NO_BILL."""
        ready_ms = start_of(day) + READY_AT // timedelta(milliseconds=1)
        if self._clock.now_ms() < ready_ms:
            raise Refusal(409, "BILL_NOT_READY", ready_time=to_text(ready_ms))
        content = self._content(day)
        if content is None:
            raise Refusal(404, "NO_BILL")
        path = f"{_FILES}{self._acquirer}-{day}.csv.gz"
        expires = real_seconds() + URL_SECONDS
        return Answer(
            200,
            {
                "account": self._acquirer,
                "bill_date": day.isoformat(),
                "url": f"{path}?expires={expires}&token={self._token(path, str(expires))}",
                "hash_type": "SHA256",
                "hash_value": hashlib.sha256(content).hexdigest(),
                "size": len(content),
            },
        )

    def download(self, method: str, path: str, query: Mapping[str, str]) -> web.Response:
        """Return the file to whoever has its address: it is not signed, like any download."""
        expires = query.get("expires", "")
        token = self._token(path, expires).encode()
        given = query.get("token", "").encode("utf-8", "surrogateescape")
        name = re.fullmatch(rf"{_FILES}{re.escape(self._acquirer)}-(\S+)\.csv\.gz", path)
        if method != "GET" or name is None or not hmac.compare_digest(token, given):
            return _refusal(403, "BAD_TOKEN")
        if int(expires) < real_seconds():
            return _refusal(403, "URL_EXPIRED")
        content = self._content(date.fromisoformat(name[1]))
        assert content is not None, "nobody is given the address of nothing"
        return web.Response(body=packed(content), content_type="application/gzip")

    def _content(self, day: date) -> bytes | None:
        """Return the bill, which is out from now on; None when nothing is in it."""
        if day not in self._made:
            lines = [*self._from_before(day), *billed(self._placed(day))]
            lines.sort(key=lambda line: (line.time_ms, line.provider_no, line.type))
            content = bill_csv(lines, account=self._acquirer, day=day) if lines else b""
            digest = hashlib.sha256(content).hexdigest()
            if day in self._out:
                assert self._out[day] == digest, f"the bill of {day} is not what it was"
            else:
                self._out[day] = digest
                bill = [self._acquirer, day.isoformat()]
                self._journal.append({"bill": bill, "sha256": digest})
            self._made[day] = content
        return self._made[day] or None

    def _from_before(self, day: date) -> list[Any]:
        """Return the lines that should have been in the bill of the day before."""
        return [
            planted.bill
            for _, planted in self._placed(day - _ONE_DAY)
            if planted is not None and planted.difference is Difference.CROSS_DAY
        ]

    def _placed(self, day: date) -> list[Any]:
        found = [
            (order, line_of(order, happening))
            for order in self._book.orders()
            if order.ask.acquirer == self._acquirer
            for happening in order.happenings
            if happening.moved_minor and day_of(happening.time_ms) == day
        ]
        found.sort(key=lambda one: (one[1].time_ms, one[1].provider_no, one[1].type))
        by_amount = [_missing(order, day) for order, _ in found if _is_left_out(order)]
        plans = [*self._plans.get(day, ()), *by_amount]
        lines = [line for _, line in found]
        return plant(lines, plans, acquirer=self._acquirer, day=day)

    def _token(self, path: str, expires: str) -> str:
        message = f"{path}\n{expires}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, message, "sha256").hex()


def _is_left_out(order: Order) -> bool:
    return order.fault is Fault.MISSING_IN_BILL


def _plan(**said: Any) -> Plan:
    given: dict[str, Any] = {
        "times": None,
        "by_minor": 0,
        "share_ppm": MILLION,
        "number": None,
        "attach": None,
        "app": None,
        "type": None,
        "seed": "",
    }
    return Plan(**given | said)


def _missing(order: Order, day: date) -> Plan:
    return _plan(
        acquirer=order.ask.acquirer,
        day=day,
        difference=Difference.MISSING,
        number=order.ask.number,
    )


def _read_plan(said: Mapping[str, Any], *, seed: int, nth: int) -> Plan:
    match = said.get("match", {})
    if unknown := (said.keys() - _PLAN) | (match.keys() - _MATCH):
        raise ValueError(f"unknown: {sorted(unknown)}")
    difference = Difference(said["difference"])
    times, by_minor = said.get("times"), said.get("by_minor", BY_MINOR.get(difference, 0))
    if times is not None and (type(times) is not int or times < 1):
        raise ValueError("times must be a whole number of at least 1")
    if type(by_minor) is not int:
        raise ValueError("by_minor must be a whole number")
    texts = {name: match.get(name) for name in ("number", "attach", "app")}
    return _plan(
        acquirer=said["acquirer"],
        day=date.fromisoformat(said["date"]),
        difference=difference,
        times=times,
        by_minor=by_minor,
        share_ppm=share_of(match),
        type=LineType(match["type"]) if "type" in match else None,
        seed=f"{seed}/{said['date']}/{nth}",
        **texts,
    )


def _plan_of(record: Record) -> Plan:
    return Plan(
        **record
        | {
            "day": date.fromisoformat(record["day"]),
            "difference": Difference(record["difference"]),
            "type": LineType(record["type"]) if record["type"] else None,
        }
    )


def _refusal(status: int, code: str) -> web.Response:
    body = orjson.dumps({"code": code})
    return web.Response(status=status, body=body, content_type="application/json")
