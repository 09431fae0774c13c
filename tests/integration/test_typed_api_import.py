"""When the Kubernetes client library is loaded, and what happens during the import or if it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.cluster_client import by_kubeconfig
from tests.support.fake_api import ALICE, FakeAPI, always

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = "unreachable: the Kubernetes client library cannot be loaded"

SCENE = """
import asyncio, concurrent.futures, errno, os, resource, sys, threading
from authgate.cluster.api import ApiError
from authgate.cluster.client import ClusterClient, ConnectionSettings

def loaded():
    return any(name.startswith("kubernetes_asyncio") for name in sys.modules)

async def review(client):
    try:
        return (await client.review_token("token-under-review", ("app",))).username
    except ApiError as error:
        return f"{error.kind.value}: {error.detail}"

class Held:
    # Holds the import of the library until it is released.
    def __init__(self):
        self.reached, self.released = False, threading.Event()
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name.startswith("kubernetes_asyncio"):
            self.reached = True
            self.released.wait(60)

async def main():
    within, import_timeout = map(float, sys.argv[2:])
    settings = ConnectionSettings(kubeconfig=sys.argv[1], timeout=within, import_timeout=import_timeout)
    client = await ClusterClient.connect(settings)
    try:
        await scene(client)
    finally:
        await client.close()
"""


async def played(
    folder: Path, scene: str, *, within: float = 30.0, import_timeout: float = 30.0
) -> list[str]:
    """Run a scene in a new process, which has not loaded the library; return the lines that it prints."""
    async with FakeAPI(always(ALICE)) as api:
        kubeconfig = by_kubeconfig(folder, api.url).kubeconfig
        code = f"{SCENE}\n{scene}\nasyncio.run(main())\n"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, str(kubeconfig), str(within), str(import_timeout)),
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


async def test_only_typed_requests_load_the_library(tmp_path: Path) -> None:
    """Keys, watches and the gate's own token do not need it."""
    scene = """
async def scene(client):
    await client.get("/openid/v1/jwks", limit=1 << 20)
    client.own_issuer()
    print(loaded())
    print(await review(client))
    print(loaded())
"""
    assert await played(tmp_path, scene) == ["False", "alice", "True"]


async def test_concurrent_reviews_load_the_library_once(tmp_path: Path) -> None:
    """All of them wait for the same thread."""
    scene = """
async def scene(client):
    held = Held()
    reviews = [asyncio.ensure_future(review(client)) for _ in range(50)]
    while not held.reached:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    print(sum(thread.name.startswith("asyncio") for thread in threading.enumerate()))
    held.released.set()
    print(set(await asyncio.gather(*reviews)))
"""
    assert await played(tmp_path, scene) == ["1", "{'alice'}"]


async def test_the_event_loop_runs_during_the_import(tmp_path: Path) -> None:
    """The import does not block the loop, so other requests are answered meanwhile."""
    scene = """
async def scene(client):
    held = Held()
    first = asyncio.ensure_future(review(client))
    while not held.reached:
        await asyncio.sleep(0.001)
    await client.get("/openid/v1/jwks", limit=1 << 20)
    print(first.done())
    held.released.set()
    print(await first)
"""
    assert await played(tmp_path, scene) == ["False", "alice"]


async def test_the_import_is_retried_after_file_descriptors_ran_out(tmp_path: Path) -> None:
    """A process cannot load modules while all its file descriptors are in use. The next review tries again."""
    scene = """
async def scene(client):
    await client.get("/openid/v1/jwks", limit=1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await asyncio.to_thread(int)  # the thread exists before the limit, as in a gate that has resolved a name
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    print(await review(client))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(await review(client))
"""
    assert await played(tmp_path, scene) == [
        f"{REFUSED}: Too many open files",
        "alice",
    ]


async def test_the_import_is_retried_after_threads_ran_out(tmp_path: Path) -> None:
    """The number of threads of a container may be limited. The next review tries again."""
    scene = """
async def scene(client):
    loop = asyncio.get_running_loop()
    class Full(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *_args, **_options):
            raise RuntimeError("can't start new thread")
    loop.set_default_executor(Full(1))
    print(await review(client))
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    print(await review(client))
"""
    assert await played(tmp_path, scene) == [f"{REFUSED}: can't start new thread", "alice"]


async def test_a_partial_import_continues_with_the_next_review(tmp_path: Path) -> None:
    """It may fail at any module, and several times."""
    scene = """
class Full:
    left = 0
    def find_spec(self, name, path=None, target=None):
        if name.startswith("kubernetes_asyncio"):
            if self.left == 0:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.left -= 1

async def scene(client):
    full = Full()
    sys.meta_path.insert(0, full)
    answers = []
    while "alice" not in answers:
        answers.append(await review(client))
        full.left = len(answers)
    print(len(answers) > 5, set(answers[:-1]))
"""
    assert await played(tmp_path, scene) == [f"True {{'{REFUSED}: Too many open files'}}"]


async def test_a_review_does_not_wait_forever_for_the_library(tmp_path: Path) -> None:
    """On a busy CPU the first reviews fail. The library is still loaded for later ones."""
    scene = """
async def scene(client):
    held = Held()
    print(await review(client))
    held.released.set()
    while await review(client) != "alice":
        pass
    print("alice")
"""
    assert await played(tmp_path, scene, import_timeout=0.05) == [
        f"{REFUSED}: it takes longer than 0.05 s; is there enough CPU?",
        "alice",
    ]


async def test_loading_is_not_part_of_a_calls_timeout(tmp_path: Path) -> None:
    """The library has its own timeout, even if that of the API server's responses is shorter than the import."""
    scene = """
async def scene(client):
    held = Held()
    first = asyncio.ensure_future(review(client))
    while not held.reached:
        await asyncio.sleep(0.001)
    await asyncio.sleep(2.5)
    held.released.set()
    print(await first)
"""
    assert await played(tmp_path, scene, within=2.0) == ["alice"]
