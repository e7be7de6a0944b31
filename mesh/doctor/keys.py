"""Certificates, signing keys, and where webhooks may go."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mesh.clock import real_now
from mesh.doctor.finding import Finding, Scene, failed, passed, skipped, warned
from mesh.pki import OPERATOR

SOON = timedelta(days=21)
OLD = timedelta(days=365)


async def certificates(scene: Scene) -> Sequence[Finding]:
    """Until when the certificates of the public ports are good."""
    settings = scene.settings
    found = []
    for name, path in (("server", settings.tls_cert), ("authority", settings.tls_ca)):
        if not path.is_file():
            found.append(skipped("certificates", f"there is no {path}"))
            continue
        [first, *_] = x509.load_pem_x509_certificates(path.read_bytes())
        left = first.not_valid_after_utc - real_now()
        seen = f"{name} is good for {left.days} days ({path})"
        step = "Renew it, then `tongbao roll`; `tongbao up` renews the development one"
        if left <= timedelta(0):
            found.append(failed("certificates", f"{name} has expired ({path})", step))
        elif left < SOON:
            found.append(warned("certificates", seen, step))
        else:
            found.append(passed("certificates", seen))
    return found


async def token_keys(scene: Scene) -> Sequence[Finding]:
    """Whether every signing key is there, ours alone, known by its public half, and not old."""
    keys = scene.settings.home / "keys"
    if not keys.is_dir():
        return (skipped("token keys", f"there is no {keys}"),)
    wrong = [problem for pair in _pairs(scene) for problem in _problems(*pair)]
    if wrong:
        step = "Restore it or chmod 600 it, or delete both halves and `tongbao up` makes new ones"
        return (failed("token keys", "; ".join(wrong), step),)
    ages = [real_now().timestamp() - key.stat().st_mtime for key, _ in _pairs(scene)]
    days = int(max(ages, default=0) // 86_400)
    seen = f"{len(ages)} pairs, they do not expire; the oldest is {days} days old"
    if days > OLD.days:
        return (warned("token keys", seen, "Make new ones: delete a pair, then `tongbao up`"),)
    return (passed("token keys", seen),)


def _pairs(scene: Scene) -> Iterator[tuple[Path, Path]]:
    keys, public = scene.settings.home / "keys", scene.settings.keys_dir
    for service in scene.services:
        yield keys / f"{service}.key", public / f"svc-{service}.pem"
    yield keys / "operator.key", public / f"op-{OPERATOR}.pem"


def _problems(private: Path, public: Path) -> Iterator[str]:
    if not private.is_file() or not public.is_file():
        yield f"{(public if private.is_file() else private).name} is missing"
        return
    if stat.S_IMODE(private.stat().st_mode) & 0o077:
        yield f"others may read {private.name}"
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(serialization.Encoding.PEM, form) != public.read_bytes():
        yield f"{public.name} is not the public half of {private.name}"


async def egress(scene: Scene) -> Sequence[Finding]:
    """Whether webhooks may go to addresses of our own network."""
    if scene.settings.egress_allow_private:
        step = "Set TONGBAO_EGRESS_ALLOW_PRIVATE=false where apps are not your own"
        return (warned("egress", "webhooks may go to private addresses and over http", step),)
    return (passed("egress", "webhooks go to public addresses only"),)
