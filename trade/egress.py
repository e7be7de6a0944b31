"""The way out to apps' receivers: no redirects, and only public addresses unless allowed.

A name is resolved once and the connection goes to exactly the address that was checked, so
a name that answers differently the second time gains nothing (reliability.md T41).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

SECONDS = 5.0  # For a whole try: name, connection, answer.
_LOOK_UP_SECONDS = 2.0
_PROBLEM_MAX = 300
_NOT_PUBLIC = "its address is not public"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not public either, whatever the running version of `ipaddress` knows of it: metadata of some
# clouds, relays, IPv4 in IPv6 as it was once written and as translators write it, the
# translation prefix for private use, segment routing, and what private IPv6 once was.
_NEVER = tuple(
    ipaddress.ip_network(one)
    for one in (
        "168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24",
        "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "5f00::/16", "fec0::/10",
    )
)  # fmt: skip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotPublic(OSError):
    """A receiver is at an address that is not public."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, _NOT_PUBLIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a try ended. `status` is HTTP's, 0 without an answer; no `problem` means taken."""

    status: int
    problem: str


class Egress:
    """Sends to receivers. `allow_private` lets it reach private addresses and plain http."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        resolver = aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=resolver if allow_private else _PublicOnly(resolver), use_dns_cache=False
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Egress:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def check(self, url: str) -> str:
        """Return what is wrong with `url` as a receiver's; empty when nothing is."""
        try:
            target = URL(url)
            port = target.port
        except ValueError:
            return "not a URL"
        if target.scheme not in ("https", "http") or not target.host:
            return "not an https URL"
        if target.scheme == "http" and not self._allow_private:
            return "not an https URL"
        if target.user is not None or target.password is not None:
            return "it holds a user or a password"
        if self._allow_private:
            return ""
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                _require_public(await _look_up(target.host, port or 443))
        except NotPublic:
            return _NOT_PUBLIC
        except (OSError, TimeoutError, UnicodeError):
            return "its host is not found"
        return ""

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Sent:
        """Send `body` once. Only an answer 2xx is a success; a redirect is not followed."""
        try:
            self._check_literal(url)
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                taken = 200 <= reply.status < 300
                return Sent(status=reply.status, problem="" if taken else "it did not answer 2xx")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            return Sent(status=0, problem=problem[:_PROBLEM_MAX])

    def _check_literal(self, url: str) -> None:
        """Raise NotPublic for an address in the url itself, which is never resolved."""
        host = URL(url).host or ""
        if not self._allow_private and (address := _literal(host)) is not None:
            _require_public([address])


class _PublicOnly(AbstractResolver):
    """Resolves names; a name that has any address that is not public has none."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        _require_public([ipaddress.ip_address(one["host"].partition("%")[0]) for one in found])
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _require_public(addresses: list[Address]) -> None:
    for address in addresses:
        inner = _carried(address)
        never = any(inner in network for network in _NEVER)
        if never or not inner.is_global or inner.is_multicast:
            raise NotPublic


def _carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _look_up(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
