"""The contracts: a policy on every rpc, and stubs that are those of proto/."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mesh.cli.call import all_methods
from mesh.doctor.finding import Finding, Scene, failed, passed, skipped
from mesh.policy import demand_policies

_BUILD_S = 25.0


async def policies(_: Scene) -> Sequence[Finding]:
    """Whether each method says who may call it."""
    methods = all_methods()
    services = {method.containing_service for method in methods.values()}
    wrong = []
    for service in sorted(services, key=lambda one: str(one.full_name)):
        try:
            demand_policies(service)
        except AssertionError as error:
            wrong.append(str(error))
    if wrong:
        step = "Add the policy in proto/ and run `make gen`: the service does not start without"
        return (failed("policies", "; ".join(wrong[:5]), step),)
    return (passed("policies", f"{len(methods)} methods of {len(services)} services have one"),)


async def generated(_: Scene) -> Sequence[Finding]:
    """Whether gen/ was made from proto/ as it is; only where both lie beside the code."""
    root = Path(__file__).parents[2]
    image = root / "gen" / "tongbao.binpb"
    program = shutil.which("buf", path=str(Path(sys.executable).parent))
    if not (root / "proto").is_dir() or not image.is_file() or program is None:
        why = "no proto/ or no buf beside the code: nobody generates here"
        return (skipped("generated code", why, next_step="Nothing, but for who edits proto/"),)
    process = await asyncio.create_subprocess_exec(
        program, "build", "proto", "--exclude-source-info", "--output", "-#format=binpb",
        cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(_BUILD_S):
        built, said = await process.communicate()
    if process.returncode != 0:
        problem = said.decode(errors="replace").strip().splitlines()[-1:]
        return (failed("generated code", f"proto/ does not build: {problem}", "Run `buf lint`"),)
    if built != image.read_bytes():
        return (failed("generated code", "gen/ is not what proto/ says", "Run `make gen`"),)
    return (passed("generated code", "gen/ is what proto/ says"),)
