"""`tongbao token`: what a caller puts into its authorization header."""

from __future__ import annotations

from mesh.cli.callers import signer_of
from mesh.cli.output import AsJson, Home, show
from mesh.config import load
from mesh.tokens import LIFE_SECONDS


def token(name: str, *, home: Home = None, as_json: AsJson = False) -> int:
    """Print a fresh token of the operator or of an app, good for five minutes.

    Use it as `-H "authorization: Bearer $(tongbao token operator)"`. Exit codes: 0 printed;
    1 there is no such caller here.

    Parameters
    ----------
    name
        `operator`, the private key file `op-<name>.key` of another one, or the name of an app
        that `tongbao demo` made, e.g. `MALL`.
    home
        The home whose keys sign it. Default: .tongbao, or TONGBAO_HOME.
    as_json
        Write JSON.
    """
    text = signer_of(load(home=home).home, name).token()
    show(text, {"name": name, "token": text, "seconds": LIFE_SECONDS}, as_json=as_json)
    return 0
