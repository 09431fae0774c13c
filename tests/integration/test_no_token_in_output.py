"""No output contains a token: send every kind of request at the highest log level, and search all output."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from authgate.dev.compact import OMIT, JsonObject
from authgate.dev.keys import SigningKey
from authgate.dev.kube_api import TOKEN_REVIEWS_PATH
from authgate.dev.scenario import LEGACY_AUDIENCE
from tests.support.faults import Fault, Hold, failing, json_answer
from tests.support.gate import GateProcess
from tests.support.service import cluster, of_cluster, published, trusting, written
from tests.support.wire import bearer, connected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from authgate.dev.issuer import Issuer
    from tests.support.scenario import Scenario

_SHORTEST = 8
BASIC = base64.b64encode(b"operator:pass-word-of-ada").decode()
GET, HOST = "GET /verify HTTP/1.1", "Host: gate"


@dataclass
class Shown:
    """The tokens that a gate received, their parts and their ids, which must not be in any output."""

    words: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)

    def keep(self, token: str) -> str:
        """Record a token, and return it."""
        self.words |= {part for part in (token, *token.split(".")) if len(part) >= _SHORTEST}
        self.ids |= set(_ids(token))
        return token


def _ids(token: str) -> Iterable[str]:
    parts = token.split(".")
    if len(parts) != 3:
        return
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except ValueError:
        return
    if isinstance(claims, dict) and isinstance(claims.get("jti"), str):
        yield claims["jti"]


def words_in(text: str, words: set[str]) -> list[str]:
    """Return the words that the text contains."""
    return sorted(word for word in words if word in text)


def good_and_bad(issuer: Issuer, scenario: Scenario) -> list[str]:
    """Return tokens of every kind."""
    state, account = scenario.state, scenario.state.service_account("demo")
    good, stranger = issuer.mint(), SigningKey.generate("ES256")
    return [
        good,
        issuer.mint(audience="other"),
        issuer.mint(lifetime=-100),
        issuer.mint(key=stranger),
        issuer.mint(key=stranger, headers={"kid": issuer.key.kid}),
        issuer.mint(claims={"iss": "https://nobody.example.com"}),
        issuer.mint(claims={"exp": OMIT}),
        issuer.mint(claims={"sub": "a\nb"}),
        issuer.mint("named-with-space "),
        issuer.mint(headers={"crit": ["x"]}),
        issuer.mint(headers={"alg": "none"}),
        good[:-10],
        good + ".more-of-it",
        good.replace(".", "_"),
        state.account_token(account),
        state.account_token(account, audiences=("other",)),
        state.account_token(account, key=stranger),
        state.account_token(account, claims={"aud": OMIT}),
        state.legacy_token(account, "old-secret"),
        state.static_token("operator"),
        "an-opaque-word-nobody-knows",
        "x" * 20_000 + "over-long-token",
    ]


def reviewed(scenario: Scenario) -> list[str]:
    """Return tokens that only the API server can decide: a single word, and a JWT without an audience."""
    account = scenario.state.service_account("old")
    return [scenario.state.static_token("admin"), scenario.state.legacy_token(account, "older-secret")]


def malformed(token: str) -> list[list[str | bytes]]:
    """Return requests with a token in an invalid place or with invalid bytes."""
    raw = token.encode()
    return [
        [GET, HOST, bearer(token), bearer(token)],
        [GET, HOST, f"Authorization: Bearer {token}, Bearer {token}"],
        [GET, HOST, f"Authorization: Bearer '{token}'"],
        [GET, HOST, f"Authorization: {token}"],
        [GET, HOST, f"Authorization: Token {token}"],
        [GET, HOST, f"Authorization: Basic {BASIC}"],
        [GET, HOST, b"Authorization: Bearer " + raw + b"\xff\xfe"],
        [GET, HOST, b"Authorization: Bearer " + raw + b"\x00"],
        [GET, HOST, "Authorization: Bearer", f" {token}"],
        [GET, HOST, f"Authorization : Bearer {token}"],
        [GET, HOST, f"{token}: x"],
        [GET, HOST, f"Authorization: Bearer {token}{'y' * 70_000}"],
        [f"GET /verify?access_token={token} HTTP/1.1", HOST],
        [f"GET /verify/{token} HTTP/1.1", HOST],
        [f"GET /policies/{token}/verify HTTP/1.1", HOST],
        [f"GET /elsewhere/{token} HTTP/1.1", HOST],
        [f"GET /verify HTTP/1.1 {token}", HOST],
        [f"{token} /verify HTTP/1.1", HOST],
        ["POST /verify HTTP/1.1", HOST, "Content-Length: x", bearer(token)],
        [token],
    ]


async def show(gate: GateProcess, shown: Shown, *lines: str | bytes) -> None:
    """Send a request, and search the answer at once. A token's id can be its user's uid."""
    async with connected(gate.address) as wire:
        await wire.send(*lines)
        reply = await wire.reply()
    assert words_in(reply.head.decode("latin-1"), shown.words) == []


def quoting(token: str) -> list[tuple[str, Fault]]:
    """Return errors of an API server that quote the reviewed token, completely or in parts."""
    message = f"cannot review {token}: {' '.join(token.split('.'))}"
    status: JsonObject = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message}
    review: JsonObject = {"kind": "TokenReview", "status": {"error": message}}
    return [
        (TOKEN_REVIEWS_PATH, json_answer(status, 500)),
        (TOKEN_REVIEWS_PATH, json_answer(status, 403)),
        (TOKEN_REVIEWS_PATH, json_answer(status, 422)),
        (TOKEN_REVIEWS_PATH, json_answer(review, 201)),
        (TOKEN_REVIEWS_PATH, json_answer({**review, "kind": message}, 201)),
        (TOKEN_REVIEWS_PATH, failing(401)),
        (TOKEN_REVIEWS_PATH, Hold()),
    ]


@pytest.mark.parametrize("format_", ["json", "text"])
async def test_no_token_and_no_part_of_one_is_written(tmp_path: Path, format_: str) -> None:
    """Neither the log at level debug with every decision audited nor a page of the admin port contains it."""
    shown = Shown()
    shown.words |= {BASIC, "pass-word-of-ada"}
    async with cluster(tmp_path) as scenario, published() as (issuer, server):
        document = {
            "jwt": [trusting(issuer, keys={"cooldown": "0.1s"})],
            "cluster": of_cluster(scenario, legacyAudiences=[LEGACY_AUDIENCE], timeout="0.3s"),
            "log": {"level": "debug", "audit": "all", "format": format_},
            "shutdown": {"delay": "0s"},
        }
        shown.keep((scenario.folder / "authgate.token").read_text())
        async with GateProcess(written(tmp_path, document)) as gate:
            for token in good_and_bad(issuer, scenario):
                await show(gate, shown, GET, HOST, bearer(shown.keep(token)))
            for lines in malformed(shown.keep(issuer.mint())):
                await show(gate, shown, *lines)
            for token in (shown.keep(token) for token in reviewed(scenario)):
                for path, fault in quoting(token):
                    scenario.server.faults.set(path, fault)
                    await show(gate, shown, GET, HOST, bearer(token))
            scenario.server.faults.clear()
            await server.stop()
            issuer.rotate()
            await show(gate, shown, GET, HOST, bearer(shown.keep(issuer.mint())))
            pages = [
                (await gate.admin(page)).body for page in ("/metrics", "/status", "/readyz?verbose", "/")
            ]
        output = gate.process.output()
    assert output.count("decision") > 20  # an empty log would prove nothing
    assert words_in("\n".join([output, *pages]), shown.words | shown.ids) == []
