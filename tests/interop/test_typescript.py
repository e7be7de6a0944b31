"""The example in TypeScript, compiled and run against a platform, over three protocols."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "typescript"
BUILT = EXAMPLE / "dist" / "first-payment.js"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node 20 or newer on the path"),
    pytest.mark.skipif(not BUILT.exists(), reason="needs `make typescript`, which asks npm"),
]

EXPECTED = [
    "pay PAYING qr",
    "again same trade",
    "watch PAID",
    "refused AlreadyExists REQUEST_REUSED",
]


async def test_a_first_integration_in_typescript(platform):
    mall = platform.world.apps["MALL"]
    settings = {
        "SHOP_CA": str(platform.mesh.settings.tls_ca),
        "SHOP_TRADE": platform.mesh.urls["trade"],
        "SHOP_EDGE": platform.mesh.urls["edge"],
        "SHOP_APP_ID": mall.app_id,
        "SHOP_KEY": str(platform.world.folder / mall.key),
        "SHOP_PRODUCT": "MALL_COLLECT",
        "SHOP_MERCHANT": next(iter(mall.merchants.values())),
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        str(BUILT),
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    lines = said.decode().splitlines()
    assert lines == [
        f"{protocol} {line}" for protocol in ("grpc", "connect", "grpc-web") for line in EXPECTED
    ]
