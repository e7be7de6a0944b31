"""A route changes where a service connects, and nothing else of what it is told."""

from psycopg.conninfo import conninfo_to_dict

from mesh.embedded.routes import dsn_over, url_over

DSN = "user=trade password='a b' dbname=tongbao host=/run/sock port=5432"
URL = "nats://trade:p%40ss@127.0.0.1:4222"


def test_without_a_route_nothing_changes():
    """As it was, to the letter."""
    assert dsn_over(DSN, None) == DSN
    assert url_over(URL, None) == URL


def test_a_route_replaces_host_and_port_alone():
    """User, password and database stay."""
    told = conninfo_to_dict(dsn_over(DSN, "/run/wires:3"))
    assert (told["host"], told["port"]) == ("/run/wires", "3")
    assert (told["user"], told["password"], told["dbname"]) == ("trade", "a b", "tongbao")
    assert url_over(URL, "10.0.0.1:77") == "nats://trade:p%40ss@10.0.0.1:77"
    assert url_over("nats://h:1", "10.0.0.1:77") == "nats://10.0.0.1:77"
