"""What a service is told of PostgreSQL and NATS when a route leads there another way."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from psycopg.conninfo import make_conninfo


def dsn_over(dsn: str, route: str | None) -> str:
    """Return the DSN with the host (or socket folder) and port of `route`, if there is one."""
    if route is None:
        return dsn
    host, _, port = route.rpartition(":")
    return make_conninfo(dsn, host=host, port=port)


def url_over(url: str, route: str | None) -> str:
    """Return the URL with the host and port of `route`, if there is one; its user stays."""
    if route is None:
        return url
    parts = urlsplit(url)
    user, sign, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{sign}{route}"))
