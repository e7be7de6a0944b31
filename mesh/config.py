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


class ConfigError(Exception):
    """A setting is wrong. Each line of the message names the variable and the rule."""


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

    public_ports: Annotated[dict[str, Port], NoDecode] = Field(default_factory=dict)
    """Service to public gRPC port, as a table or `trade=7443,risk=0`; 0: free, remembered."""

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

    sim_url: str | None = None
    """The provider simulator; None: there is none."""

    rows_max: Annotated[int, Field(ge=1, le=4096)] = 256
    """Inputs of one coalesced statement."""

    flights_max: Annotated[int, Field(ge=1, le=16)] = 1
    """Statements of one kind in flight at once."""

    timezone: str = "Asia/Shanghai"
    """Whose midnight ends a business day."""

    egress_allow_private: bool
    """Whether webhooks may go to private addresses. Default: only when all is embedded."""

    otlp_endpoint: str | None = None
    """Where spans go by OTLP over gRPC. None: to a file in home."""

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
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(sign for _, sign, _ in pairs):
            raise ValueError("must look like trade=7443,risk=0")
        return {name.strip(): port.strip() for name, _, port in pairs}

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
