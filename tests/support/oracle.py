"""The same `jwt:` block in a real kube-apiserver and in a gate, to compare their verdicts on tokens.

In the gate's file each issuer also has a name, because all issuers have the same host. The server's code is in
k8s.io/apiserver, plugin/pkg/authenticator/token/oidc/oidc.go and
pkg/apis/apiserver/validation/validation.go.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from authgate.compose import Dependencies, Generation, compose
from authgate.config import Config, ConfigError, Problem, load
from authgate.dev.issuer import Issuer, path_of
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from authgate.model import Deny, OriginalRequest, Unavailable
from authgate.observability.metrics import Metrics
from authgate.service import SystemClock
from tests.support.embedded_server import EmbeddedServer
from tests.support.gate import AUDIENCE
from tests.support.kube import ControlPlane, PlaneOptions
from tests.support.kube_api import Review
from tests.support.openid import OpenIDSite
from tests.support.process import until

Entry = Mapping[str, Any]
"""An entry of `jwt:`. Missing members of `issuer` are added. `gate` is only in the gate's file."""

Refusals = dict[int, tuple[str, ...]]
"""The invalid fields (such as `claimMappings.username`) of each entry, by the entry's index."""

MAX_ENTRIES = 63
"""The maximum number of entries in one file, besides one that is always invalid. The server's limit is 64."""

_MARKER = "no URL: makes the server refuse the whole file"
_RELOAD_FAILED = re.compile(
    r'"failed to (?:load|validate|update) authentication config" err=(?:"([^\n]*)"\n|<\n(.*?)\n >\n)',
    re.DOTALL,
)
_FIELD = re.compile(r"(?:^|[\[ ])jwt\[(\d+)\]\.?([\w.\[\]]*): [A-Z]")


@dataclass(frozen=True, slots=True)
class Named:
    """The token is valid and has this identity."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Refused:
    """The token is rejected. The reasons of server and gate differ, so they are not compared."""

    why: str = field(compare=False)


Answer = Named | Refused


@dataclass(frozen=True, slots=True)
class Both:
    """The verdicts of server and gate on one token."""

    server: Answer
    gate: Answer

    @property
    def alike(self) -> bool:
        """Whether both reject the token, or both return the same identity."""
        return self.server == self.gate

    @property
    def stricter(self) -> bool:
        """Whether only the gate rejects the token."""
        return isinstance(self.server, Named) and isinstance(self.gate, Refused)

    @property
    def wider(self) -> bool:
        """Whether only the server rejects the token."""
        return isinstance(self.server, Refused) and isinstance(self.gate, Named)


class _GroupsSite:
    """Serve a user's groups at `<issuer>/groups`, in a token of the issuer.

    A token's `_claim_sources` may refer to this path (OpenID Connect Core 1.0, section 5.6.2).
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the token for this path, and None for any other path."""
        if request.path != f"{path_of(self._issuer.url)}/groups":
            return None
        return web.Response(text=self._issuer.mint(claims={"groups": ["elsewhere"]}))


class Oracle:
    """An issuer's TLS server, a control plane and a gate, for the duration of `async with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = count(1)
        self._key = SigningKey.generate("ES256")
        self._certificate = throwaway_certificate(["127.0.0.1"])
        self._web = EmbeddedServer(certificate=self._certificate)
        self._plane = ControlPlane(folder / "plane", PlaneOptions(authentication_config=_kubernetes([])))
        self._asked = self._plane.client(self._plane.admin_user.token)
        self._at_once = asyncio.Semaphore(8)  # more concurrent requests would time out
        self._parts = AsyncExitStack()
        self._gate: Generation | None = None
        self.tokens = self.entries = 0
        """The numbers of tokens and entries that both have checked."""
        self.issuers: list[Issuer] = []
        """The issuers of the configured entries, in order."""

    async def __aenter__(self) -> Self:
        async with self._parts:
            await self._parts.enter_async_context(self._web)
            await self._parts.enter_async_context(self._plane)
            self._parts.push_async_callback(self._disconnect)
            self._parts = self._parts.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_gate()
        await self._parts.aclose()

    async def configure(
        self, entries: Sequence[Entry], keys: Mapping[int, Sequence[SigningKey]] | None = None
    ) -> None:
        """Configure server and gate with these entries. `keys` has an issuer's keys by index, if not the default.

        The first key signs. The server is restarted, because that is faster than its reload.
        """
        complete = self.complete(entries)
        self.issuers = []
        for place, entry in enumerate(complete):
            signing, *others = (keys or {}).get(place, (self._key,))
            issuer = Issuer(entry["issuer"]["url"], signing)
            for key in others:
                issuer.announce(key)
            self.issuers.append(issuer)
            self._web.add(OpenIDSite(issuer))
            self._web.add(_GroupsSite(issuer))
        await self._disconnect()
        await self._plane.stop_api()
        self._plane.authentication_file.write_text(_kubernetes(complete))
        await self._plane.start_api()
        self._asked.session = aiohttp.ClientSession()
        await self._stop_gate()
        self._gate = await _composed(load(self._gate_file(complete), {}).config)

    def complete(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """Return the entries with a new issuer URL each, and with the missing members of `issuer`."""
        usual = {"certificateAuthority": self._certificate.ca_pem.decode(), "audiences": [AUDIENCE]}
        return [
            {**entry, "issuer": {"url": f"{self._web.url}/{number}", **usual, **entry.get("issuer", {})}}
            for entry, number in zip(entries, self._number, strict=False)
        ]

    async def judge(self, token: str) -> Both:
        """Return the verdicts of server and gate on a token."""
        self.tokens += 1
        async with self._at_once:
            return Both(await self._ask_server(token), await self._ask_gate(token))

    async def _ask_server(self, token: str) -> Answer:
        review: Review | None = None

        async def initialised() -> bool:
            nonlocal review
            review = await self._asked.review_token(token)
            return "not initialized" not in review.error

        await until(initialised, within=60)
        assert review is not None
        if not review.authenticated:
            return Refused(review.error)
        return Named(review.username, review.uid, review.groups, review.extra)

    async def _ask_gate(self, token: str) -> Answer:
        assert self._gate is not None, "nothing is configured"
        decision = await self._gate.gate.decide([f"Bearer {token}".encode()], "default", OriginalRequest())
        assert not isinstance(decision, Unavailable), decision
        who = decision.identity  # set even if headers cannot contain it
        if who is None:
            return Refused(f"{decision.reason}: {decision.detail}" if isinstance(decision, Deny) else "")
        return Named(who.username, who.uid, who.groups, dict(who.extra))

    async def server_refuses(self, entries: Sequence[Entry]) -> Refusals:
        """Return the fields of these complete entries that the server rejects; nothing is applied.

        The server reloads its file and reports all errors at once. The last entry is always invalid, so that the
        server never applies the file.
        """
        assert len(entries) <= MAX_ENTRIES
        self.entries += len(entries)
        error = await self.load_error([*entries, {"issuer": {"audiences": [_MARKER]}}])
        return _by_entry(_FIELD.findall(error), len(entries))

    async def load_error(self, entries: Sequence[Entry]) -> str:
        """Return the server's errors about complete entries that it rejects."""
        before = len(self._errors())

        async def reported() -> bool:
            return len(self._errors()) > before

        fresh = self._folder / "authentication.yaml"
        fresh.write_text(
            _kubernetes(entries) + " " * next(self._number)
        )  # the server ignores a file with the same text
        fresh.replace(
            self._plane.authentication_file
        )  # atomically, so that the server reads the complete file
        await until(reported, within=120)  # the server notices a change within a minute
        return self._errors()[-1]

    def _errors(self) -> list[str]:
        found = _RELOAD_FAILED.finditer(self._plane.api_log())
        return [match[2] or match[1].replace('\\"', '"') for match in found]

    async def gate_refuses(self, entries: Sequence[Entry]) -> Refusals:
        """Return the fields of these complete entries that the gate rejects."""
        problems: tuple[Problem, ...] = ()
        try:
            config = load(self._gate_file(entries), {}).config
        except ConfigError as error:
            problems = error.problems
        else:
            await (await _composed(config)).close()  # composing must succeed after loading
        found = [_FIELD.match(f"{problem.path}: X") for problem in problems]
        assert all(found), problems
        return _by_entry([(match[1], match[2]) for match in found if match], len(entries))

    def _gate_file(self, entries: Sequence[Entry]) -> Path:
        named = [
            {**entry, "gate": {"name": f"i{place}", "keys": {"cooldown": "0.1s"}, **entry.get("gate", {})}}
            for place, entry in enumerate(entries)
        ]
        path = self._folder / "gate.yaml"
        path.write_text(json.dumps({"jwt": named}))  # JSON is YAML
        return path

    async def _disconnect(self) -> None:
        session, self._asked.session = self._asked.session, None
        if session is not None:
            await session.close()

    async def _stop_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            await gate.close()


async def _composed(config: Config) -> Generation:
    return await compose(config, Dependencies(clock=SystemClock(), metrics=Metrics(), environ={}))


def _kubernetes(entries: Sequence[Entry]) -> str:
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{name: value for name, value in entry.items() if name != "gate"} for entry in entries],
        }
    )


def _by_entry(found: Sequence[tuple[str, str]], entries: int) -> Refusals:
    places = {int(place) for place, _ in found}
    return {
        place: tuple(name for at, name in found if int(at) == place)
        for place in sorted(places)
        if place < entries
    }
