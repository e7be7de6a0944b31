"""Settings: where a value comes from, and what is said when it is wrong."""

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from mesh.config import (
    SOCKET_NAME_BYTES_MAX,
    SOCKET_PATH_BYTES_MAX,
    ConfigError,
    environment,
    load,
    short_dir,
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    """Only what a test sets is set, and home is its own."""
    for name in list(os.environ):
        if name.startswith("TONGBAO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TONGBAO_HOME", str(tmp_path))


def write_toml(home: Path, text: str) -> None:
    (home / "tongbao.toml").write_text(text)


def test_without_any_setting_all_is_embedded_and_on_this_machine(tmp_path):
    """The defaults need no account, no network and no other server."""
    settings = load()
    assert settings.home == tmp_path
    assert settings.postgres_dsn is None
    assert settings.nats_url is None
    assert settings.public_host == "127.0.0.1"
    assert settings.egress_allow_private
    assert (settings.rows_max, settings.flights_max) == (256, 1)


def test_each_source_wins_over_the_one_below(monkeypatch, tmp_path):
    """Argument, then variable, then file, then default."""
    write_toml(tmp_path, "rows_max = 10\nflights_max = 3\nhttp_port = 4\n")
    monkeypatch.setenv("TONGBAO_ROWS_MAX", "20")
    monkeypatch.setenv("TONGBAO_FLIGHTS_MAX", "5")
    settings = load(flights_max=7)
    assert (settings.flights_max, settings.rows_max, settings.http_port) == (7, 20, 4)
    assert settings.metrics_port == 0


def test_a_child_reads_its_own_file_instead_of_the_shared_one(monkeypatch, tmp_path):
    """What the supervisor wrote is complete; an explicit variable still wins."""
    write_toml(tmp_path, 'postgres_dsn = "host=db user=admin"\nrows_max = 9\n')
    own = tmp_path / "payment.json"
    own.write_text(json.dumps({"home": str(tmp_path), "service": "payment", "http_port": 81}))
    monkeypatch.setenv("TONGBAO_SETTINGS", str(own))
    monkeypatch.setenv("TONGBAO_HTTP_PORT", "82")
    settings = load()
    assert settings.service == "payment"
    assert settings.key_file == tmp_path / "keys" / "payment.key"
    assert settings.postgres_dsn is None
    assert (settings.rows_max, settings.http_port) == (256, 82)


def test_ports_of_services_are_a_table_or_a_list(monkeypatch, tmp_path):
    """The same setting in a file and in a variable; the variable replaces the table."""
    write_toml(tmp_path, "[public_ports]\ntrade = 7443\nrisk = 1\n")
    assert load().public_ports == {"trade": 7443, "risk": 1}
    monkeypatch.setenv("TONGBAO_PUBLIC_PORTS", "risk=0, ledger=7444")
    assert load().public_ports == {"risk": 0, "ledger": 7444}


def test_settings_cannot_be_changed_and_do_not_print_secrets():
    """What a process was told stays so, and passwords stay out of logs."""
    settings = load(database_dsn="password=geheim", nats_url="nats://u:geheim@h", home="x")
    assert "geheim" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.rows_max = 1


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("HTTP_PORT", "70000", "less than or equal to 65535"),
        ("HTTP_PORT", "web", "valid integer"),
        ("ROWS_MAX", "0", "greater than or equal to 1"),
        ("TIMEZONE", "Mars/Olympus", "must be a time zone"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("POSTGRES_MAJOR", "15", "16 or 18"),
        ("PUBLIC_PORTS", "7443", "must look like trade=7443"),
        ("SOCKET_DIR", "/" + "x" * 100, "at most"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_variable_and_the_rule(monkeypatch, name, value, rule):
    """Nobody must read a traceback to find out which variable to correct."""
    monkeypatch.setenv(f"TONGBAO_{name}", value)
    with pytest.raises(ConfigError) as caught:
        load()
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"TONGBAO_{name}")
    assert rule in line
    assert value in line


def test_a_wrong_secret_is_not_repeated(monkeypatch):
    """The error names the variable, not what was in it."""
    with pytest.raises(ConfigError) as caught:
        load(nats_url=["geheim"])
    assert "nats_url" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_two_mistakes_are_two_lines(monkeypatch):
    """All is said at once."""
    monkeypatch.setenv("TONGBAO_HTTP_PORT", "-1")
    monkeypatch.setenv("TONGBAO_ROWS_MAX", "-1")
    with pytest.raises(ConfigError) as caught:
        load()
    assert len(str(caught.value).splitlines()) == 2


def test_a_misspelt_variable_is_an_error_that_names_the_right_one(monkeypatch):
    """A setting that silently stays at its default is worse than an error."""
    monkeypatch.setenv("TONGBAO_HTTP_PROT", "80")
    with pytest.raises(ConfigError, match=r"TONGBAO_HTTP_PROT: .*did you mean TONGBAO_HTTP_PORT"):
        load()


def test_a_misspelt_key_in_the_file_is_an_error_that_names_the_right_one(tmp_path):
    """The same for the file."""
    write_toml(tmp_path, "row_max = 3\n")
    with pytest.raises(ConfigError, match=r"row_max .*did you mean rows_max"):
        load()


def test_a_file_that_is_not_toml_is_an_error_with_its_place(tmp_path):
    """A broken file stops the start."""
    write_toml(tmp_path, "rows_max = \n")
    with pytest.raises(ConfigError, match="line 1"):
        load()


def test_the_file_cannot_move_home(tmp_path):
    """It lies in home: that would move the file itself."""
    write_toml(tmp_path, 'home = "/elsewhere"\n')
    with pytest.raises(ConfigError, match="home"):
        load()


def test_private_targets_are_open_only_when_all_is_embedded():
    """A real installation must say so before webhooks may go to private addresses."""
    assert not load(postgres_dsn="host=db").egress_allow_private
    assert not load(database_dsn="host=db").egress_allow_private
    assert load(postgres_dsn="host=db", egress_allow_private=True).egress_allow_private


@pytest.mark.parametrize("length", [10, 60, 80, 95, 300])
def test_sockets_fit_however_long_home_is(length):
    """A socket's path is at most 107 bytes; a directory beside home takes over in time."""
    home = Path("/" + ("x" * 9 + "/") * (length // 10))
    longest = short_dir(home) / ("s" * SOCKET_NAME_BYTES_MAX)
    assert len(os.fsencode(longest)) <= SOCKET_PATH_BYTES_MAX
    assert load(home=home).socket_dir == short_dir(home)


def test_two_long_homes_do_not_share_a_socket_directory():
    """The short name depends on the whole path."""
    first, second = Path("/") / ("x" * 200 + "1"), Path("/") / ("x" * 200 + "2")
    assert short_dir(first) != short_dir(second)


def test_a_child_inherits_no_setting_but_its_file(monkeypatch, tmp_path):
    """A port meant for the supervisor must not reach a service."""
    monkeypatch.setenv("TONGBAO_HTTP_PORT", "80")
    given = environment(tmp_path / "risk.json")
    ours = {name: value for name, value in given.items() if name.startswith("TONGBAO_")}
    assert ours == {"TONGBAO_SETTINGS": str(tmp_path / "risk.json")}
    assert "PATH" in given
