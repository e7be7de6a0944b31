"""Addresses that no webhook goes to, whatever the Python that runs us knows of them."""

import ipaddress

import pytest

from trade.egress import Egress, NotPublic, _require_public

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "192.0.0.8",
    "192.168.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0",
    "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
    "2002:7f00:1::", "2001::7f00:1", "fd00::1", "fe80::1", "ff02::1",
    "168.63.129.16", "192.88.99.1", "::ffff:0:127.0.0.1", "5f00::1", "fec0::1",
    "::ffff:168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(run, address):
    """Also written as IPv6 that is carried to IPv4, and when an app is admitted."""
    with pytest.raises(NotPublic):
        _require_public([ipaddress.ip_address(address)])

    async def checked():
        host = f"[{address}]" if ":" in address else address
        async with Egress(allow_private=False) as way_out:
            return await way_out.check(f"https://{host}/")

    assert run(checked()) == "its address is not public"


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_a_public_address_is_not(address):
    """The ones above are not refused by refusing all."""
    _require_public([ipaddress.ip_address(address)])
