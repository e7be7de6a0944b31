"""Print the variables that the examples need, for the demo's app MALL, as shell exports."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path


def main(home: Path) -> None:
    """Read what `tongbao demo` left in `home` while it is up."""
    state = json.loads((home / "run" / "state.json").read_text())
    mall = json.loads((home / "demo" / "world.json").read_text())["apps"]["MALL"]
    found = {
        "SHOP_TRADE": state["urls"]["trade"],
        "SHOP_EDGE": state["urls"]["edge"],
        "SHOP_CA": str(home / "pki" / "ca.pem"),
        "SHOP_APP_ID": mall["app_id"],
        "SHOP_KEY": str(home / "demo" / mall["key"]),
        "SHOP_PRODUCT": "MALL_COLLECT",
        "SHOP_MERCHANT": next(iter(mall["merchants"].values())),
    }
    for name, value in found.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    here = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TONGBAO_HOME", ".tongbao")
    try:
        main(Path(here).resolve())
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is not there: start `make run` first, or name its home")
