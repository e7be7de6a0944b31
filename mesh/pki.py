"""Keys of a development installation: an authority, a server certificate, signing keys.

Everything is made once and never overwritten, except the server certificate, which is
issued again when it is about to expire. Elsewhere settings name files of your own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.clock import real_now
from mesh.embedded.places import explained, make_home, private_dir, write_private

OPERATOR = "admin"
CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=90)
SERVER_RENEWAL = timedelta(days=30)  # Left when a new one is issued.
_BACKDATED = timedelta(minutes=5)  # For callers whose clock is behind.

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def prepare_keys(home: Path, services: Iterable[str]) -> None:
    """Make in `home` what is missing.

    `pki/ca.pem`, `pki/server.pem` for localhost and 127.0.0.1, and Ed25519 key pairs:
    `keys/<service>.key` with `keys/public/svc-<service>.pem` for each service, and for the
    first operator `keys/operator.key` with `keys/public/op-admin.pem`. Raises StartError.
    """
    make_home(home)
    private_dir(home / "pki")
    public = private_dir(home / "keys" / "public")
    with explained("cannot write keys"):
        _authority(home / "pki")
        _server_certificate(home / "pki")
        for service in services:
            _key_pair(home / "keys" / f"{service}.key", public / f"svc-{service}.pem")
        _key_pair(home / "keys" / "operator.key", public / f"op-{OPERATOR}.pem")


def _authority(folder: Path) -> None:
    """Make the key and the self-signed certificate of the authority, unless they exist."""
    if (folder / "ca.pem").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Tongbao development authority")
    certificate = (
        _draft(name, issuer=name, key=key.public_key(), life=CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca.key", key)
    write_private(folder / "ca.pem", _pem(certificate))


def _server_certificate(folder: Path) -> None:
    """Issue the certificate of the public ports, if there is none or it expires soon."""
    path = folder / "server.pem"
    if path.exists():
        [issued, *_] = x509.load_pem_x509_certificates(path.read_bytes())
        if issued.not_valid_after_utc - real_now() > SERVER_RENEWAL:
            return
    ca_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _draft(_name("localhost"), issuer=ca.subject, key=key.public_key(), life=SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(folder / "server.key", key)
    write_private(path, _pem(certificate) + _pem(ca))


def _key_pair(private: Path, public: Path) -> None:
    """Make a signing key unless it exists; the public half is written again if it is gone."""
    if not private.exists():
        _write_key(private, ed25519.Ed25519PrivateKey.generate())
    if not public.exists():
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(public, pem.decode())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _draft(
    subject: x509.Name, *, issuer: x509.Name, key: PublicKey, life: timedelta
) -> x509.CertificateBuilder:
    begin: datetime = real_now() - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: PrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, text.decode())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
