"""An issuer is read before any signature is checked: nothing odd in it may reach a store."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.errors import Refused
from mesh.tokens import Verifier

ODD = {
    "a NUL": "app_\0",
    "half a surrogate pair": "app_\ud800",
    "too long for a file": "op:" + "a" * 300,
    "a service too long for a file": "svc:" + "a" * 256,
    "too long for an app": "a" * 65,
    "a path": "op:../op-admin",
    "a path of an app": "../op-admin",
    "a line end": "app_1\n",
    "letters of another alphabet": "op:ädmin",
    "nothing after the kind": "op:",
}


@pytest.mark.parametrize("issuer", ODD.values(), ids=ODD.keys())
def test_an_odd_issuer_is_nobody_and_is_never_looked_up(run, tmp_path, issuer):
    """Neither the file system nor the database sees it, so it cannot break a neighbour's look."""
    asked = []

    async def apps(app_id):
        asked.append(app_id)
        return []

    token = jwt.encode({"iss": issuer}, Ed25519PrivateKey.generate(), algorithm="EdDSA")
    with pytest.raises(Refused) as refused:
        run(Verifier(tmp_path, apps=apps).identify(token))

    assert refused.value.reason == "TOKEN_INVALID"
    assert asked == []
