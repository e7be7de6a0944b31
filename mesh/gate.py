"""Who may come in now: the right of the caller, the limits of its app, room in the process.

One gate a process, for all its servers. Nothing is done for a call before it has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.clock import monotonic
from mesh.errors import Refused, refuse
from mesh.limits import Account, Accounts
from mesh.policy import Priority, Rule
from mesh.room import Room
from mesh.tokens import Identity, Verifier
from tongbao.common.v1 import options_pb2
from tongbao.common.v1 import reasons_pb2 as reasons


@dataclass(slots=True, kw_only=True)
class Place:
    """What a call holds while it is worked on; given back once, by `leave`."""

    method: str
    app_id: str
    items: int
    account: Account | None = None
    room: Room | None = None
    is_stream: bool = False
    began: float = 0.0

    def leave(self, *, ok: bool) -> None:
        """Give it back. `ok`: the call went well, so its time says something."""
        if self.account is not None:
            if self.is_stream:
                self.account.streams -= 1
            else:
                self.account.in_flight -= self.items
        if self.room is not None:
            self.room.leave(self.app_id, self.items)
            if ok:
                self.room.learn(self.method, monotonic() - self.began)


class Gate:
    """Admits calls. What services and operators ask is a continuation of something accepted
    before, or rare: it always gets in. Apps have a room for what they read, and one for what
    they bring."""

    def __init__(
        self, verifier: Verifier, accounts: Accounts, rooms: Mapping[Priority, Room]
    ) -> None:
        self._verifier, self._accounts, self._rooms = verifier, accounts, rooms

    async def identify(self, metadata: Mapping[str, str], rule: Rule) -> Identity:
        """Return who calls. Raises TOKEN_INVALID, TOKEN_EXPIRED, PERMISSION_DENIED."""
        identity = await self._verifier.identify(_token(metadata))
        rule.demand(identity)
        return identity

    async def lapse(self, metadata: Mapping[str, str]) -> Refused:
        """Return why the caller may go on no more, when its token has ended or lost its key."""
        return await self._verifier.lapse(_token(metadata))

    async def pace(self, place: Place, items: int) -> None:
        """Return when the limits of a stream's app leave room for so many more items.

        A stream is slowed down where a call is refused: its caller cannot but wait.
        """
        if place.account is None:
            return
        while True:
            limits = await self._accounts.limits(place.app_id)
            try:
                place.account.take(limits, items)
            except Refused as refused:
                await asyncio.sleep(int(refused.facts["retry_after_ms"]) / 1000)
            else:
                place.account.in_flight -= items  # The stream's own bound counts those.
                return

    async def enter(
        self, identity: Identity, rule: Rule, *, method: str, items: int, is_stream: bool = False
    ) -> Place:
        """Return the place of the call, which must leave it.

        Raises Refused, in this order: RATE_LIMITED, TOO_MANY_IN_FLIGHT, OVERLOADED. A stream
        counts as one open stream, not as work: it waits more than it works.
        """
        place = Place(method=method, app_id=identity.name, items=items, is_stream=is_stream)
        if identity.role != options_pb2.ROLE_APP:
            return place
        limits = await self._accounts.limits(identity.name)
        account = self._accounts.account(identity.name, limits)
        if is_stream:
            account.open_stream(limits)
        else:
            account.take(limits, items)
        place.account = account
        room = None if is_stream else self._rooms.get(rule.priority(identity))
        if room is not None:
            try:
                room.enter(identity.name, items)
            except BaseException:
                place.leave(ok=False)
                raise
            place.room, place.began = room, monotonic()
        return place


def _token(metadata: Mapping[str, str]) -> str:
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refuse(reasons.REASON_TOKEN_INVALID, problem="there is no bearer token")
    return token
