"""The example in Python, run against a platform with nothing but stubs and packages."""

import asyncio
import os
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "first_payment.py"


async def test_a_first_integration_in_python(platform):
    mall = platform.world.apps["MALL"]
    settings = {
        "SHOP_CA": str(platform.mesh.settings.tls_ca),
        "SHOP_TRADE": platform.mesh.urls["trade"],
        "SHOP_APP_ID": mall.app_id,
        "SHOP_KEY": str(platform.world.folder / mall.key),
        "SHOP_PRODUCT": "MALL_COLLECT",
        "SHOP_MERCHANT": next(iter(mall.merchants.values())),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    assert said.decode().splitlines() == [
        "pay STATE_PAYING qr",
        "again same trade",
        "watch STATE_PAID",
        "refused ALREADY_EXISTS REQUEST_REUSED",
    ]
