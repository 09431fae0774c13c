"""A running gate, in this process or as a program, and the requests that tests send to it."""

import asyncio
import json
import os
import ssl
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict
from prometheus_client.parser import text_string_to_metric_families

from authgate.config import load
from authgate.model import Decision, OriginalRequest
from authgate.service import Service
from authgate.vocabulary import SERVICE_ACCOUNT_DIR
from tests.support.audit_lines import audit_lines
from tests.support.kube import ControlPlane
from tests.support.process import ChildProcess, free_port, until

Headers = Iterable[tuple[str, str]]

_RENDER_EVERY = 1.01

AUDIENCE = "my-audience"
"""The audience that the tests' gates accept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response; `headers` contains repeated headers in order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    def value(self, name: str) -> str:
        """Return the value of a header, or "" if it is missing. It must not be repeated."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} is sent {len(values)} times"
        return "".join(values)

    def values(self, name: str) -> list[str]:
        """Return all values of the headers with this name, ignoring case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def headers_from(self, prefix: str) -> list[tuple[str, str]]:
        """Return the headers whose name begins with `prefix`, in order."""
        return [(name, value) for name, value in self.headers if name.startswith(prefix)]

    @property
    def verdict(self) -> tuple[int, str]:
        """The status and the reason code; "" without a reason."""
        return self.status, self.value("X-Auth-Reason")


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of the metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


class Client:
    """Send requests as a proxy or an operator does. The order and spelling of headers are kept."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=60)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def get(self, url: str, token: str | None = None, headers: Headers = ()) -> Answer:
        """Return the response to a GET with these headers and, if given, the token."""
        sent = CIMultiDict(headers)
        if token is not None:
            sent.add("Authorization", f"Bearer {token}")
        async with self._session.get(url, headers=sent, allow_redirects=False) as answer:
            return Answer(answer.status, tuple(answer.headers.items()), await answer.text())

    async def post(
        self, url: str, body: bytes, headers: Headers = (), trust: ssl.SSLContext | None = None
    ) -> Answer:
        """Return the response to a POST. `trust` verifies the server's certificate."""
        sent = CIMultiDict(headers)
        async with self._session.post(
            url, data=body, headers=sent, allow_redirects=False, ssl=trust or True
        ) as answer:
            return Answer(answer.status, tuple(answer.headers.items()), await answer.text())


class RunningGate(ABC):
    """Requests to a gate while it runs."""

    def __init__(self) -> None:
        self.client = Client()
        self._scraped_at = 0.0

    @property
    @abstractmethod
    def address(self) -> str:
        """The host and port of the verify listener."""

    @property
    @abstractmethod
    def admin_address(self) -> str:
        """The host and port of the admin listener."""

    async def request(self, token: str | None = None, path: str = "/verify", headers: Headers = ()) -> Answer:
        """Return the gate's response to a subrequest."""
        return await self.client.get(f"http://{self.address}{path}", token, headers)

    async def verdict(self, token: str | None, path: str = "/verify") -> tuple[int, str]:
        """Return the status and reason of the gate's response to a token."""
        return (await self.request(token, path)).verdict

    async def passes(self, token: str, *, within: float) -> None:
        """Wait until the gate allows the token; fail after `within` seconds."""

        async def opens() -> bool:
            return (await self.request(token)).status == 200

        await until(opens, within=within)

    async def admin(self, path: str, token: str | None = None, headers: Headers = ()) -> Answer:
        """Return the response of the admin listener."""
        return await self.client.get(f"http://{self.admin_address}{path}", token, headers)

    async def ready(self) -> bool:
        """Return whether `/readyz` succeeds."""
        return (await self.admin("/readyz")).status == 200

    async def becomes_ready(self, *, within: float) -> None:
        """Wait until `/readyz` succeeds; fail after `within` seconds."""
        await until(self.ready, within=within)

    async def has_keys(self, *, within: float) -> None:
        """Wait until it has an issuer's keys; fail after `within` seconds."""

        async def fetched() -> bool:
            return await self.metric("authgate_jwks_keys") > 0

        await until(fetched, within=within)

    async def samples(self) -> list[Sample]:
        """Return all samples of the metrics."""
        return [
            Sample(sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(await self.figures())
            for sample in family.samples
        ]

    async def figures(self) -> str:
        """Return the text of `/metrics`, which the gate renders at most once per second."""
        await asyncio.sleep(self._scraped_at + _RENDER_EVERY - time.monotonic())
        text = (await self.admin("/metrics")).body
        self._scraped_at = time.monotonic()
        return text

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and these labels; 0 without any."""
        return sum(
            sample.value
            for sample in await self.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class Gate(RunningGate):
    """The complete service in this process, on free loopback ports, for the duration of `async with`.

    `file` and `environ` are its configuration. `service_account_dir` replaces the folder of a pod's ServiceAccount.
    """

    def __init__(
        self,
        file: Path | None = None,
        environ: Mapping[str, str] | None = None,
        service_account_dir: Path = Path(SERVICE_ACCOUNT_DIR),
    ) -> None:
        environ = environ or {}
        flags = {"server.listen": "127.0.0.1:0", "server.admin": "127.0.0.1:0"}
        config = load(file, environ, flags).config
        super().__init__()
        self._service = Service(config, environ, str(service_account_dir))

    async def __aenter__(self) -> Self:
        try:
            await self._service.start()
        except BaseException:
            await self.client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._service.stop()
        await self.client.close()

    async def figures(self) -> str:
        """Return the current text of `/metrics`, without the admin port's minimum time between renderings."""
        return self._service.metrics.render().decode()

    @property
    def address(self) -> str:
        """The host and port of the verify listener."""
        return self._service.verify_addresses[0]

    @property
    def admin_address(self) -> str:
        """The host and port of the admin listener."""
        assert self._service.admin_address is not None
        return self._service.admin_address

    @property
    def grpc_address(self) -> str:
        """The host and port, or the socket, of the listener for Envoy's gRPC."""
        address = self._service.ports.grpc_address
        assert address is not None
        return address

    def begin_ending(self) -> None:
        """Start the drain, as SIGTERM does."""
        self._service.drain()

    async def decide(self, token: str, policy: str = "default") -> Decision:
        """Return the decision, with the identity before it is put into headers."""
        return await self._service.generation.gate.decide(
            [f"Bearer {token}".encode()], policy, OriginalRequest()
        )


class GateProcess(RunningGate):
    """`authgate serve --config FILE` in a process of its own, for the duration of `async with`.

    Its output is in a file next to the configuration, which must not contain listen addresses. shutdown.delay is 0
    unless `environ` sets it. `limits` are arguments of the shell's ulimit, such as "-Hn 1024". `prefix` is a command
    that runs it, such as `prlimit --nofile=256`. `python` is an interpreter with authgate, instead of the tests' own.
    """

    def __init__(
        self,
        file: Path,
        environ: Mapping[str, str] | None = None,
        *,
        limits: Sequence[str] = (),
        prefix: Sequence[str] = (),
        python: str | Path = sys.executable,
    ) -> None:
        super().__init__()
        self._address, self._admin_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
        own = {
            "AUTHGATE_SERVER__LISTEN": self._address,
            "AUTHGATE_SERVER__ADMIN": self._admin_address,
            "AUTHGATE_SHUTDOWN__DELAY": "0s",
        }
        self.process = ChildProcess(
            [*prefix, *_limited(limits), python, "-m", "authgate", "serve", "--config", file],
            log=file.with_suffix(".log"),
            ready=self._answers,
            environment={**os.environ, **own, **(environ or {})},
        )

    async def __aenter__(self) -> Self:
        try:
            await self.process.start()
        except BaseException:
            await self.client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.process.stop()
        await self.client.close()
        if kind is None:
            self.audit_lines()

    def audit_lines(self) -> list[dict[str, Any]]:
        """Return the audit lines that it has written, each as the schema requires."""
        return audit_lines(self.process.output())

    @property
    def address(self) -> str:
        """The host and port of the verify listener."""
        return self._address

    @property
    def admin_address(self) -> str:
        """The host and port of the admin listener."""
        return self._admin_address

    async def _answers(self) -> bool:
        """Return whether it accepts requests. The verify listener is the last one to open."""
        try:
            return (await self.request()).status == 401
        except aiohttp.ClientError:
            return False


def _limited(limits: Sequence[str]) -> list[str]:
    script = "".join(f"ulimit {limit} && " for limit in limits)
    return ["sh", "-c", f'{script}exec "$@"', "sh"] if limits else []


def write_configuration(
    folder: Path,
    plane: ControlPlane,
    token: str,
    *,
    cluster: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Path:
    """Write the configuration of a gate whose own credential is `token`; return its path.

    `cluster` adds to the section of that name, and `sections` are other ones.
    """
    folder.mkdir(exist_ok=True)
    kubeconfig = plane.write_kubeconfig(folder / "kubeconfig", token=token)
    document = {
        "cluster": {"audiences": [AUDIENCE], "kubeconfig": str(kubeconfig), **(cluster or {})},
        **sections,
    }
    path = folder / "gate.yaml"
    path.write_text(json.dumps(document, indent=2))  # JSON is YAML
    return path
