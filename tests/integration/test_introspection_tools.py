"""The output of `authgate doctor` and `authgate explain` about introspection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from authgate.cli.explain import explained
from authgate.config import load
from authgate.errors import Reason, Step
from authgate.tools.doctor import Level
from authgate.tools.explain import Outcome
from tests.integration.test_introspection import TOKEN, asking, authorization_server
from tests.support.authorization_server import INTROSPECT
from tests.support.doctor import found
from tests.support.faults import Drop, Fault, failing, html, json_answer
from tests.support.gate import AUDIENCE
from tests.support.service import published, trusting, written

if TYPE_CHECKING:
    from pathlib import Path

    from authgate.tools.explain import Explanation


async def test_the_doctor_finds_a_working_endpoint(tmp_path: Path) -> None:
    """It is discovered, accepts the client, and reports an invented token as not active."""
    async with authorization_server() as (site, server):
        entry = asking(site, tmp_path, endpoint=None, issuer=site.url)
        findings = await found(written(tmp_path, {"introspection": [entry]}))
        assert findings.worst is Level.GOOD
        assert findings.about("opaque: endpoint").sentence.endswith("/introspect, discovered through issuer")
        assert "accepted by client_secret_basic" in findings.about("opaque: client").sentence
        assert server.counts[INTROSPECT] == 1


WRONG: dict[str, tuple[str, Fault, str, str]] = {
    "401": (INTROSPECT, failing(401), "opaque: endpoint", "check clientAuth"),
    "403": (INTROSPECT, failing(403), "opaque: endpoint", "check clientAuth"),
    "404": (INTROSPECT, failing(404), "opaque: endpoint", "check endpoint"),
    "500": (INTROSPECT, failing(500), "opaque: endpoint", "the server's own log"),
    "html": (INTROSPECT, html(), "opaque: endpoint", "check endpoint"),
    "dropped": (INTROSPECT, Drop(), "opaque: endpoint", "network policies"),
    "always-active": (INTROSPECT, json_answer({"active": True}), "opaque: endpoint", "check endpoint"),
    "no-discovery": ("/.well-known/openid-configuration", failing(404), "opaque: discovery", "set endpoint"),
}


@pytest.mark.parametrize(("path", "fault", "subject", "remedy"), WRONG.values(), ids=WRONG.keys())
async def test_the_doctor_has_a_remedy_for_each_failure(
    tmp_path: Path, path: str, fault: Fault, subject: str, remedy: str
) -> None:
    """The finding names what failed, and what to check."""
    async with authorization_server() as (site, server):
        server.faults.set(path, fault)
        entry = asking(site, tmp_path, endpoint=None, issuer=site.url)
        [bad] = (await found(written(tmp_path, {"introspection": [entry]}))).of(Level.BAD)
        assert bad.subject.endswith(subject)
        assert remedy in bad.remedy


async def explanation(folder: Path, token: str, *entries: dict[str, Any], **sections: Any) -> Explanation:
    """Return the explanation of a token."""
    config = load(written(folder, {"introspection": entries, **sections}), {}).config
    return await explained(config, token, "default")


async def test_explain_names_the_server_that_decides(tmp_path: Path) -> None:
    """A token that is not a JWT skips the steps that need one."""
    async with authorization_server() as (site, _):
        entry = asking(site, tmp_path)
        allowed = await explanation(tmp_path, TOKEN, entry)
        assert allowed.status == 200
        steps = {step.step: step for step in allowed.steps}
        assert steps[Step.STRUCTURE].detail == "not a JWT: only introspection can decide"
        assert steps[Step.SIGNATURE].outcome is Outcome.PASS
        assert steps[Step.SIGNATURE].detail == "decided by introspection at 'opaque'"

        inactive = await explanation(tmp_path, "gho_unknown", entry)
        assert (inactive.reason, inactive.status) == (Reason.INTROSPECTION_INACTIVE, 401)
        assert {step.step for step in inactive.steps if step.outcome is Outcome.FAIL} == {Step.SIGNATURE}

        site.tokens[TOKEN] = {"sub": "jane", "client_id": "app"}
        other = await explanation(tmp_path, TOKEN, entry)
        assert other.reason is Reason.AUDIENCE_MISMATCH
        assert other.detail == "it has no `aud`, but a `client_id`"
        assert [fact.values for fact in other.facts if fact.name == "accepted"] == [(AUDIENCE,)]


async def test_explain_shows_an_outage_and_the_key_of_a_confirmed_token(tmp_path: Path) -> None:
    """For an outage the remedy is the doctor. The key of a JWT is checked before introspection."""
    async with authorization_server() as (site, server), published() as (issuer, _):
        entry = asking(site, tmp_path, tokens="all", issuers=["corp"])
        token = issuer.mint("jane")
        site.tokens[token] = {}
        confirmed = await explanation(tmp_path, token, entry, jwt=[trusting(issuer)])
        steps = {step.step: step for step in confirmed.steps}
        assert confirmed.status == 200
        assert steps[Step.KEY].outcome is Outcome.PASS
        assert "kid" in steps[Step.KEY].detail
        assert "introspection" in steps[Step.SIGNATURE].detail
        server.faults.set(INTROSPECT, failing(500))
        outage = await explanation(tmp_path, token, entry, jwt=[trusting(issuer)])
        assert outage.reason is Reason.INTROSPECTION_UNAVAILABLE
        assert "authgate doctor" in outage.remedy
