"""Every setting can be explained, and says where its value comes from."""

import dataclasses

import pytest

from mesh.config import PREFIX, ConfigError, Settings
from mesh.settings import MASK, explain, unit_of


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    """Only what a test sets."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


def told(home, name):
    """What is told of one setting."""
    [one] = [one for one in explain(home) if one.name == name]
    return one


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_help_text_and_numbers_have_a_unit(tmp_path, name):
    """A number without a unit is a mistake that waits to be made."""
    one = told(tmp_path, name)
    assert one.help.endswith((".", "4`.")), "a sentence under the field in mesh/config.py"
    if isinstance(one.value, int) and not isinstance(one.value, bool):
        assert unit_of(name), "add its ending to _UNITS in mesh/settings.py"


def test_the_strongest_source_is_named(tmp_path, monkeypatch):
    """Default, then file, then variable, then flag."""
    assert (told(None, "rows_max").origin, told(None, "rows_max").value) == ("default", 256)
    (tmp_path / "tongbao.toml").write_text("rows_max = 7\nflights_max = 2\n")
    one = told(tmp_path, "rows_max")
    assert (one.origin, one.value) == ("file", 7)
    assert one.place == str(tmp_path / "tongbao.toml")
    monkeypatch.setenv("TONGBAO_ROWS_MAX", "8")
    one = told(tmp_path, "rows_max")
    assert (one.origin, one.place, one.value) == ("environment", "TONGBAO_ROWS_MAX", 8)
    assert told(tmp_path, "flights_max").origin == "file"
    home = told(tmp_path, "home")
    assert (home.origin, home.place, home.value) == ("flag", "--home", str(tmp_path))


@pytest.mark.parametrize("name", ["postgres_dsn", "database_dsn", "nats_url"])
def test_secrets_are_masked(tmp_path, monkeypatch, name):
    """Wherever they come from; that there is none is told."""
    assert told(tmp_path, name).value is None
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", "postgres://me:hush@there")
    one = told(tmp_path, name)
    assert one.value == MASK
    assert "hush" not in repr(dataclasses.asdict(one))


def test_what_may_be_is_told(tmp_path):
    """Ranges and choices."""
    assert told(tmp_path, "rows_max").allowed == "1 … 4096"
    assert told(tmp_path, "keep_inbox_days").allowed == "9 …"
    assert told(tmp_path, "log_level").allowed == "debug | info | warning | error"
    assert told(tmp_path, "egress_allow_private").allowed == "true | false"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rows_mx = 1", "rows_mx in the settings file: there is no such setting; did you mean"),
        ("rows_max = 0", "greater than or equal to 1"),
        ("rows_max = ", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_an_error(tmp_path, text, problem):
    """A misspelt key would be a setting that silently stays at its default."""
    (tmp_path / "tongbao.toml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        explain(tmp_path)


def test_an_unknown_variable_is_an_error(tmp_path, monkeypatch):
    """The same for the environment."""
    monkeypatch.setenv("TONGBAO_ROWS_MX", "1")
    with pytest.raises(ConfigError, match="did you mean TONGBAO_ROWS_MAX"):
        explain(tmp_path)
