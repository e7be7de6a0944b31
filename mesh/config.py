"""Settings: the only place that reads the environment.

A value is taken from the first of: an argument of `load`, a variable `TONGBAO_<NAME>`, a
file, the default below. The file is `tongbao.toml` in the home directory; for children of
the supervisor it is the one it wrote for them and named by `TONGBAO_SETTINGS`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "TONGBAO_"
SETTINGS_VARIABLE = "TONGBAO_SETTINGS"
HOME_DEFAULT = Path(".tongbao")

# A unix socket's path must fit into sockaddr_un, its closing zero included.
SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107
SOCKET_NAME_BYTES_MAX = 24  # `settlement.sock`, `.s.PGSQL.65535`, and room for more.

Port = Annotated[int, Field(ge=0, le=65535)]
_ROUTE_END = re.compile(r".+:\d+")


class ConfigError(Exception):
    """A setting is wrong. Each line of the message names the variable and the rule."""


def _table(value: object, *, example: str) -> object:
    """Return the table in the text of a variable. Raises ValueError."""
    if not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError(f"must look like {example}")
    return {name.strip(): given.strip() for name, _, given in pairs}


def _number(value: object) -> object:
    """Return the number in the text of a variable: a Literal takes no text for it."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Settings(BaseSettings):
    """Everything a process may be told. Immutable; secrets do not appear in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    home: Path = HOME_DEFAULT
    """Where everything that lasts is kept. Made absolute."""

    service: str | None = None
    """Which service this process is; None for tools."""

    database_dsn: str | None = Field(default=None, repr=False)
    """The service's own role in the service's own database. None until there is a server."""

    postgres_dsn: str | None = Field(default=None, repr=False)
    """An administrator of an external PostgreSQL, 16 or newer. None: embedded."""

    postgres_major: Annotated[Literal[16, 18], BeforeValidator(_number)] = 18
    """Which embedded PostgreSQL; only read when it is embedded."""

    postgres_port: Port = 0
    """Where the embedded PostgreSQL listens on 127.0.0.1; 0: a free port, remembered."""

    nats_url: str | None = Field(default=None, repr=False)
    """NATS with JetStream, with user and password. None: embedded."""

    nats_port: Port = 0
    """Where the embedded NATS listens on 127.0.0.1; 0: a free port, remembered."""

    socket_dir: Path
    """A private directory for the services' unix sockets. Default: in home, or short in /tmp."""

    public_host: str = "127.0.0.1"
    """The address public gRPC ports listen on."""

    connection_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """How old a connection to a gRPC port may be before its caller is asked to make a new one.
    A process that is replaced (`tongbao roll`) serves for as long, until all have moved."""

    public_ports: Annotated[dict[str, Port], NoDecode] = Field(default_factory=dict)
    """Service to public gRPC port, as a table or `trade=7443,risk=0`; 0: free, remembered."""

    routes: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """Where a link goes if not straight to its neighbour, such as a proxy or a tunnel, by
    `caller>neighbour`, as a table or `trade>payment=unix:/run/p.sock,trade>nats=127.0.0.1:4`.
    To a service: a gRPC target. To `postgres` or `nats`: host (or a socket's folder) and port."""

    tls_cert: Path
    """PEM chain of the public port. Default: what the development authority issued."""

    tls_key: Path
    """PEM key of the public port."""

    tls_ca: Path
    """PEM of the authority that callers and peers are checked against."""

    keys_dir: Path
    """Public keys of services (`svc-<name>.pem`) and operators (`op-<name>.pem`)."""

    key_file: Path | None = None
    """The Ed25519 key this process signs its calls with. Default: the service's in home."""

    http_port: Port = 0
    """Where channel listens for callbacks of providers; 0: a free port, remembered."""

    http_url: str | None = None
    """How providers reach that port. Default: public_host and http_port."""

    edge_port: Port = 0
    """Where the edge serves JSON over HTTP; 0: a free port, remembered."""

    sim_url: str | None = None
    """The provider simulator; None: there is none."""

    rows_max: Annotated[int, Field(ge=1, le=4096)] = 256
    """Inputs of one coalesced statement."""

    flights_max: Annotated[int, Field(ge=1, le=16)] = 1
    """Statements of one kind in flight at once."""

    app_per_second: Annotated[int, Field(ge=1)] = 5_000
    """Items a second an app without limits of its own may send to one process."""

    app_burst: Annotated[int, Field(ge=1)] = 10_000
    """Items that such an app may send at a stroke."""

    app_in_flight: Annotated[int, Field(ge=1)] = 4_096
    """Items that such an app may have in work at once."""

    app_streams: Annotated[int, Field(ge=1)] = 256
    """Streams that such an app may have open at once."""

    room_least: Annotated[int, Field(ge=1)] = 256
    """Items of all apps that a process works on at once however slow it is."""

    room_most: Annotated[int, Field(ge=1)] = 4_096
    """The same however quick it is. Never less than room_least."""

    keep_outbox_days: Annotated[int, Field(ge=1)] = 7
    """How long published events stay in the outbox, from which a lost stream is made again."""

    keep_inbox_days: Annotated[int, Field(ge=9)] = 30
    """How long it is known which events were applied: longer than streams keep them (8 days)."""

    keep_callback_days: Annotated[int, Field(ge=1)] = 180
    """How long what providers said is kept as they said it, in business time."""

    keep_entry_days: Annotated[int, Field(ge=36)] = 90
    """How long entries of a closed accounting day stay in the database, in business time; from
    then on they are in files. Longer than an id of a transfer may be old (35 days)."""

    timezone: str = "Asia/Shanghai"
    """Whose midnight ends a business day."""

    egress_allow_private: bool
    """Whether webhooks may go to private addresses. Default: only when all is embedded."""

    otlp_endpoint: str | None = None
    """Where spans go by OTLP: `http://host:4317` over gRPC; with a path, such as
    `http://host:4318/v1/traces`, over HTTP. None: to a file in home."""

    trace_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """How many of a million traces that begin here are kept."""

    metrics_port: Port = 0
    """Where Prometheus may read, on 127.0.0.1; 0: nowhere. `up` counts on from it by service."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first."""
        if own := os.environ.get(SETTINGS_VARIABLE):
            written = JsonConfigSettingsSource(settings_cls, json_file=own)
            return (init_settings, env_settings, written)
        home = init_settings().get("home") or os.environ.get(f"{PREFIX}HOME") or HOME_DEFAULT
        file = Path(home) / "tongbao.toml"
        toml = TomlConfigSettingsSource(settings_cls, toml_file=file)
        if "home" in toml.toml_data:
            raise ConfigError(f"home in {file}: home is where this file lies, leave it out")
        return (init_settings, env_settings, toml)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Derive what was not said from what was."""
        home = Path(data.get("home", HOME_DEFAULT)).absolute()
        external = data.get("postgres_dsn") or data.get("database_dsn")
        derived = {
            "socket_dir": short_dir(home),
            "tls_cert": home / "pki" / "server.pem",
            "tls_key": home / "pki" / "server.key",
            "tls_ca": home / "pki" / "ca.pem",
            "keys_dir": home / "keys" / "public",
            "egress_allow_private": not external,
        }
        if service := data.get("service"):
            derived["key_file"] = home / "keys" / f"{service}.key"
        return derived | data | {"home": home}

    @field_validator("public_ports", mode="before")
    @classmethod
    def _split_ports(cls, value: object) -> object:
        return _table(value, example="trade=7443,risk=0")

    @field_validator("routes", mode="before")
    @classmethod
    def _split_routes(cls, value: object) -> object:
        return _table(value, example="trade>payment=unix:/run/p.sock,trade>nats=127.0.0.1:4")

    @field_validator("routes")
    @classmethod
    def _known_ends(cls, value: dict[str, str]) -> dict[str, str]:
        for link, address in value.items():
            caller, sign, neighbour = link.partition(">")
            if not (caller and sign and neighbour):
                raise ValueError(f"must name a link such as trade>payment (got {link!r})")
            if neighbour in ("postgres", "nats") and not _ROUTE_END.fullmatch(address):
                raise ValueError(f"must be host:port for {link} (got {address!r})")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, KeyError, OSError):
            raise ValueError("must be a time zone such as Asia/Shanghai") from None
        return value

    @field_validator("socket_dir")
    @classmethod
    def _short_enough(cls, value: Path) -> Path:
        room = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_BYTES_MAX - 1
        if len(os.fsencode(value.absolute())) > room:
            raise ValueError(f"must be at most {room} bytes long, or sockets in it cannot be made")
        return value.absolute()


def load(service: str | None = None, **overrides: Any) -> Settings:
    """Return the settings of this process; `overrides` win over every other source.

    Raises ConfigError with one line per mistake.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if service is not None:
        given["service"] = service
    _refuse_unknown_variables()
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [_line(dict(one), given) for one in error.errors()]
        raise ConfigError("\n".join(lines)) from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, OSError) as error:
        raise ConfigError(f"the settings file cannot be read: {error}") from None


def origins(settings: Settings, **overrides: Any) -> dict[str, tuple[str, str]]:
    """Return, of each setting that somebody gave, the kind of source it is from and its place.

    `settings` is what `load` returned for the same `overrides`. Kinds: `flag`, `environment`,
    `file`. What is not here has its default.
    """
    own = os.environ.get(SETTINGS_VARIABLE)
    file = Path(own) if own else settings.home / "tongbao.toml"
    text = file.read_text() if file.is_file() else ""
    written = (json.loads(text or "{}") if own else tomllib.loads(text)).keys()
    found = {name: ("file", str(file)) for name in written}
    for name in Settings.model_fields:
        if os.environ.get(f"{PREFIX}{name.upper()}"):
            found[name] = ("environment", f"{PREFIX}{name.upper()}")
        if overrides.get(name) is not None:
            found[name] = ("flag", f"--{name}")
    return found


def environment(settings_file: Path) -> dict[str, str]:
    """Return the environment of a child whose settings are `settings_file`.

    Our own variables are left out: what they said is in the file already, and a value meant
    for one process (a port, a service's name) must not reach another.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {SETTINGS_VARIABLE: str(settings_file)}


def services() -> tuple[str, ...]:
    """Return the names of the installed services, in order; none of them is imported."""
    return tuple(sorted(importlib.metadata.entry_points(group="tongbao.services").names))


def short_dir(home: Path) -> Path:
    """Return a directory for unix sockets: in `home` if paths in it can be short enough."""
    inside = home / "run" / "sock"
    if len(os.fsencode(inside)) + 1 + SOCKET_NAME_BYTES_MAX <= SOCKET_PATH_BYTES_MAX:
        return inside
    name = f"tongbao-{os.getuid()}-{digest(home)}"
    temporary = Path(tempfile.gettempdir())
    fits = len(os.fsencode(temporary / name)) + 1 + SOCKET_NAME_BYTES_MAX <= SOCKET_PATH_BYTES_MAX
    return (temporary if fits else Path("/tmp")) / name  # noqa: S108  # Made 0700, owner checked.


def digest(home: Path) -> str:
    """Return eight letters that stand for this home in names outside of it."""
    return hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:8]


def _refuse_unknown_variables() -> None:
    """A misspelt variable would be a setting that silently stays at its default."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {SETTINGS_VARIABLE}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{name}: there is no such setting{hint}")


def _line(error: dict[str, Any], given: Mapping[str, Any]) -> str:
    """Return one pydantic error as one line for people: where it was said, and the rule."""
    name = str(error["loc"][0]) if error["loc"] else "settings"
    inner = "".join(f"[{part}]" for part in error["loc"][1:])
    variable = f"{PREFIX}{name.upper()}"
    if name in given:
        place = name
    elif variable in os.environ:
        place = variable
    else:
        place = f"{variable} ({name} in the settings file)"
    rule = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, list(Settings.model_fields), n=1)
        return f"{name} in the settings file: there is no such setting" + (
            f"; did you mean {near[0]}?" if near else ""
        )
    field = Settings.model_fields.get(name)
    secret = field is not None and not field.repr
    got = "" if secret else f" (got {error['input']!r})"
    return f"{place}{inner}: {rule[:1].lower()}{rule[1:]}{got}"
