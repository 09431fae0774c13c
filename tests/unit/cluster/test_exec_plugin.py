"""When an exec plugin runs, and the output that is accepted."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.connection import ExecPlugin
from authgate.cluster.exec_plugin import PluginSource
from authgate.cluster.running_programs import RunningPrograms

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "client.authentication.k8s.io/v1"


class Seconds:
    """A clock that the test sets, in POSIX seconds."""

    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


def credential_object(**status: Any) -> str:
    """Return the output of a plugin."""
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


class Plugin:
    """A plugin that prints a file, and counts its runs."""

    def __init__(self, folder: Path, output: str, script: str = "") -> None:
        self.clock = Seconds()
        self._output, self._runs = folder / "output", folder / "runs"
        self.prints(output)
        run = f"echo >> '{self._runs}'; {script} cat '{self._output}'"
        plugin = ExecPlugin(VERSION, "sh", ("-c", run), (("EXTRA", "1"),))
        environ = {"PATH": os.environ["PATH"], "OUTER": "1"}
        self.credential = PluginSource(plugin, environ, self.clock, self.clock)

    def prints(self, output: str) -> None:
        """Set its output from now on."""
        self._output.write_text(output)

    @property
    def runs(self) -> int:
        """Return how often it ran."""
        return len(self._runs.read_text()) if self._runs.exists() else 0


async def test_a_plugin_runs_at_the_first_request(tmp_path: Path) -> None:
    """Before the first request nothing runs, and there is no credential."""
    plugin = Plugin(tmp_path, credential_object(token="abc"))
    assert (plugin.credential.latest().token, plugin.runs) == (None, 0)


async def test_simultaneous_requests_share_one_run(tmp_path: Path) -> None:
    """They wait for the same process."""
    plugin = Plugin(tmp_path, credential_object(token="abc"))
    shown = await asyncio.gather(*(plugin.credential.current() for _ in range(4)))
    assert ([each.token for each in shown], plugin.runs) == (["abc"] * 4, 1)


async def test_a_credential_without_an_expiry_is_kept(tmp_path: Path) -> None:
    """It is used until the API server rejects it."""
    plugin = Plugin(tmp_path, credential_object(token="abc"))
    await plugin.credential.current()
    plugin.clock.value += 1e9
    assert ((await plugin.credential.current()).token, plugin.runs) == ("abc", 1)


@pytest.mark.parametrize(("now", "runs"), [(3539, 1), (3540, 2)])
async def test_a_plugin_runs_again_before_the_expiry(tmp_path: Path, now: float, runs: int) -> None:
    """A credential is replaced one minute before it expires."""
    plugin = Plugin(tmp_path, credential_object(token="abc", expirationTimestamp="1970-01-01T01:00:00Z"))
    await plugin.credential.current()
    plugin.clock.value = now
    await plugin.credential.current()
    assert plugin.runs == runs


@pytest.mark.parametrize(("after", "token"), [(9.9, "abc"), (10.0, "def")])
async def test_a_plugin_runs_again_after_a_rejection(tmp_path: Path, after: float, token: str) -> None:
    """It does not run twice within ten seconds."""
    plugin = Plugin(tmp_path, credential_object(token="abc"))
    await plugin.credential.current()
    plugin.prints(credential_object(token="def"))
    plugin.clock.value += after
    assert (await plugin.credential.renew()).token == token


async def test_a_failed_plugin_does_not_run_for_ten_seconds(tmp_path: Path) -> None:
    """Requests in the next ten seconds fail without a run."""
    plugin = Plugin(tmp_path, "")
    for _ in range(3):
        with pytest.raises(ApiError):
            await plugin.credential.current()
    assert plugin.runs == 1


async def test_a_failed_plugin_can_recover(tmp_path: Path) -> None:
    """It runs again later, and its credential is used."""
    plugin = Plugin(tmp_path, "")
    with pytest.raises(ApiError):
        await plugin.credential.current()
    plugin.prints(credential_object(token="abc"))
    plugin.clock.value += 10
    assert (await plugin.credential.current()).token == "abc"


async def test_a_plugin_can_return_a_client_certificate(tmp_path: Path) -> None:
    """It may return a client certificate without a token."""
    plugin = Plugin(tmp_path, credential_object(clientCertificateData="CERT", clientKeyData="KEY"))
    shown = await plugin.credential.current()
    assert shown.certificate is not None
    assert (shown.authorization, shown.certificate.certificate, shown.certificate.key) == (
        None,
        b"CERT",
        b"KEY",
    )


async def test_the_environment_of_a_plugin(tmp_path: Path) -> None:
    """The plugin gets the outer environment, its own variables and KUBERNETES_EXEC_INFO."""
    script = 'test "$OUTER$EXTRA" = 11 && test -n "$KUBERNETES_EXEC_INFO" &&'
    plugin = Plugin(tmp_path, credential_object(token="abc"), script)
    assert (await plugin.credential.current()).token == "abc"


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("", "printed no ExecCredential"),
        ("abc", "printed no ExecCredential"),
        ("[" * 5000, "printed no ExecCredential"),
        ('{"kind": "ExecCredential"}', "printed no ExecCredential with a status"),
        ('{"kind": "Other", "status": {"token": "abc"}}', "printed no ExecCredential with a status"),
        (credential_object(), "printed neither a token nor"),
        (credential_object(token=5), "token is not a string"),
        (credential_object(token="a b"), "printable ASCII"),
        (credential_object(clientCertificateData="x"), "only one of"),
        (credential_object(token="x", expirationTimestamp="tomorrow"), "not an RFC 3339 time"),
        (credential_object(token="x", expirationTimestamp="1970-01-01T01:00:00"), "not an RFC 3339 time"),
    ],
    ids=["empty", "text", "deep", "status", "kind", "neither", "type", "word", "key", "time", "zone"],
)
async def test_unusable_output_is_an_error(tmp_path: Path, output: str, problem: str) -> None:
    """The error names the plugin and the problem."""
    with pytest.raises(ApiError, match=f"exec plugin sh: .*{problem}") as caught:
        await Plugin(tmp_path, output).credential.current()
    assert caught.value.kind is ApiErrorKind.UNAUTHORIZED


async def test_a_failing_plugin_is_reported(tmp_path: Path) -> None:
    """The error has the plugin's exit status and its stderr, bounded."""
    plugin = Plugin(tmp_path, "", "echo 'run: aws sso login' >&2; exit 3;")
    with pytest.raises(ApiError, match="ended with status 3: run: aws sso login"):
        await plugin.credential.current()


async def test_a_hanging_plugin_is_killed(tmp_path: Path) -> None:
    """A plugin that does not end in time is killed, and the error has the reason."""
    clock = Seconds()
    plugin = ExecPlugin(VERSION, "sh", ("-c", f"echo $$ > '{tmp_path / 'pid'}'; exec sleep 60"))
    credential = PluginSource(plugin, {"PATH": os.environ["PATH"]}, clock, clock, timeout=3.0)
    with pytest.raises(ApiError, match=r"exec plugin sh: did not end within 3 s"):
        await credential.current()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_missing_plugin_is_reported() -> None:
    """The error states that the plugin is not installed."""
    clock = Seconds()
    plugin = PluginSource(ExecPlugin(VERSION, "no-such-plugin"), {}, clock, clock)
    with pytest.raises(ApiError, match=r"exec plugin no-such-plugin: cannot be run: .*install it"):
        await plugin.current()


@pytest.mark.parametrize("timeout", [60.0, 3.0], ids=["ends", "is ended"])
async def test_a_running_plugin_is_counted(tmp_path: Path, timeout: float) -> None:  # noqa: ASYNC109 - the plugin's
    """It counts from before its start until its exit status is known, so that no other code collects the status."""
    clock, programs = Seconds(), RunningPrograms()
    wait = f"until [ -e '{tmp_path / 'end'}' ]; do sleep 0.05; done"
    script = f"touch '{tmp_path / 'began'}'; {wait}; echo '{credential_object(token='abc')}'"
    plugin = ExecPlugin(VERSION, "sh", ("-c", script))
    credential = PluginSource(plugin, {"PATH": os.environ["PATH"]}, clock, clock, programs, timeout=timeout)
    running = asyncio.create_task(credential.current())
    while not (tmp_path / "began").exists():
        assert not running.done()
        await asyncio.sleep(0.01)
    assert programs.count == 1
    if timeout == 60:
        (tmp_path / "end").touch()
    [result] = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(result, ApiError) == (timeout != 60)
    assert programs.count == 0
