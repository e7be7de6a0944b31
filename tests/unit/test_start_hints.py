"""What a person reads when a port is wrong: names that exist, and the right ones."""

import re
import socket

import pytest

from mesh.config import PREFIX, Settings, load
from mesh.embedded.places import StartError, make_home, port_in_use
from mesh.supervisor import standard_children
from mesh.telemetry import FileExporter

SERVICES = ("ledger", "trade")


@pytest.mark.parametrize("name", ["postgres", "nats", "http", "metrics", "trade", "ledger"])
def test_the_setting_that_is_named_exists(name):
    """A service has no setting of its own for its port: it is one of `public_ports`."""
    [named] = re.findall(rf"{PREFIX}\w+", port_in_use(name, 1).next_step)

    assert named.removeprefix(PREFIX).lower() in Settings.model_fields
    if named == "TONGBAO_PUBLIC_PORTS":
        assert name in port_in_use(name, 1).next_step.split()


def test_a_port_of_a_service_that_is_not_there_is_refused(tmp_path):
    """A misspelt name would be a port that silently stays free to choose."""
    make_home(tmp_path)
    with pytest.raises(StartError, match=r"trad.*the services are ledger, trade"):
        standard_children(load(home=tmp_path, public_ports={"trad": 7443}), SERVICES)


def test_a_metrics_port_that_is_taken_is_named(tmp_path):
    """Before any process is started, not by the third death of one."""
    make_home(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"{port}.*TONGBAO_METRICS_PORT"):
            standard_children(load(home=tmp_path, metrics_port=port), SERVICES)


def test_spans_are_for_our_eyes_only(tmp_path):
    """They name methods and trace numbers; home itself may be walked through."""
    FileExporter(tmp_path / "traces" / "trade.jsonl").shutdown()
    assert (tmp_path / "traces").stat().st_mode & 0o077 == 0

    (tmp_path / "traces").chmod(0o755)
    make_home(tmp_path)
    assert (tmp_path / "traces").stat().st_mode & 0o077 == 0
