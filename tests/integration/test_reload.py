"""A configuration file that changes while the gate runs: a good one is applied, a bad one changes nothing."""

from __future__ import annotations

import asyncio
import html
import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from authgate.dev.issuer import WELL_KNOWN, Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.faults import Hold
from tests.support.gate import GateProcess
from tests.support.process import until
from tests.support.service import cluster, knowing, of_cluster, published, replace, trusting, written
from tests.support.wire import bearer, connected
from tests.support.workers import Crew

ISSUER = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
OFTEN = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "50ms"}
ON_SIGNAL = {"AUTHGATE_SERVER__RELOAD_INTERVAL": "0"}
NOWHERE = {"KUBECONFIG": "/nonexistent/kubeconfig"}
"""Makes a cluster section well-formed, but unusable."""
LAST_SUCCESS = "authgate_config_last_reload_success_timestamp_seconds"
REJECTED_SINCE = "authgate_config_rejected_since_timestamp_seconds"


def letting(*users: str, **sections: Any) -> dict[str, Any]:
    """Return a configuration that allows these users of the issuer."""
    policies = {"default": {"allow": [{"users": [f"corp:{user}" for user in users]}]}}
    return {"jwt": [knowing(ISSUER)], "policies": policies, **sections}


def gate(folder: Path, document: dict[str, Any], environ: dict[str, str] = ON_SIGNAL) -> GateProcess:
    """Run `authgate serve` with this configuration."""
    return GateProcess(written(folder, document), environ)


def libraries(pid: int, word: str) -> list[str]:
    """Return the shared libraries of a process whose path contains a word (Linux only)."""
    maps = Path(f"/proc/{pid}/maps")
    return [line for line in maps.read_text().splitlines() if word in line] if maps.exists() else []


async def counted(running: GateProcess, **results: int) -> None:
    """Wait until these numbers of configurations were applied, including the one at startup, and rejected."""

    async def reached() -> bool:
        return all(
            [
                await running.metric("authgate_config_reloads_total", result=result) == count
                for result, count in results.items()
            ]
        )

    await until(reached, within=30, otherwise=running.process.log_tail)


async def logged(running: GateProcess, text: str) -> None:
    """Wait until the log contains a text, in which quotes are not escaped."""

    async def written_to_the_file() -> bool:
        return text in running.process.output().replace('\\"', '"')

    await until(written_to_the_file, within=30, otherwise=running.process.log_tail)


async def test_a_changed_file_is_applied(tmp_path: Path) -> None:
    """This needs no restart and includes open connections. Earlier verdicts are removed from the cache."""
    async with gate(tmp_path, letting("jane"), OFTEN) as running, connected(running.address) as kept:
        token = ISSUER.mint("jane")

        async def status() -> int:
            await kept.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
            return (await kept.reply()).status

        assert [await status() for _ in range(3)] == [200] * 3
        began = await running.metric(LAST_SUCCESS)
        pid = running.process.pid
        written(tmp_path, letting("joe"))
        await counted(running, success=2)
        assert await status() == 403
        assert await running.verdict(ISSUER.mint("joe")) == (200, "")
        assert await running.metric(LAST_SUCCESS) >= began
        assert running.process.pid == pid
        await logged(running, "configuration reloaded")
        assert not libraries(pid, "pydantic"), "another process reads the file"


async def test_sighup_reloads_the_file_at_once(tmp_path: Path) -> None:
    """This works if files are not polled, and if the file has not changed."""
    async with gate(tmp_path, letting("jane")) as running:
        running.process.send(signal.SIGHUP)
        await counted(running, success=2)
        written(tmp_path, letting("joe"))
        running.process.send(signal.SIGHUP)
        await counted(running, success=3)
        assert await running.verdict(ISSUER.mint("joe")) == (200, "")


@pytest.mark.parametrize(
    ("text", "why", "shown"),
    [
        pytest.param(
            "jwt: [", "is not valid YAML: ", "authgate.yaml (line 1): is not valid YAML", id="no YAML"
        ),
        pytest.param(
            "jwt: []",
            "neither cluster, jwt nor introspection",
            "cluster: does not fit",
            id="nothing accepted",
        ),
        pytest.param(
            json.dumps(letting("joe", s3cr3t={})),
            "s3cr3t (line 1): is not a known field",
            "configuration (line 1): has an unknown field",
            id="unknown field",
        ),
        pytest.param(
            json.dumps(letting("joe", server={"proxy": "s3cr3t"})),
            'got "s3cr3t"',
            'server.proxy (line 1): must be "nginx"',
            id="wrong value",
        ),
        pytest.param(
            json.dumps({"cluster": {"audiences": ["a"], "context": "s3cr3t"}}),
            "/nonexistent/kubeconfig",
            "cluster: cannot be used",
            id="cannot be used",
        ),
    ],
)
async def test_a_bad_file_changes_nothing(tmp_path: Path, text: str, why: str, shown: str) -> None:
    """The log has the reason with the value, the admin port only field and rule. A corrected file is applied."""
    async with gate(tmp_path, letting("jane"), {**OFTEN, **NOWHERE}) as running:
        replace(tmp_path / "authgate.yaml", text)
        await counted(running, success=1, failure=1)
        assert await running.verdict(ISSUER.mint("jane")) == (200, "")
        await logged(running, why)
        for page in ("/readyz?verbose", "/status", "/"):
            told = html.unescape((await running.admin(page)).body).replace('\\"', '"')
            assert shown in told
            assert ("s3cr3t" in told, "/nonexistent" in told) == (False, False)
        assert "[-]configuration failed:" in (await running.admin("/readyz?verbose")).body
        assert await running.ready()
        written(tmp_path, letting("joe"))
        await counted(running, success=2, failure=1)
        assert await running.verdict(ISSUER.mint("joe")) == (200, "")
        assert "[+]configuration ok:" in (await running.admin("/readyz?verbose")).body


async def test_a_mounted_config_map_is_followed(tmp_path: Path) -> None:
    """Kubernetes writes a new folder and changes the link ..data. The file itself is a link through it."""
    for name, user in (("..one", "jane"), ("..two", "joe")):
        (tmp_path / name).mkdir()
        written(tmp_path / name, letting(user))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "authgate.yaml").symlink_to("..data/authgate.yaml")
    async with GateProcess(tmp_path / "authgate.yaml", OFTEN) as running:
        assert await running.verdict(ISSUER.mint("jane")) == (200, "")
        (tmp_path / "..data_tmp").symlink_to("..two")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await counted(running, success=2)
        assert await running.verdict(ISSUER.mint("joe")) == (200, "")


async def test_some_settings_take_effect_only_after_a_restart(tmp_path: Path) -> None:
    """Addresses, limits, workers and the log's format are kept. Other changes are applied. The log reports both."""
    async with gate(tmp_path, letting("jane", limits={"maxHeaders": 100})) as running:
        written(
            tmp_path,
            letting("joe", limits={"maxHeaders": 50}, log={"format": "text"}, server={"fastLane": False}),
        )
        running.process.send(signal.SIGHUP)
        await counted(running, success=2)
        assert await running.verdict(ISSUER.mint("joe")) == (200, "")
        await logged(running, "only after a restart")
        (line,) = [line for line in running.process.output().splitlines() if "only after a restart" in line]
        assert json.loads(line)["attributes"]["settings"] == "server.fastLane, limits.maxHeaders, log.format"


NOTHING_LOGGED = {"audit": "none", "level": "error"}
ALL_LOGGED = {"audit": "all", "level": "info", "auditFields": {"path": "none", "tokenID": "none"}}


async def audited(running: GateProcess, count: int) -> list[dict[str, Any]]:
    """Wait until so many audit lines are written; return the attributes of all."""

    async def reached() -> bool:
        return len(running.audit_lines()) >= count

    await until(reached, within=30, otherwise=running.process.log_tail)
    return [line["attributes"] for line in running.audit_lines()]


async def test_the_log_is_changed_by_a_reload(tmp_path: Path) -> None:
    """This holds for its level, for the decisions that are audited, also cached ones, and for the lines' fields."""
    server = {"proxy": "nginx"}
    async with gate(tmp_path, letting("jane", log=NOTHING_LOGGED, server=server)) as running:
        token = ISSUER.mint("jane")
        asked = [
            (await running.request(token, headers={"X-Original-URI": "/a"}.items())).status for _ in range(3)
        ]
        assert asked == [200] * 3
        shown = {}
        for number, log in enumerate((ALL_LOGGED, {"audit": "all"}, NOTHING_LOGGED), 2):
            written(tmp_path, letting("jane", log=log, server=server))
            running.process.send(signal.SIGHUP)
            await counted(running, success=number)
            for _ in range(2):
                await running.request(token, headers={"X-Original-URI": "/a"}.items())
            lines = await audited(running, min(2 * (number - 1), 4))
            shown[number] = [(line.get("url.path"), "authgate.token.id" in line) for line in lines]
    reloads = running.process.output().count('"configuration reloaded"')
    assert (shown[2], shown[3][2:], shown[4][4:]) == ([(None, False)] * 2, [("/a", True)] * 2, [])
    assert reloads == 2  # the last one set the level to error


async def test_every_worker_changes_its_log(tmp_path: Path) -> None:
    """So does a worker that starts later, and the supervisor."""
    async with Crew(tmp_path, letting("jane", log=NOTHING_LOGGED), ON_SIGNAL, workers=3) as crew:
        token = ISSUER.mint("jane")
        written(tmp_path, letting("jane", log=ALL_LOGGED))
        crew.process.send(signal.SIGHUP)
        await counted(crew, success=2)

        async def reported() -> bool:
            return '"configuration reloaded"' in crew.process.output()

        await until(reported, within=30)
        pid = await crew.kill(0)
        await crew.replaced(0, pid, within=30)
        await crew.client.close()
        for _ in range(30):
            async with connected(crew.address) as wire:
                await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
                assert (await wire.reply()).status == 200
        allowed = [line for line in await audited(crew, 30) if line["authgate.decision"] == "allow"]
        assert len(allowed) == 30


async def test_an_open_request_is_decided_by_its_configuration(tmp_path: Path) -> None:
    """The previous configuration is kept until its last request is decided."""
    async with cluster(tmp_path) as scenario:
        section = of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout="30s")
        async with gate(tmp_path, {"cluster": section}) as running:
            await running.has_keys(within=30)

            async def probed() -> bool:  # the probe at startup must not be held
                return await running.metric("authgate_tokenreview_requests_total") >= 1

            await until(probed, within=30)
            scenario.server.faults.set(TOKEN_REVIEWS_PATH, Hold())
            token = scenario.state.static_token("operator")
            waiting = asyncio.create_task(running.verdict(token))

            async def held() -> bool:
                return scenario.server.faults.held(TOKEN_REVIEWS_PATH) >= 1

            await until(held, within=30)
            nobody = {"default": {"allow": [{"users": ["nobody"]}]}}
            written(tmp_path, {"cluster": section, "policies": nobody})
            running.process.send(signal.SIGHUP)
            await counted(running, success=2)
            assert not waiting.done()
            scenario.server.faults.clear()
            assert await waiting == (200, "")
            assert await running.verdict(token) == (403, "not_allowed")


async def test_keys_outlive_a_reload_while_their_issuer_is_down(tmp_path: Path) -> None:
    """Keys that cannot be fetched now are inherited."""
    async with published() as (issuer, server):
        section = [trusting(issuer, keys={"timeout": "500ms"})]
        async with gate(tmp_path, {"jwt": section}) as running:
            await running.passes(issuer.mint(), within=30)
            server.faults.set(WELL_KNOWN, Hold())
            written(tmp_path, {"jwt": section, "headers": {"preset": "remote"}})
            running.process.send(signal.SIGHUP)
            await counted(running, success=2)
            answer = await running.request(issuer.mint())
            assert (answer.status, answer.value("Remote-User")) == (200, "corp:user-1")
            server.faults.clear()


async def test_keys_over_http_do_not_outlive_the_unsafe_setting(tmp_path: Path) -> None:
    """Anyone who replaced them on the network would keep signing tokens while the issuer is down."""
    async with published() as (issuer, server):
        section = [trusting(issuer, keys={"timeout": "500ms"}, unsafeAllowHTTP=True)]
        async with gate(tmp_path, {"jwt": section}) as running:
            await running.passes(issuer.mint(), within=30)
            server.faults.set(WELL_KNOWN, Hold())
            written(tmp_path, {"jwt": [trusting(issuer, keys={"timeout": "500ms"})]})
            running.process.send(signal.SIGHUP)
            await counted(running, success=2)
            assert await running.verdict(issuer.mint()) == (503, "keys_unavailable")
            server.faults.clear()


async def test_gauges_of_a_removed_issuer_are_removed(tmp_path: Path) -> None:
    """Otherwise the age of its keys would cause alerts forever. Its counters remain."""
    async with published() as (one, _), published() as (other, _):
        both = {"jwt": [trusting(one, "one"), trusting(other, "other")]}
        async with gate(tmp_path, both) as running:
            await running.passes(one.mint(), within=30)
            await running.passes(other.mint(), within=30)
            assert await running.metric("authgate_cache_entries") == 2
            written(tmp_path, {"jwt": [trusting(one, "one")]})
            running.process.send(signal.SIGHUP)
            await counted(running, success=2)

            async def forgotten() -> bool:
                told = [
                    sample.labels
                    for sample in await running.samples()
                    if sample.name.startswith("authgate_jwks_") and not sample.name.endswith("_total")
                ]
                return {labels["issuer"] for labels in told} == {"one"}

            await until(forgotten, within=30)
            assert await running.metric("authgate_jwks_fetches_total", issuer="other") >= 1
            assert await running.metric("authgate_cache_entries") == 0
            assert await running.verdict(other.mint()) == (401, "issuer_unknown")


async def test_every_worker_applies_a_changed_file(tmp_path: Path) -> None:
    """The reload counts once per gate. Workers that start later have the new configuration, too."""
    async with Crew(tmp_path, letting("jane"), OFTEN, workers=3) as crew:
        token = ISSUER.mint("jane")
        assert {await crew.verdict(token) for _ in range(20)} == {(200, "")}
        written(tmp_path, letting("joe"))
        await counted(crew, success=2)
        await crew.client.close()
        async with asyncio.timeout(60):
            for _ in range(30):
                async with connected(crew.address) as wire:
                    await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
                    assert (await wire.reply()).status == 403


async def test_a_worker_that_starts_during_a_reload_applies_it(tmp_path: Path) -> None:
    """It was forked with the previous configuration and must not answer by that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # so that applying it takes a while
        slow = trusting(f"http://127.0.0.1:{silent.getsockname()[1]}", "slow")
        async with Crew(tmp_path, letting("jane"), ON_SIGNAL) as crew:
            written(tmp_path, letting("joe", jwt=[knowing(ISSUER), slow]))
            pid = await crew.kill(1)

            async def noticed() -> bool:
                return (await crew.pids())[1] != pid

            await until(noticed, within=30, otherwise=crew.process.log_tail)
            crew.process.send(signal.SIGHUP)
            await counted(crew, success=2)
            await crew.replaced(1, pid, within=30)
            token = ISSUER.mint("jane")
            for _ in range(30):
                async with connected(crew.address) as wire:
                    await wire.send("GET /verify HTTP/1.1", "Host: gate", bearer(token))
                    assert (await wire.reply()).status == 403


async def test_no_worker_applies_a_bad_file(tmp_path: Path) -> None:
    """It may be invalid, or the first worker may be unable to use it."""
    async with Crew(tmp_path, letting("jane"), {**ON_SIGNAL, **NOWHERE}) as crew:
        for number, text in enumerate(("jwt: []", json.dumps({"cluster": {"audiences": ["a"]}})), 1):
            replace(tmp_path / "authgate.yaml", text)
            crew.process.send(signal.SIGHUP)
            await counted(crew, success=1, failure=number)
            pid = await crew.kill(0)
            await crew.replaced(0, pid, within=30)
            token = ISSUER.mint("jane")
            assert {await crew.verdict(token) for _ in range(20)} == {(200, "")}


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "workers"])
async def test_a_rejected_configuration_is_applied_once_a_missing_file_exists(
    tmp_path: Path, workers: int
) -> None:
    """A ConfigMap can be mounted before the Secret that it names, and does not change again."""
    kubeconfig = tmp_path / "kubeconfig"
    async with cluster(tmp_path) as scenario:
        section = of_cluster(scenario)
        text = scenario.kubeconfig.read_text()
        section["kubeconfig"] = str(kubeconfig)
        running: GateProcess
        running = (
            Crew(tmp_path, letting("jane"), OFTEN) if workers > 1 else gate(tmp_path, letting("jane"), OFTEN)
        )
        async with running:
            written(tmp_path, letting("joe", cluster=section))
            await counted(running, success=1, failure=1)
            assert await running.metric(REJECTED_SINCE) > 0
            replace(kubeconfig, text)
            await counted(running, success=2)
            assert await running.metric(REJECTED_SINCE) == 0
            assert await running.verdict(ISSUER.mint("jane")) == (403, "not_allowed")


async def test_a_reload_does_not_prevent_shutdown(tmp_path: Path) -> None:
    """SIGHUP and SIGTERM at the same time end the gate. The cancellation of the reload is not lost."""
    async with gate(
        tmp_path,
        letting("jane"),
        {"AUTHGATE_SERVER__RELOAD_INTERVAL": "60s", "AUTHGATE_SHUTDOWN__DELAY": "0s"},
    ) as running:
        running.process.send(signal.SIGHUP)
        running.process.send(signal.SIGTERM)
        assert await running.process.ended(within=30)
        assert running.process.exit_status == 0
