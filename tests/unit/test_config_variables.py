"""Every setting can be given as a variable, where everything is text."""

import pytest

from mesh.config import PREFIX, ConfigError, load

GIVEN = {
    "postgres_major": ("16", 16),
    "postgres_port": ("15432", 15432),
    "public_ports": ("trade=7443, risk=0", {"trade": 7443, "risk": 0}),
    "rows_max": ("64", 64),
    "trace_ppm": ("1000000", 1_000_000),
    "egress_allow_private": ("false", False),
    "log_format": ("json", "json"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_may_be_a_variable(tmp_path, monkeypatch, name):
    """Numbers, tables and choices alike."""
    text, value = GIVEN[name]
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", text)

    assert getattr(load(home=tmp_path), name) == value


@pytest.mark.parametrize("text", ["17", "16.0", "new", "-16"])
def test_a_choice_that_is_none_is_refused_by_its_variable(tmp_path, monkeypatch, text):
    """And the ones there are are named."""
    monkeypatch.setenv("TONGBAO_POSTGRES_MAJOR", text)
    with pytest.raises(ConfigError, match=r"TONGBAO_POSTGRES_MAJOR: input should be 16 or 18"):
        load(home=tmp_path)


def test_routes_name_links_and_where_they_begin(tmp_path, monkeypatch):
    """To a service a gRPC target, to a server a host or folder with a port."""
    text = "trade>payment=unix:/run/p.sock, trade>nats=127.0.0.1:4, risk>postgres=/run/wires:2"
    monkeypatch.setenv("TONGBAO_ROUTES", text)

    assert load(home=tmp_path).routes == {
        "trade>payment": "unix:/run/p.sock",
        "trade>nats": "127.0.0.1:4",
        "risk>postgres": "/run/wires:2",
    }


@pytest.mark.parametrize(
    ("text", "rule"),
    [("trade", "must look like"), ("trade=unix:/x", "must name a link"),
     ("trade>=x", "must name a link"), ("trade>nats=127.0.0.1", "must be host:port")],
)  # fmt: skip
def test_a_route_that_leads_nowhere_is_refused(tmp_path, monkeypatch, text, rule):
    """With the rule it breaks."""
    monkeypatch.setenv("TONGBAO_ROUTES", text)
    with pytest.raises(ConfigError, match=rule):
        load(home=tmp_path)
