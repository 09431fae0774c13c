"""Several workers behind one address: common metrics, restarts of single workers, and a common shutdown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.faults import Hold
from tests.support.process import until
from tests.support.service import cluster, knowing, of_cluster, published, trusting, written
from tests.support.wire import PATIENCE, Wire, ask, bearer, connected
from tests.support.workers import Crew, exited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
TOKEN = ISSUER.mint()
GET, HOST = "GET /verify HTTP/1.1", "Host: gate"
ALLOWED = {"decision": "allow"}
REQUESTS = "authgate_verify_requests_total"


@pytest.fixture
async def crew(tmp_path: Path) -> AsyncIterator[Crew]:
    """Two workers with an issuer's keys in the configuration."""
    async with Crew(tmp_path, {"jwt": [knowing(ISSUER)]}) as it:
        yield it


async def passed(address: str) -> int:
    """Return the status of a request with a good token on a new connection."""
    return (await ask(address, GET, HOST, bearer(TOKEN))).status


async def works(wire: Wire) -> bool:
    """Return whether a request with a good token on this connection gets 200."""
    try:
        await wire.send(GET, HOST, bearer(TOKEN))
        return (await wire.reply()).status == 200
    except (OSError, EOFError):
        return False


async def test_every_request_is_counted_once(crew: Crew) -> None:
    """/metrics is the sum of all workers, and exact as soon as a request is answered."""
    for _ in range(100):
        assert await passed(crew.address) == 200
    assert await crew.metric(REQUESTS, **ALLOWED) == 100
    assert await crew.metric("authgate_verify_duration_seconds_count") == await crew.metric(REQUESTS)
    assert await crew.metric("authgate_workers") == 2


async def test_requests_reach_every_worker(crew: Crew) -> None:
    """Each worker verifies the token once, so each has a cache miss."""
    for _ in range(100):
        await passed(crew.address)
    assert await crew.metric("authgate_cache_requests_total", cache="verdict", result="miss") == 2


async def test_memory_and_cpu_are_those_of_all_processes(crew: Crew) -> None:
    """CPU time is a counter: it does not fall when a worker ends."""
    resident = [
        int(line.split()[1]) * 1024
        for pid in await crew.pids()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    ]
    assert await crew.metric("process_resident_memory_bytes") > sum(resident)
    for _ in range(200):
        await passed(crew.address)
    before = await crew.metric("process_cpu_seconds_total")
    pid = await crew.kill(0)
    await crew.replaced(0, pid, within=30)
    assert await crew.metric("process_cpu_seconds_total") >= before


async def test_a_killed_worker_does_not_affect_others(crew: Crew) -> None:
    """Connections to other workers stay open, no count is lost, and the worker is restarted."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(connected(crew.address)) for _ in range(40)]
        assert all([await works(wire) for wire in wires])
        pid = await crew.kill(0)
        await exited(pid)
        alive = [await works(wire) for wire in wires]
        assert any(alive)
        assert not all(alive)
        assert await crew.metric(REQUESTS, **ALLOWED) == len(wires) + sum(alive)
        await crew.replaced(0, pid, within=30)
    assert await crew.metric(REQUESTS, **ALLOWED) == len(wires) + sum(alive)
    assert await crew.metric("authgate_worker_restarts_total", reason="killed") == 1
    assert await passed(crew.address) == 200
    assert await crew.metric(REQUESTS, **ALLOWED) == len(wires) + sum(alive) + 1


async def test_counters_never_decrease_under_load(crew: Crew) -> None:
    """Every answered request is counted once, even if workers die."""
    sent, answered, ending = 0, 0, False

    async def load() -> None:
        nonlocal sent, answered
        while not ending:
            try:
                async with connected(crew.address) as wire:
                    while not ending:
                        sent += 1
                        if not await works(wire):
                            break
                        answered += 1
            except OSError:  # a worker died while it had the connection in its queue
                continue

    clients = [asyncio.create_task(load()) for _ in range(8)]
    seen = [0.0]

    async def observed() -> bool:
        seen.append(await crew.metric(REQUESTS, **ALLOWED))
        return len(seen) > 5

    for index in (0, 1):
        pid = await crew.kill(index)
        await until(observed, within=PATIENCE)
        seen = seen[-1:]
        await crew.replaced(index, pid, within=30)
    ending = True
    await asyncio.gather(*clients)
    counted = await crew.metric(REQUESTS, **ALLOWED)
    assert seen == sorted(seen)
    assert answered <= counted <= sent
    assert answered > 0


async def test_a_crash_loop_backs_off_and_is_reported(crew: Crew) -> None:
    """The first restart is immediate, the second waits. Meanwhile the gate is not ready."""
    first = await crew.kill(1)
    await crew.replaced(1, first, within=30)
    await crew.kill(1)

    async def reported() -> bool:  # in the second before it starts again
        answer = await crew.admin("/readyz?verbose")
        text = "[-]worker/1 failed: ended 2 times in a row, last by SIGKILL; starts again in"
        return answer.status == 503 and text in answer.body

    await until(reported, within=30)
    assert await passed(crew.address) == 200
    await crew.becomes_ready(within=30)
    assert crew.process.output().count("a worker ended; a new one starts") == 2


async def test_a_stuck_worker_is_replaced(crew: Crew) -> None:
    """A worker without a message for ten seconds is killed, so its requests do not wait forever."""
    pid = await crew.kill(0, signal.SIGSTOP)
    await crew.replaced(0, pid, within=60)
    assert await crew.metric("authgate_worker_restarts_total", reason="stuck") == 1


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
async def test_workers_leave_signals_to_the_supervisor(crew: Crew, number: signal.Signals) -> None:
    """A terminal and systemd signal every process. Workers must not act on that."""
    pids = [await crew.kill(index, number) for index in range(2)]
    assert [await passed(crew.address) for _ in range(10)] == [200] * 10
    assert await crew.pids() == pids


async def test_sigterm_ends_all_after_the_delay(tmp_path: Path) -> None:
    """/readyz fails at once, every worker answers for shutdown.delay, and then all end."""
    async with Crew(tmp_path, {"jwt": [knowing(ISSUER)]}, {"AUTHGATE_SHUTDOWN__DELAY": "60s"}) as crew:
        pids = await crew.pids()
        crew.process.send(signal.SIGTERM)

        async def unready() -> bool:
            return not await crew.ready()

        await until(unready, within=30)
        assert [await passed(crew.address) for _ in range(20)] == [200] * 20
        crew.process.send(signal.SIGTERM)
        assert await crew.process.ended(within=30)
        assert crew.process.exit_status == 0
        for pid in pids:
            await exited(pid)
        assert "Traceback" not in crew.process.output()


async def test_open_requests_are_finished(tmp_path: Path) -> None:
    """This applies to every worker. New connections are refused."""
    async with cluster(tmp_path) as scenario:
        section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout="30s")
        async with Crew(tmp_path, {"cluster": section}, {"AUTHGATE_SHUTDOWN__TIMEOUT": "60s"}) as crew:

            async def probed() -> bool:
                return scenario.server.counts[TOKEN_REVIEWS_PATH] == crew.count

            await until(probed, within=30)
            scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
            tokens = [scenario.state.static_token(f"operator-{number}") for number in range(10)]
            waiting = [asyncio.create_task(crew.verdict(token)) for token in tokens]

            async def held() -> bool:
                return scenario.server.faults.held(TOKEN_REVIEWS_PATH) == len(tokens)

            await until(held, within=30)
            crew.process.send(signal.SIGTERM)
            await until(crew.refuses, within=30)
            scenario.server.faults.clear()
            assert await asyncio.gather(*waiting) == [(200, "")] * len(tokens)
            assert await crew.process.ended(within=30)
            assert crew.process.exit_status == 0


async def test_workers_do_not_outlive_their_supervisor(crew: Crew) -> None:
    """Without a supervisor, nothing restarts, counts or ends them."""
    pids = await crew.pids()
    crew.process.send(signal.SIGKILL)
    for pid in pids:
        await exited(pid)
    await until(crew.refuses, within=30)  # a zombie's last thread may still hold the socket


async def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    """It survives a worker, and is removed with the gate."""
    with tempfile.TemporaryDirectory() as short:
        path = Path(short) / "gate.sock"
        listen = {"AUTHGATE_SERVER__LISTEN": f"unix:{path}"}
        async with Crew(tmp_path, {"jwt": [knowing(ISSUER)]}, listen) as crew:
            pid = await crew.kill(0)
            await exited(pid)
            assert [await passed(f"unix:{path}") for _ in range(20)] == [200] * 20
            await crew.replaced(0, pid, within=30)
            assert path.stat().st_mode & 0o777 == 0o666
        assert not path.exists()


async def failing(folder: Path, document: dict[str, Any]) -> tuple[int | None, str]:
    """Return the exit status and output of `authgate serve --workers 2` that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "authgate", "serve", "--workers", "2", "--config", str(written(folder, document))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ},
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    """Two gates never share a port by accident."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        document = {"jwt": [knowing(ISSUER)], "server": {"listen": [taken], "admin": None}}
        status, output = await failing(tmp_path, document)
    assert status == 1
    assert f"cannot listen on {taken}: " in output
    assert "Traceback" not in output


async def test_a_gate_does_not_share_a_port_with_another_gate(crew: Crew, tmp_path: Path) -> None:
    """Only workers of one gate share a port."""
    (tmp_path / "other").mkdir()
    document = {"jwt": [knowing(ISSUER)], "server": {"listen": [crew.address], "admin": None}}
    status, output = await failing(tmp_path / "other", document)
    assert status == 1
    assert f"cannot listen on {crew.address}: " in output


async def test_workers_that_cannot_start_end_the_gate(tmp_path: Path) -> None:
    """The reason is reported, as for a single process."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
    document = {
        "cluster": {"audiences": ["a"], "kubeconfig": str(kubeconfig)},
        "server": {"listen": ["127.0.0.1:0"], "admin": None},
    }
    status, output = await failing(tmp_path, document)
    assert status == 1
    assert "cluster" in output.splitlines()[-1]
    assert "Traceback" not in output


async def test_the_kernel_may_pick_the_port(tmp_path: Path) -> None:
    """All workers then listen on that port."""
    listen = {"AUTHGATE_SERVER__LISTEN": "127.0.0.1:0"}
    async with Crew(tmp_path, {"jwt": [knowing(ISSUER)]}, listen) as crew:

        async def logged() -> bool:
            return '"authgate serves"' in crew.process.output()

        await until(logged, within=30)
        (line,) = [line for line in crew.process.output().splitlines() if "authgate serves" in line]
        address = json.loads(line)["attributes"]["verify"]
        assert not address.endswith(":0")
        assert [await passed(address) for _ in range(20)] == [200] * 20


async def test_workers_share_fetched_keys(tmp_path: Path) -> None:
    """A rotated key costs the issuer one fetch, not one per worker. The metrics cover all workers."""
    last = "authgate_jwks_last_success_timestamp_seconds"
    async with published() as (issuer, server):
        section = trusting(issuer, keys={"cooldown": "100ms"})
        async with Crew(tmp_path, {"jwt": [section]}, workers=3) as crew:

            async def older() -> bool:  # of two documents of one second a worker keeps its own
                return time.time() - await crew.metric(last) > 1.5

            await until(older, within=30)
            began, fetched = await crew.metric(last), server.counts[issuer.jwks_path]
            issuer.rotate(SigningKey.generate("ES256"))
            token = issuer.mint()
            assert (await ask(crew.address, GET, HOST, bearer(token))).status == 200

            async def all_know() -> bool:  # the metric of several workers is the oldest fetch
                return await crew.metric(last) > began

            await until(all_know, within=30)
            answers = [await ask(crew.address, GET, HOST, bearer(token)) for _ in range(30)]
            assert {answer.status for answer in answers} == {200}
            assert server.counts[issuer.jwks_path] == fetched + 1
            assert await crew.metric("authgate_jwks_fetches_total") == fetched + 1


async def test_a_stuck_worker_does_not_outlive_its_supervisor(crew: Crew) -> None:
    """It cannot notice that the channel is closed, so the kernel kills it and the port becomes free."""
    pids = await crew.pids()
    await crew.kill(0, signal.SIGSTOP)
    crew.process.send(signal.SIGKILL)
    for pid in pids:
        await exited(pid)
    await until(crew.refuses, within=30)  # a zombie's last thread may still hold the socket


async def test_unknown_paths_of_the_admin_port_read_no_signing_key(tmp_path: Path) -> None:
    """The supervisor reads the key files once per configuration. A damaged file does not change what it serves."""
    key = tmp_path / "signing.pem"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key.write_bytes(pem)
    document = {
        "jwt": [knowing(ISSUER)],
        "signing": {"issuer": "https://gate.example", "keyFiles": [str(key)]},
        "identityToken": {"audience": "apps"},
    }
    async with Crew(tmp_path, document) as crew:
        assert (await crew.admin("/jwks")).status == 200
        key.write_text("damaged")
        assert [(await crew.admin(f"/{path}")).status for path in ("a", "b", "jwks")] == [404, 404, 200]
