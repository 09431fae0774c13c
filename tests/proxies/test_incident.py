"""Complaints of users, each solved from the request id on the page with the commands of docs/troubleshooting.md.

nginx, the gate, its issuers and an API server run, and something is wrong with each request.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import sys
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import pytest_asyncio

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.scenario import LEGACY_AUDIENCE
from authgate.tools.snippets import Listen, Options, Upstream, rendered
from tests.proxies.app import App
from tests.proxies.programs import PROGRAMS
from tests.support.embedded_server import EmbeddedServer
from tests.support.gate import AUDIENCE, GateProcess
from tests.support.openid import OpenIDSite
from tests.support.process import ChildProcess, accepts, free_port, until
from tests.support.service import cluster, of_cluster, trusting, written
from tests.support.tools import require_tool
from tests.support.watch_server import WatchServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp import web

    from tests.support.scenario import Scenario

PAGE: Final = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
AHEAD: Final = 600
"""How far the clock of the partner is ahead, in seconds."""
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"^\w+=\S+ +# .*\n", re.MULTILINE)
"""A line that the reader must change."""
_LISTED = re.compile(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>")


class AheadSite(OpenIDSite):
    """An issuer whose clock is ahead."""

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the document, dated by that clock."""
        answer = await super().respond(request)
        if answer is not None:
            answer.headers["Date"] = formatdate(time.time() + AHEAD, usegmt=True)
        return answer


class Metadata:
    """The part of the API server that lists and watches metadata, with a pod and its account."""

    def __init__(self, pod_uid: str, account_uid: str) -> None:
        self.pods = WatchServer(pod_uid)
        self._servers = {
            "/api/v1/pods": self.pods,
            "/api/v1/serviceaccounts": WatchServer(account_uid),
            "/api/v1/nodes": WatchServer(),
        }

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the response to a list or a watch, or None for another path."""
        server = self._servers.get(request.path)
        return None if server is None else await server.answer(request)

    async def watched(self) -> bool:
        """Whether the gate watches everything."""
        return all(server.followers for server in self._servers.values())

    def hang_up(self) -> None:
        """Close every watch."""
        for server in self._servers.values():
            server.hang_up()


def authorization(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a user sees: the status and the list at the end of the page."""

    path: str
    status: int
    shown: dict[str, str]

    @property
    def request_id(self) -> str:
        """The request id on the page."""
        return self.shown["Request id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The running site, and the values of the variables in the commands."""

    folder: Path
    proxies: dict[str, tuple[str, ChildProcess]]
    issuers: dict[str, Issuer]
    scenario: Scenario
    pods: WatchServer
    pod_token: str
    variables: dict[str, str]
    session: aiohttp.ClientSession

    async def visit(
        self, path: str, token: str | None, *, proxy: str = "good", method: str = "GET"
    ) -> Complaint:
        """Send a browser's request, and return the page of its denial."""
        headers = {"Accept": "text/html"} | (authorization(token) if token else {})
        url = f"http://{self.proxies[proxy][0]}{path}"
        if method == "OPTIONS":
            headers |= {"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}
        async with self.session.request(method, url, headers=headers) as answer:
            shown = {name: html.unescape(text) for name, text in _LISTED.findall(await answer.text())}
            return Complaint(path, answer.status, shown)

    async def run(self, commands: str, variables: Mapping[str, str]) -> str:
        """Run the commands as an operator pastes them, and return their output."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            commands,
            cwd=self.folder,
            env={**os.environ, **variables, "PATH": path, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode()


WORKING: Final = ("issuer/corp", "issuer/partner", "cluster/home")
STAFF: Final = {"groups": ["staff"]}
CONFIGURATION: Final[dict[str, Any]] = {
    "policies": {
        "default": {
            "allow": [{"groups": ["staff"]}, {"serviceAccounts": ["default/*"]}],
            "rules": [
                {"paths": ["/reports/private/*"], "allow": [{"groups": ["auditors"]}]},
                {"paths": ["/reports/*"], "methods": ["GET"], "allow": [{"groups": ["staff"]}]},
            ],
        }
    },
    "server": {"proxy": "nginx"},
}


def nginx(folder: Path, gate: str, app: str, *, policy: str) -> tuple[str, ChildProcess]:
    """Return an address and the nginx that listens there with the snippet and its error pages."""
    port, program = free_port(), PROGRAMS["nginx"]
    options = Options(
        gate=Upstream("127.0.0.1", int(gate.rpartition(":")[2])),
        app=Upstream("127.0.0.1", int(app.rpartition(":")[2])),
        listen=Listen("127.0.0.1", port),
        policy=policy,
        error_pages=True,
        complete=True,
    )
    folder.mkdir()
    for file in rendered(program.snippet, options):
        (folder / file.name).write_text(file.text)

    async def listens() -> bool:
        return await accepts(port)

    command: list[str | Path] = [program.path(), *program.arguments]
    process = ChildProcess(command, log=folder / "proxy.log", ready=listens, folder=folder, grace=0)
    return f"127.0.0.1:{port}", process


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Everything runs, except for the supplier's issuer. One proxy names a policy that does not exist."""
    require_tool("curl", "commands of the page use it")
    folder = tmp_path_factory.mktemp("incident")
    supplier = Issuer(f"http://127.0.0.1:{free_port()}", SigningKey.generate("ES256"))
    async with (
        EmbeddedServer() as corp_server,
        EmbeddedServer() as partner_server,
        cluster(folder / "cluster") as scenario,
        App() as app,
        aiohttp.ClientSession() as session,
    ):
        corp, partner = (
            Issuer(each.url, SigningKey.generate("ES256")) for each in (corp_server, partner_server)
        )
        corp_server.add(OpenIDSite(corp))
        partner_server.add(AheadSite(partner))
        account = scenario.state.service_account("worker")
        pod = scenario.state.pod(account, "worker-7")
        metadata = Metadata(pod.uid, account.uid)
        scenario.server.add(metadata)
        review: dict[str, Any] = {"legacyAudiences": [LEGACY_AUDIENCE], "qps": 0.1, "burst": 1}
        document = {
            **CONFIGURATION,
            "jwt": [trusting(corp), trusting(partner, "partner"), trusting(supplier, "supplier")],
            "cluster": {**of_cluster(scenario, **review), "revocation": "watch"},
        }
        config = written(folder, document)
        async with GateProcess(config) as gate:
            address, good = nginx(folder / "nginx", gate.address, app.address, policy="default")
            other, bad = nginx(folder / "nginx-billing", gate.address, app.address, policy="billing")
            async with good, bad:

                async def works() -> bool:
                    checks = (await gate.admin("/readyz?verbose")).body
                    return all(f"[+]{name} ok" in checks for name in WORKING) and await metadata.watched()

                await until(works, within=30, otherwise=gate.process.log_tail)
                variables = {
                    "gate_log": str(gate.process.log),
                    "config": str(config),
                    "admin": f"http://{gate.admin_address}",
                    "site": f"http://{address}",
                }
                yield Stage(
                    folder=folder,
                    proxies={"good": (address, good), "bad": (other, bad)},
                    issuers={"corp": corp, "partner": partner, "supplier": supplier},
                    scenario=scenario,
                    pods=metadata.pods,
                    pod_token=scenario.state.account_token(account, (AUDIENCE,), bound_to=pod),
                    variables=variables,
                    session=session,
                )
            metadata.hang_up()


async def wrong_audience(stage: Stage) -> Complaint:
    """The token is for another app."""
    return await stage.visit("/", stage.issuers["corp"].mint("ada", "another-app", claims=STAFF))


async def expired(stage: Stage) -> Complaint:
    """The token has expired an hour ago."""
    claims = {**STAFF, "exp": int(time.time()) - 3600}
    return await stage.visit("/", stage.issuers["corp"].mint("ada", claims=claims))


async def skewed(stage: Stage) -> Complaint:
    """The issuer's clock is ahead."""
    now = int(time.time()) + AHEAD
    claims = {**STAFF, "iat": now, "nbf": now, "exp": now + 3600}
    return await stage.visit("/", stage.issuers["partner"].mint("ada", claims=claims))


async def stripped(stage: Stage) -> Complaint:
    """Something in front of the proxy removes the token."""
    (stage.folder / "token").write_text(stage.issuers["corp"].mint("ada", claims=STAFF))
    return await stage.visit("/", None)


async def preflight(stage: Stage) -> Complaint:
    """A browser asks before it sends the token to another origin."""
    return await stage.visit("/reports/7", None, method="OPTIONS")


async def deleted(stage: Stage) -> Complaint:
    """The pod of the token existed, and is deleted."""
    async with stage.session.get(
        f"{stage.variables['site']}/", headers=authorization(stage.pod_token)
    ) as answer:
        assert answer.status == 200
    stage.pods.delete(*stage.pods.objects)
    seen: list[Complaint] = []

    async def denied() -> bool:
        seen.append(await stage.visit("/", stage.pod_token))
        return seen[-1].status != 200

    await until(denied, within=30)
    return seen[-1]


async def not_in_group(stage: Stage) -> Complaint:
    """The user is a guest."""
    return await stage.visit("/", stage.issuers["corp"].mint("bob", claims={"groups": ["guests"]}))


async def ruled(stage: Stage) -> Complaint:
    """Other pages are open to this user."""
    return await stage.visit("/reports/private/7", stage.issuers["corp"].mint("bob", claims=STAFF))


async def issuer_down(stage: Stage) -> Complaint:
    """The keys of the token's issuer have never been fetched."""
    return await stage.visit("/", stage.issuers["supplier"].mint("eve", claims=STAFF))


async def throttled(stage: Stage) -> Complaint:
    """Other clients with static tokens have used up the budget."""
    seen: list[Complaint] = []

    async def denied() -> bool:
        token = stage.scenario.state.static_token("operator", groups=("staff",))
        seen.append(await stage.visit("/", token))
        return seen[-1].status != 200

    await until(denied, within=30)
    return seen[-1]


async def unknown_policy(stage: Stage) -> Complaint:
    """The proxy asks for a policy that does not exist."""
    return await stage.visit("/", stage.issuers["corp"].mint("ada", claims=STAFF), proxy="bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A complaint, its section of the page, and texts of the cause in the output of the section's commands."""

    complain: Callable[[Stage], Awaitable[Complaint]]
    status: int
    code: str
    """The reason code that the user sees."""
    found: tuple[str, ...]
    proxy: str = "good"
    issuer: str = "corp"


CASES: Final = {
    "The token is for another audience": Case(
        complain=wrong_audience,
        status=401,
        code="audience_mismatch",
        found=("claimed audiences (not verified)  another-app", f"'corp' accepts only {AUDIENCE}"),
    ),
    "The token has expired": Case(
        complain=expired, status=401, code="token_expired", found=("detail                            at 20",)
    ),
    "The clocks differ": Case(
        complain=skewed,
        status=401,
        code="token_not_yet_valid",
        issuer="partner",
        found=("'nbf' is 20", "\nDate: "),
    ),
    "The token was lost on the way": Case(
        complain=stripped, status=401, code="no_credential", found=("\n200\n",)
    ),
    "It works with curl, but not in a browser": Case(
        complain=preflight,
        status=401,
        code="no_credential",
        found=(
            "request     OPTIONS 127.0.0.1/reports/7",
            "set policies.default.corsPreflight: allow",
            'policies.default.corsPreflight  "judge"',
        ),
    ),
    "The pod was deleted": Case(
        complain=deleted,
        status=401,
        code="object_deleted",
        found=("the pod worker-7 of system:serviceaccount:default:worker",),
    ),
    "The user lacks a group": Case(
        complain=not_in_group,
        status=403,
        code="not_allowed",
        found=("user        corp:bob", 'policies.default.allow[0].groups           ["staff"]'),
    ),
    "A rule covers the path": Case(
        complain=ruled,
        status=403,
        code="not_allowed",
        found=(
            "policy      default, rules[0]",
            "request     GET 127.0.0.1/reports/private/7",
            'policies.default.rules[0].paths                     ["/reports/private/*"]',
            'policies.default.rules[0].allow[0].groups           ["auditors"]',
        ),
    ),
    "The issuer is down": Case(
        complain=issuer_down,
        status=503,
        code="keys_unavailable",
        found=("[-]issuer/supplier failed", "bad      jwt supplier: discovery", "-> nothing listens there"),
    ),
    "Too many tokens need a TokenReview": Case(
        complain=throttled,
        status=503,
        code="review_throttled",
        found=(
            'authgate_tokenreview_requests_total{cluster="home",result="throttled"}',
            "cluster.tokenReview.qps  0.1",
        ),
    ),
    "The proxy names an unknown policy": Case(
        complain=unknown_policy,
        status=503,
        code="",
        proxy="bad",
        found=("deny: 404 no_such_endpoint", "http://authgate/policies/billing/verify", "  default:"),
    ),
}


def sections() -> dict[str, list[str]]:
    """Return the blocks of shell commands below each heading of the page."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {heading: _BLOCK.findall(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("heading", "case"), CASES.items(), ids=list(CASES))
async def test_the_id_leads_to_the_cause(stage: Stage, heading: str, case: Case) -> None:
    """The commands of the page find both lines and the cause, without anything but the id and the page's variables."""
    complaint = await case.complain(stage)
    assert (complaint.status, complaint.shown["Reason code"]) == (case.status, case.code)
    proxy_log = stage.proxies[case.proxy][1].log
    variables = stage.variables | {
        "id": complaint.request_id,
        "proxy_log": str(proxy_log),
        "proxy_config": str(proxy_log.parent),
        "issuer": stage.issuers[case.issuer].url,
    }
    settings, search, without_id = sections()["Find both log lines"]
    assert set(re.findall(r"^(\w+)=", settings, re.MULTILINE)) <= variables.keys()

    async def logged() -> bool:
        texts = [proxy_log.read_text(), Path(stage.variables["gate_log"]).read_text()]
        return all(complaint.request_id in text.rpartition("\n")[0] for text in texts)

    await until(logged, within=30)
    by_path = _ASSIGNMENT.sub("", without_id)
    assert complaint.request_id in await stage.run(by_path, variables | {"path": complaint.path})
    lines = await stage.run(search, variables)
    reason = case.code or "no_such_endpoint"
    assert f'"status":"{case.status}","reason":"{reason}"' in lines.splitlines()[0]
    assert f" {reason}\n" in lines
    output = [lines] + [
        await stage.run(_ASSIGNMENT.sub("", block), variables) for block in sections()[heading]
    ]
    assert [text for text in case.found if text not in "\n".join(output)] == [], output


def test_the_page_has_these_complaints() -> None:
    """Each section is acted out, and is in the table of reason codes."""
    general = {"Find both log lines", "Causes by reason code"}
    assert sections().keys() - general == CASES.keys()
    table = PAGE.read_text().partition("## Causes by reason code")[2].partition("\n## ")[0]
    for heading, case in CASES.items():
        anchor = heading.lower().replace(",", "").replace(" ", "-")
        [row] = [line for line in table.splitlines() if f"](#{anchor})" in line]
        assert (
            f"{case.status} `{case.code}`" in row if case.code else f"{case.status} without a reason" in row
        )
