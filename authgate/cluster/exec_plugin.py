"""Credentials from a kubeconfig's exec plugin (client-go credential plugins, `client.authentication.k8s.io`).

kubernetes_asyncio's own runner is not used: it waits forever for a plugin that hangs, and never kills it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.connection import ClientCertificate, ClusterConfigError, ExecPlugin, header_safe
from authgate.cluster.credentials import Credential
from authgate.cluster.failures import clean
from authgate.cluster.running_programs import RunningPrograms
from authgate.single_flight import SingleFlight
from authgate.strict_json import StrictJSONError, parse_object, string_member

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_PAUSE: Final = 10.0
_EXPIRY_MARGIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of one run: a credential and when it expires (POSIX seconds), or why there is no credential."""

    credential: Credential = field(default_factory=Credential)
    expires_at: float | None = None
    failure: str = ""


class _PluginError(Exception):
    """The plugin failed, or did not print a credential."""


class PluginSource:
    """The credential that an exec plugin prints, until it expires or a server refuses it.

    The plugin runs with the first request: once for all callers, for at most `timeout` seconds, and not again within
    10 s of its end. It gets `environ`, the variables of its own specification, and no standard input.
    """

    def __init__(
        self,
        plugin: ExecPlugin,
        environ: Mapping[str, str],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        programs: RunningPrograms | None = None,
        *,
        timeout: float = 60.0,
    ) -> None:
        self._plugin = plugin
        self._environ = environ
        self._wall = wall
        self._monotonic = monotonic
        self._programs = programs or RunningPrograms()
        self._timeout = timeout
        self._flights: SingleFlight[None, _Result] = SingleFlight()
        self._result: _Result | None = None
        self._ended_at = 0.0

    def latest(self) -> Credential:
        """Return the credential that the plugin printed last, or an empty one before the first request."""
        return self._result.credential if self._result else Credential()

    async def current(self) -> Credential:
        """Return the credential, after running the plugin if it is missing or expires within a minute."""
        result = self._result
        if result is None or result.failure or self._expires_soon(result):
            return await self.renew()
        return result.credential

    async def renew(self) -> Credential:
        """Run the plugin, unless it ended less than 10 s ago, and return its credential."""
        result = self._result
        if result is None or self._monotonic() - self._ended_at >= _PAUSE:
            result = await self._flights.do(None, self._run)
        if result.failure:
            raise ApiError(ApiErrorKind.UNAUTHORIZED, result.failure)
        return result.credential

    def _expires_soon(self, result: _Result) -> bool:
        return result.expires_at is not None and self._wall() >= result.expires_at - _EXPIRY_MARGIN

    async def _run(self) -> _Result:
        self._programs.count += 1
        try:
            async with asyncio.timeout(self._timeout):
                result = _credential(await _output(self._plugin, self._environ))
        except TimeoutError:
            result = self._failed(f"did not end within {self._timeout:g} s")
        except OSError as error:
            result = self._failed(
                f"cannot be run: {error.strerror}; install it or fix the kubeconfig's exec.command"
            )
        except _PluginError as error:
            result = self._failed(str(error))
        finally:
            self._programs.count -= 1
        self._result, self._ended_at = result, self._monotonic()
        return result

    def _failed(self, problem: str) -> _Result:
        return _Result(failure=clean(f"exec plugin {self._plugin.command}: {problem}"))


async def _output(plugin: ExecPlugin, environ: Mapping[str, str]) -> bytes:
    spec = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    process = await asyncio.create_subprocess_exec(
        plugin.command,
        *plugin.args,
        env={**environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(spec)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _PluginError(f"ended with status {process.returncode}: {errors.decode('utf-8', 'replace')}")
    return output


def _credential(output: bytes) -> _Result:
    try:
        answer = parse_object(output)
        status = answer.get("status")
        if answer.get("kind") != "ExecCredential" or not isinstance(status, dict):
            raise _PluginError("printed no ExecCredential with a status")
        token, expires = string_member(status, "token"), string_member(status, "expirationTimestamp")
        certificate = string_member(status, "clientCertificateData")
        key = string_member(status, "clientKeyData")
    except StrictJSONError as error:
        raise _PluginError(f"printed no ExecCredential: {error}") from None
    if bool(certificate) != bool(key):
        raise _PluginError("printed only one of clientCertificateData and clientKeyData")
    if not token and not certificate:
        raise _PluginError("printed neither a token nor clientCertificateData")
    try:
        authorization = f"Bearer {header_safe(token, 'status.token')}" if token else None
    except ClusterConfigError as error:
        raise _PluginError(str(error)) from None
    pair = ClientCertificate(certificate.encode(), key.encode()) if certificate else None
    return _Result(Credential(authorization, pair), _expiry(expires))


def _expiry(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _PluginError("printed a status.expirationTimestamp that is not an RFC 3339 time")
    return moment.timestamp()
