"""The parts of the verbs `call` and `clock` that need nothing running."""

import json
from datetime import timedelta

import pytest

from mesh.cli.call import find_method
from mesh.cli.callers import app_names, signer_of
from mesh.cli.clock import parse_span
from mesh.config import ConfigError
from mesh.embedded.places import StartError
from mesh.pki import prepare_keys
from mesh.tokens import Verifier
from tongbao.common.v1 import options_pb2

FULL = "tongbao.trade.v1.TradeService.GetTrace"


@pytest.mark.parametrize(
    "name",
    ["GetTrace", "TradeService/GetTrace", "trade.v1.TradeService/GetTrace",
     "tongbao.trade.v1.TradeService/GetTrace", "/tongbao.trade.v1.TradeService/GetTrace"],
)  # fmt: skip
def test_a_method_may_be_shortened_from_the_front(name):
    """As long as it stays the only one."""
    assert find_method(name).full_name == FULL


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ListTraceEntries", "ambiguous"), ("GetTrac", "did you mean .*TradeService/GetTrace"),
     ("TradeServices/GetTrace", "did you mean"), ("", "there is no"), ("Trace", "there is no")],
)  # fmt: skip
def test_a_method_that_is_not_clear_is_refused_with_a_hint(name, hint):
    """Part of a word is not a name."""
    with pytest.raises(ConfigError, match=hint):
        find_method(name)


@pytest.mark.parametrize(
    ("text", "span"),
    [("1d", timedelta(days=1)), ("2h30m", timedelta(hours=2, minutes=30)),
     ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)), ("0s", timedelta())],
)  # fmt: skip
def test_a_span_of_time_is_read(text, span):
    """From days down to seconds, any of them left out."""
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1h1d", "1.5h", "1d ", "1w"])
def test_what_is_no_span_of_time_is_refused(text):
    """Business time never goes back, and nothing is guessed."""
    with pytest.raises(ConfigError, match="by: must be a span"):
        parse_span(text)


def test_callers_are_the_operator_and_the_apps_of_the_demo(tmp_path, run):
    """Each signs with a key of its own, and is who the services take it for."""
    prepare_keys(tmp_path, ["trade"])
    verifier = Verifier(tmp_path / "keys" / "public")
    assert app_names(tmp_path) == []
    operator = run(verifier.identify(signer_of(tmp_path, "operator").token()))
    assert (operator.role, operator.name) == (options_pb2.ROLE_OPERATOR, "admin")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mall.key").write_bytes((tmp_path / "keys" / "trade.key").read_bytes())
    world = {"apps": {"MALL": {"app_id": "app_1", "key": "mall.key"},
                      "LOST": {"app_id": "app_2", "key": "gone.key"}}}  # fmt: skip
    (tmp_path / "demo" / "world.json").write_text(json.dumps(world))
    assert app_names(tmp_path) == ["LOST", "MALL"]
    assert signer_of(tmp_path, "mall").token() != signer_of(tmp_path, "operator").token()
    with pytest.raises(StartError, match=r"known are operator, LOST, MALL"):
        signer_of(tmp_path, "nobody")
    with pytest.raises(StartError, match="no key of LOST"):
        signer_of(tmp_path, "LOST")


def test_another_operator_brings_the_file_of_a_key(tmp_path, run):
    """Who approves is not who proposed: two keys, and two names that the services know."""
    prepare_keys(tmp_path, ["trade"])
    public = tmp_path / "keys" / "public"
    mine = tmp_path / "op-bob.key"
    mine.write_bytes((tmp_path / "keys" / "trade.key").read_bytes())
    (public / "op-bob.pem").write_bytes((public / "svc-trade.pem").read_bytes())
    bob = run(Verifier(public).identify(signer_of(tmp_path, str(mine)).token()))
    assert (bob.role, bob.name) == (options_pb2.ROLE_OPERATOR, "bob")
    mine.write_text("no key")
    with pytest.raises(StartError, match="there is no key in"):
        signer_of(tmp_path, str(mine))
    with pytest.raises(StartError, match=r"there is no key of .*op-eve\.key"):
        signer_of(tmp_path, str(tmp_path / "op-eve.key"))
