"""The watch over real sockets: interruptions, observed changes, and memory."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from authgate.cluster.metadata import MetadataReader
from authgate.cluster.watch import Scope, Watcher, WatchRules
from authgate.cluster.watch_events import LIST_ACCEPT, WATCH_ACCEPT
from authgate.service import SystemClock
from authgate.verify.revocation import Reference, Revocation, RevocationRules
from tests.support.cluster_client import OWN, by_kubeconfig, connected
from tests.support.process import until
from tests.support.service import cluster, of_cluster, running
from tests.support.watch_server import WatchServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.fake_api import FakeAPI

QUICK = WatchRules(page_size=2, silence=3600, confirm=3600, first_pause=0.01, longest_pause=0.05)
PODS = Scope("pods")


class Following:
    """A watch of a server's pods, and the reasons of its interruptions."""

    def __init__(self, store: Revocation, api: FakeAPI) -> None:
        self.store = store
        self.api = api
        self.breaks: list[tuple[str, str]] = []
        store.views[0].on_interrupted = lambda reason, detail: self.breaks.append((reason, detail))

    def confirms(self, uid: str) -> bool:
        """Return whether a pod is known to exist."""
        return self.store.confirms([Reference("pods", "prod", uid)])

    def deleted(self, uid: str) -> bool:
        """Return whether a pod is known to be deleted."""
        return self.store.deleted([Reference("pods", "prod", uid)]) is not None

    async def comes(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition is true."""

        async def held() -> bool:
            return holds()

        await until(held, within=30, otherwise=lambda: str(self.breaks))


@asynccontextmanager
async def following(
    server: WatchServer, folder: Path, rules: WatchRules = QUICK, most: int = 100_000, deleted: int = 100_000
) -> AsyncIterator[Following]:
    """Start a watch of the server's pods."""
    store = Revocation([PODS], SystemClock(), RevocationRules(max_objects=most, max_deleted=deleted))
    async with server.api() as api, connected(by_kubeconfig(folder, api.url, timeout=30)) as client:
        watch = Following(store, api)
        task = asyncio.create_task(Watcher(MetadataReader(client), PODS, store.views[0], rules).run())
        try:
            yield watch
        finally:
            server.hang_up()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_it_lists_in_pages_and_watches_from_the_lists_version(tmp_path: Path) -> None:
    """It requests only metadata, with the gate's own credential, and with bookmarks."""
    server = WatchServer("a", "b", "c", "d", "e")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        assert all(watch.confirms(uid) for uid in "abcde")
        *lists, follow = watch.api.received
    assert len(lists) == 3
    assert {request.headers["Accept"] for request in lists} == {LIST_ACCEPT}
    assert follow.headers["Accept"] == WATCH_ACCEPT
    assert {request.headers["Authorization"] for request in watch.api.received} == {f"Bearer {OWN}"}
    assert "allowWatchBookmarks=true" in follow.target
    assert "resourceVersion=1&" in follow.target


async def test_it_notices_additions_and_deletions(tmp_path: Path) -> None:
    """Additions, deletion times and deletions arrive in their order."""
    server = WatchServer("a", "b")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.put("c")
        server.put("b", "2020-01-01T00:00:00Z")
        server.delete("a")
        await watch.comes(lambda: watch.deleted("a"))
        assert watch.confirms("c")
        assert watch.deleted("b")


async def test_it_resumes_without_a_new_list(tmp_path: Path) -> None:
    """After a disconnect it receives the deletions that it missed."""
    server = WatchServer("a", "b")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.bookmark()
        await watch.comes(lambda: watch.store.views[0].last_event > 0)
        server.refuse = [503, 429]
        server.hang_up()
        server.delete("a")
        await watch.comes(lambda: watch.deleted("a"))
        assert watch.confirms("b")
        assert server.lists == 1
        assert len(watch.breaks) >= 2


async def test_it_lists_again_if_its_version_is_too_old(tmp_path: Path) -> None:
    """After a 410 within the watch it lists again. The list shows which objects were deleted in between."""
    server = WatchServer("a", "b")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.delete("a")
        await watch.comes(lambda: watch.deleted("a"))
        server.refuse = [500, 500]
        server.hang_up()
        server.objects.pop("b")
        server.forget()
        await watch.comes(lambda: watch.deleted("b"))
        assert ("expired", "") in watch.breaks
        assert server.lists == 2


async def test_a_resumed_watch_is_current_only_after_its_first_event(tmp_path: Path) -> None:
    """A 200 is not enough: a server that has lost the history sends it before the error."""
    server = WatchServer("a")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        assert "disconnected" not in watch.store.status()[1]
        server.hang_up()
        await watch.comes(lambda: bool(watch.breaks) and server.followers == 1)
        assert "disconnected" in watch.store.status()[1]
        server.bookmark()
        await watch.comes(lambda: "disconnected" not in watch.store.status()[1])
        assert server.lists == 1


async def test_a_watch_that_expires_is_listed_again_without_a_pause(tmp_path: Path) -> None:
    """The pauses after failures do not apply, so a deletion in between is noticed at once."""
    server = WatchServer("a", "b")
    rules = WatchRules(first_pause=3600, longest_pause=3600)
    async with following(server, tmp_path, rules) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.put("c")
        await watch.comes(lambda: watch.confirms("c"))
        server.objects.pop("b")
        server.say(b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}\n')
        await watch.comes(lambda: watch.deleted("b"))


async def test_it_lists_again_when_the_watch_request_gets_410(tmp_path: Path) -> None:
    """A 410 as HTTP status has the same effect as in an event."""
    server = WatchServer("a")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.refuse = [410]
        server.hang_up()
        await watch.comes(lambda: server.lists == 2)
        assert ("expired", "") in watch.breaks


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"<html>\n", id="no-json"),
        pytest.param(b"[]\n", id="no-object"),
        pytest.param(
            b'{"type": "DELETED", "object": {"kind": "Pod", "metadata": {"uid": "a"}}}\n', id="whole-pod"
        ),
        pytest.param(b'{"type": "SUNK", "object": {"kind": "PartialObjectMetadata"}}\n', id="no-metadata"),
        pytest.param(
            json.dumps(
                {
                    "type": "MODIFIED",
                    "object": {
                        "kind": "PartialObjectMetadata",
                        "metadata": {"uid": "a", "resourceVersion": "7", "deletionTimestamp": "soon"},
                    },
                }
            ).encode()
            + b"\n",
            id="no-time",
        ),
        pytest.param(b"x" * 5000, id="a-line-without-end"),
    ],
)
async def test_it_lists_again_after_an_unreadable_event(tmp_path: Path, line: bytes) -> None:
    """An unreadable event may be a deletion. The state is listed again, and no token is rejected because of it."""
    server = WatchServer("a")
    rules = WatchRules(max_line_bytes=4096, first_pause=0.01, longest_pause=0.05)
    async with following(server, tmp_path, rules) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.say(line)
        await watch.comes(lambda: server.lists == 2 and server.followers == 1)
        assert watch.breaks[0][0] == "bad_answer"
        assert watch.confirms("a")


async def test_a_partial_line_is_not_an_event(tmp_path: Path) -> None:
    """If the connection breaks within an event, the watch is resumed, and the complete event arrives."""
    server = WatchServer("a", "b")
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.say(b'{"type": "DELETED", "object": {"kind": "PartialObjectMetadata", "metadata": {"uid": "b"')
        await asyncio.sleep(0)
        server.hang_up()
        await watch.comes(lambda: len(watch.breaks) == 1 and server.followers == 1)
        assert watch.confirms("b")
        server.delete("a")
        await watch.comes(lambda: watch.deleted("a"))


async def test_events_can_arrive_in_pieces(tmp_path: Path) -> None:
    """A slow server may send an event byte by byte."""
    server = WatchServer("a")
    event = {
        "type": "DELETED",
        "object": {"kind": "PartialObjectMetadata", "metadata": {"uid": "a", "resourceVersion": "9"}},
    }
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: server.followers == 1)
        for byte in json.dumps(event).encode() + b"\n":
            server.say(bytes([byte]))
            await asyncio.sleep(0)
        await watch.comes(lambda: watch.deleted("a"))
        assert watch.breaks == []


async def test_a_silent_connection_is_closed(tmp_path: Path) -> None:
    """If the server sends nothing, not even a bookmark, the objects are listed again."""
    server = WatchServer("a", "b")
    rules = WatchRules(silence=0.1, first_pause=0.01, longest_pause=0.05)
    async with following(server, tmp_path, rules) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.objects.pop("b")
        await watch.comes(lambda: watch.deleted("b"))
        assert watch.breaks[0] == ("silent", "")


async def test_a_silent_resumed_connection_is_closed_earlier(tmp_path: Path) -> None:
    """Before its first event it may be broken, and the known state becomes older."""
    server = WatchServer("a")
    rules = WatchRules(silence=3600, confirm=0.1, first_pause=0.01, longest_pause=0.05)
    async with following(server, tmp_path, rules) as watch:
        await watch.comes(lambda: server.followers == 1)
        server.hang_up()
        await watch.comes(lambda: ("silent", "") in watch.breaks)
        await watch.comes(lambda: server.lists == 2)


async def test_a_server_that_sends_whole_objects_is_not_watched(tmp_path: Path) -> None:
    """A server that does not limit its answers to metadata could send the content of Secrets."""
    server = WatchServer("a")
    server.list_kind = "PodList"
    async with following(server, tmp_path) as watch:
        await watch.comes(lambda: len(watch.breaks) >= 1)
        assert "it is not a list of metadata" in watch.breaks[0][1]
        assert not watch.confirms("a")


async def test_too_many_objects_disable_the_watch_until_there_are_fewer(tmp_path: Path) -> None:
    """Over the limit it confirms no object and reports why. It lists again later."""
    server = WatchServer("a", "b", "c")
    rules = WatchRules(max_objects=2, longest_full=0.05)
    async with following(server, tmp_path, rules, most=2) as watch:
        await watch.comes(lambda: len(watch.breaks) >= 1)
        assert watch.breaks[0][0] == "too_many"
        assert not watch.confirms("a")
        assert "more than 2 objects" in watch.store.status()[1]
        server.delete("c")
        await watch.comes(lambda: watch.confirms("a"))


def footprint(store: Revocation) -> int:
    """Return the memory of a store in bytes: its tables, the uids in them, and their times."""
    tables: list[dict[str, float | None]] = [view.objects for view in store.views]
    kept = [sys.getsizeof(store._deleted), sum(sys.getsizeof(item) for item in store._deleted.items())]
    kept += [sum(map(sys.getsizeof, entry)) for entry in store._deleted.items()]
    kept += [sys.getsizeof(table) + sum(map(sys.getsizeof, table)) for table in tables]
    return sum(kept)


async def test_ten_thousand_pods_stay_within_a_memory_limit(tmp_path: Path) -> None:
    """Each pod is replaced four times. With 40,000 deletions the store takes less than 12 MB."""
    number, rounds = 10_000, 4
    server = WatchServer(*(f"{0:08x}-0000-4000-8000-{pod:012x}" for pod in range(number)))
    async with following(server, tmp_path, WatchRules(page_size=500)) as watch:
        await watch.comes(lambda: server.followers == 1)
        for generation in range(1, rounds + 1):
            for uid in list(server.objects):
                server.delete(uid)
            for pod in range(number):
                server.put(f"{generation:08x}-0000-4000-8000-{pod:012x}")
            last = f"{generation:08x}-0000-4000-8000-{number - 1:012x}"
            await watch.comes(partial(watch.confirms, last))
            server.settle()
        assert watch.store.size == number
        assert watch.breaks == []
        assert footprint(watch.store) < 12e6


async def test_the_number_of_stored_deletions_is_limited(tmp_path: Path) -> None:
    """The oldest ones are removed."""
    server = WatchServer("a")
    async with following(server, tmp_path, deleted=2_000) as watch:
        await watch.comes(lambda: server.followers == 1)
        for pod in range(3_000):
            server.put(f"pod-{pod}")
            server.delete(f"pod-{pod}")
        await watch.comes(lambda: watch.deleted("pod-2999"))
        assert not watch.deleted("pod-0")
        assert len(watch.store._deleted) == 2_000


async def test_while_a_watch_fails_reviews_decide_and_readiness_shows_why(tmp_path: Path) -> None:
    """If the API server does not support the watch, TokenReview decides, and probes and metrics show the failure."""
    async with cluster(tmp_path) as scenario:
        section = {**of_cluster(scenario), "revocation": "watch", "watch": {"secrets": True}}
        token = scenario.state.account_token(scenario.state.service_account("demo"))
        async with running({"cluster": section}) as gate:
            await gate.passes(token, within=30)
            detail = (await gate.admin("/readyz?verbose")).body
            broken = await gate.metric("authgate_watch_restarts_total", resource="pods", reason="bad_answer")
            known = await gate.metric("authgate_watch_objects", cluster="home")
    assert "pods: blind, bad_answer: list pods: the API server answered 404" in detail
    assert "secrets: blind" in detail
    assert broken >= 1
    assert known == 0
