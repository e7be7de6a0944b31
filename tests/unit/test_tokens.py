"""Who may speak as whom, and for how long."""

import uuid

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mesh.clock import real_seconds
from mesh.errors import Refused
from mesh.tokens import LIFE_SECONDS_MAX, Signer, Verifier, public_key
from tongbao.common.v1 import options_pb2

OURS, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes):
    now = real_seconds()
    good = {"iss": "op:admin", "aud": "tongbao", "iat": now, "exp": now + 60, "jti": "1"}
    return {key: value for key, value in (good | changes).items() if value is not None}


def signed(key=OURS, **changes):
    return jwt.encode(claims(**changes), key, algorithm="EdDSA")


@pytest.fixture
def verifier(tmp_path):
    (tmp_path / "op-admin.pem").write_text(pem(OURS))
    (tmp_path / "svc-payment.pem").write_text(pem(OURS))
    (tmp_path / "outside.pem").write_text(pem(OURS))

    async def apps(app_id):
        return [public_key(pem(OTHER)), public_key(pem(OURS))] if app_id == "app_1" else []

    return Verifier(tmp_path, apps=apps)


@pytest.mark.parametrize(
    ("issuer", "role", "name"),
    [
        ("op:admin", options_pb2.ROLE_OPERATOR, "admin"),
        ("svc:payment", options_pb2.ROLE_SERVICE, "payment"),
        ("app_1", options_pb2.ROLE_APP, "app_1"),  # Its second key signs: rotation.
    ],
)
def test_a_good_token_names_its_owner(run, verifier, issuer, role, name):
    """Operators, services, and apps with either of two keys."""
    identity = run(verifier.identify(signed(iss=issuer)))

    assert (identity.role, identity.name) == (role, name)


def past(seconds):
    return real_seconds() - seconds


BAD = [
    # token                                                       reason
    ("", "TOKEN_INVALID"),
    ("rubbish", "TOKEN_INVALID"),
    (lambda: signed(OTHER), "TOKEN_INVALID"),
    (lambda: signed(iss="op:nobody"), "TOKEN_INVALID"),
    (lambda: signed(iss="op:../outside"), "TOKEN_INVALID"),
    (lambda: signed(iss="app_2"), "TOKEN_INVALID"),
    (lambda: signed(iss=None), "TOKEN_INVALID"),
    (lambda: signed(aud="elsewhere"), "TOKEN_INVALID"),
    (lambda: signed(jti=None), "TOKEN_INVALID"),
    (lambda: signed(exp=None), "TOKEN_INVALID"),
    (lambda: jwt.encode(claims(), "x" * 32, algorithm="HS256"), "TOKEN_INVALID"),
    (lambda: jwt.encode(claims(), None, algorithm="none"), "TOKEN_INVALID"),
    (lambda: signed(iat=past(120), exp=past(60)), "TOKEN_EXPIRED"),
    (lambda: signed(exp=real_seconds() + LIFE_SECONDS_MAX + 60), "TOKEN_EXPIRED"),
]


@pytest.mark.parametrize(("token", "reason"), BAD)
def test_any_other_token_is_refused(run, verifier, token, reason):
    """And says why, without saying whether the issuer exists."""
    with pytest.raises(Refused) as refused:
        run(verifier.identify(token() if callable(token) else token))

    assert refused.value.reason == reason


def test_a_verified_token_is_forgotten_when_its_time_is_over(run, verifier, tmp_path):
    """It is remembered while it lasts, even if the key file is gone, and not a second longer."""
    lasting, over = signed(), signed(iat=past(500), exp=past(4))
    run(verifier.identify(over))  # Within the leeway for clocks of two machines.
    run(verifier.identify(lasting))
    (tmp_path / "op-admin.pem").unlink()

    assert run(verifier.identify(lasting)).name == "admin"
    verifier._known[over].end = past(60)
    with pytest.raises(Refused):
        run(verifier.identify(over))


def test_a_signer_reuses_its_token_and_is_understood(run, verifier):
    """One token for many calls, each signer with an id of its own."""
    signer = Signer("svc:payment", OURS)

    assert signer.token() == signer.token()
    assert run(verifier.identify(signer.token())).name == "payment"
    decoded = jwt.decode(signer.token(), options={"verify_signature": False})
    assert uuid.UUID(decoded["jti"])


def test_a_token_goes_with_its_key(run, tmp_path):
    """Looked at again after a moment: good while its app has the key, refused when it has not."""
    keys = [public_key(pem(OURS)), public_key(pem(OTHER))]

    async def apps(_):
        return [public_key(pem_of) for pem_of in map(_pem_of, keys)]

    verifier = Verifier(tmp_path, apps=apps)
    token = signed(iss="app_1")
    run(verifier.identify(token))
    verifier._known[token].look_at = past(1)
    assert run(verifier.identify(token)).name == "app_1"

    keys.pop(0)
    assert run(verifier.identify(token)).name == "app_1", "not looked at again yet"
    verifier._known[token].look_at = past(1)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            run(verifier.identify(token))
        assert refused.value.reason == "TOKEN_INVALID"
    assert run(verifier.lapse(token)).reason == "TOKEN_INVALID"


def _pem_of(key):
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
