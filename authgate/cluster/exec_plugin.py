"""Credentials from a kubeconfig's exec plugin (client-go credential plugins, `client.authentication.k8s.io`).

kubernetes_asyncio's own runner is not used: it waits for a hanging plugin for ever and never ends it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.connection import (
    ClientCertificate,
    ClusterConfigError,
    ExecPlugin,
    RunningPrograms,
    header_safe,
)
from authgate.cluster.credentials import Shown
from authgate.cluster.wording import clean
from authgate.single_flight import SingleFlight
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import JSONValue

_PAUSE: Final = 10.0
_EXPIRY_MARGIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Printed:
    """What a plugin printed, and until when (POSIX seconds) it may be shown; or why that is nothing usable."""

    shown: Shown = field(default_factory=Shown)
    expires_at: float | None = None
    failure: str = ""


class _PluginError(Exception):
    """The plugin failed or printed no credential."""


class PluginCredential:
    """What an exec plugin prints, until it expires or a server refuses it.

    The plugin first runs with the first request: once for all who wait, for at most `timeout` seconds, and not again
    within 10 s of its end. It gets `environ` and the variables of its own specification, and no standard input.
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
        self._flights: SingleFlight[None, _Printed] = SingleFlight()
        self._printed: _Printed | None = None
        self._ended_at = 0.0

    def held(self) -> Shown:
        """Return what the plugin printed last; nothing before the first request."""
        return self._printed.shown if self._printed else Shown()

    async def current(self) -> Shown:
        """Return what the plugin printed, running it first where that is needed."""
        printed = self._printed
        if printed is None or printed.failure or self._expires_soon(printed):
            return await self.renew()
        return printed.shown

    async def renew(self) -> Shown:
        """Run the plugin unless it ran just now, and return what it printed."""
        printed = self._printed
        if printed is None or self._monotonic() - self._ended_at >= _PAUSE:
            printed = await self._flights.do(None, self._run)
        if printed.failure:
            raise ApiError(ApiErrorKind.UNAUTHORIZED, printed.failure)
        return printed.shown

    def _expires_soon(self, printed: _Printed) -> bool:
        return printed.expires_at is not None and self._wall() >= printed.expires_at - _EXPIRY_MARGIN

    async def _run(self) -> _Printed:
        self._programs.count += 1
        try:
            async with asyncio.timeout(self._timeout):
                printed = _credential(await _output(self._plugin, self._environ))
        except TimeoutError:
            printed = self._failed(f"did not end within {self._timeout:g} s")
        except OSError as error:
            printed = self._failed(
                f"cannot be run: {error.strerror}; install it or fix the kubeconfig's exec.command"
            )
        except _PluginError as error:
            printed = self._failed(str(error))
        finally:
            self._programs.count -= 1
        self._printed, self._ended_at = printed, self._monotonic()
        return printed

    def _failed(self, problem: str) -> _Printed:
        return _Printed(failure=clean(f"exec plugin {self._plugin.command}: {problem}"))


async def _output(plugin: ExecPlugin, environ: Mapping[str, str]) -> bytes:
    asked = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    process = await asyncio.create_subprocess_exec(
        plugin.command,
        *plugin.args,
        env={**environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(asked)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _PluginError(f"ended with status {process.returncode}: {said.decode('utf-8', 'replace')}")
    return output


def _credential(output: bytes) -> _Printed:
    try:
        answer = parse_object(output)
    except StrictJSONError as error:
        raise _PluginError(f"printed no ExecCredential: {error}") from None
    status = answer.get("status")
    if answer.get("kind") != "ExecCredential" or not isinstance(status, dict):
        raise _PluginError("printed no ExecCredential with a status")
    token, certificate = _text(status, "token"), _text(status, "clientCertificateData")
    key = _text(status, "clientKeyData")
    if bool(certificate) != bool(key):
        raise _PluginError("printed only one of clientCertificateData and clientKeyData")
    if not token and not certificate:
        raise _PluginError("printed neither a token nor clientCertificateData")
    try:
        authorization = f"Bearer {header_safe(token, 'status.token')}" if token else None
    except ClusterConfigError as error:
        raise _PluginError(str(error)) from None
    pair = ClientCertificate(certificate.encode(), key.encode()) if certificate else None
    return _Printed(Shown(authorization, pair), _expiry(_text(status, "expirationTimestamp")))


def _text(status: Mapping[str, JSONValue], name: str) -> str:
    value = status.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _PluginError(f"printed a status.{name} that is no string")
    return value


def _expiry(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _PluginError("printed a status.expirationTimestamp that is no RFC 3339 time")
    return moment.timestamp()
