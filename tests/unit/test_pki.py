"""Development keys: made once, closed to others, and good for a TLS handshake."""

import socket
import ssl
import stat
import threading
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mesh import pki
from mesh.clock import real_now

SERVICES = ("payment", "ledger")
PUBLIC = {"ca.pem", "server.pem"}


@pytest.fixture
def home(tmp_path):
    """A home with all keys."""
    pki.prepare_keys(tmp_path, SERVICES)
    return tmp_path


def contents(home):
    files = [file for folder in ("pki", "keys") for file in (home / folder).rglob("*")]
    return {file: file.read_bytes() for file in files if file.is_file()}


def certificate(home):
    return x509.load_pem_x509_certificates((home / "pki" / "server.pem").read_bytes())[0]


def test_there_is_a_pair_for_each_service_and_the_operator(home):
    """The public half belongs to the private one."""
    pairs = {"payment": "svc-payment", "ledger": "svc-ledger", "operator": "op-admin"}
    assert {file.stem for file in (home / "keys").glob("*.key")} == set(pairs)
    for private, public in pairs.items():
        key = serialization.load_pem_private_key(
            (home / "keys" / f"{private}.key").read_bytes(), password=None
        )
        shown = serialization.load_pem_public_key(
            (home / "keys" / "public" / f"{public}.pem").read_bytes()
        )
        shown.verify(key.sign(b"message"), b"message")


def test_a_second_call_overwrites_nothing(home):
    """Keys that others trust stay; a new service gets its own."""
    before = contents(home)
    pki.prepare_keys(home, (*SERVICES, "risk"))
    after = contents(home)
    assert {file: after[file] for file in before} == before
    assert len(after) == len(before) + 2


def test_private_keys_are_only_ours_to_read(home):
    """0600 in directories that are 0700."""
    for file in contents(home):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_certificate_that_expires_soon_is_issued_again(home, monkeypatch):
    """With a new key, by the same authority; one with time left is kept."""
    old, authority = certificate(home), (home / "pki" / "ca.pem").read_bytes()
    almost = old.not_valid_after_utc - pki.SERVER_RENEWAL
    monkeypatch.setattr(pki, "real_now", lambda: almost - timedelta(minutes=1))
    pki.prepare_keys(home, SERVICES)
    assert certificate(home) == old
    monkeypatch.setattr(pki, "real_now", lambda: almost)
    pki.prepare_keys(home, SERVICES)
    assert certificate(home).not_valid_after_utc > old.not_valid_after_utc
    assert certificate(home).public_key() != old.public_key()
    assert (home / "pki" / "ca.pem").read_bytes() == authority


def test_the_certificate_lives_ninety_days(home):
    """No longer than people remember it."""
    left = certificate(home).not_valid_after_utc - real_now()
    assert timedelta(days=89) < left <= timedelta(days=90)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_caller_who_trusts_the_authority_can_connect(home, name):
    """A real TLS handshake with strict checks."""
    shake_hands(home, name)


def test_a_caller_of_another_name_is_warned(home):
    """The certificate is for this machine only."""
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(home, "payments.example.com")


def shake_hands(home, name):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(home / "pki" / "server.pem", home / "pki" / "server.key")
    client = ssl.create_default_context(cafile=home / "pki" / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    def answer():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except ssl.SSLError:
            theirs.close()

    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3"
    finally:
        thread.join()
