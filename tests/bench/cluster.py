"""An embedded cluster as a separate process: `python -m tests.bench.cluster FOLDER PORT` until it is stopped.

It uses the keys of the token store, so that the store's tokens are the cluster's.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.bench.machine import cache_folder
from tests.bench.tokens import TokenStore
from tests.support.scenario import running_scenario


async def _main(folder: Path, port: int) -> None:
    key = TokenStore(cache_folder() / "bench" / "tokens").key("RS256")
    async with running_scenario(folder, port=port, key=key):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
