"""`corsPreflight`: which requests of browsers are allowed without a token, and which are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authgate.errors import Reason
from authgate.gate import Gate
from authgate.model import Allow, Deny, OriginalRequest
from authgate.policy.headers import HeaderMapper
from authgate.policy.routes import PathPattern, RequestMatch
from authgate.policy.rules import Difference, Policy, Rule
from tests.support.verifiers import ScriptedVerifier

PREFLIGHT = OriginalRequest("OPTIONS", "/things", "app.example", "", preflight=True)
GUARDED = Rule(RequestMatch(paths=(PathPattern("/guarded/*"),)), allow=())


def reasons(policy: Policy, request: OriginalRequest, *authorization: bytes) -> tuple[type, Reason]:
    """Return the type of the decision and its reason."""
    gate = Gate(ScriptedVerifier(), {policy.name: policy}, HeaderMapper("remote", 1000), 4096)
    decision = gate.try_decide(authorization, policy.name, request)
    assert isinstance(decision, Allow | Deny)
    return type(decision), decision.reason


@pytest.mark.parametrize("path", ["/things", "/guarded/x", "/elsewhere"])
def test_a_preflight_is_allowed_for_every_path(path: str) -> None:
    """This also holds if a rule decides about other methods there."""
    policy = Policy("api", rules=(GUARDED,), preflights=True)
    assert reasons(policy, replace(PREFLIGHT, path=path)) == (Allow, Reason.ANONYMOUS)


def test_a_preflight_is_not_allowed_by_default() -> None:
    """It needs a token like any other request."""
    assert reasons(Policy("api"), PREFLIGHT) == (Deny, Reason.NO_CREDENTIAL)


def test_another_request_needs_a_token() -> None:
    """OPTIONS without the preflight headers is not a preflight."""
    policy = Policy("api", preflights=True)
    assert reasons(policy, replace(PREFLIGHT, preflight=False)) == (Deny, Reason.NO_CREDENTIAL)


def test_a_credential_of_a_preflight_is_verified() -> None:
    """Browsers send none. A request with an invalid token is never anonymous."""
    policy = Policy("api", preflights=True)
    assert reasons(policy, PREFLIGHT, b"Basic eDp5") == (Deny, Reason.SCHEME_NOT_BEARER)


@pytest.mark.parametrize("path", [None, "/guarded/../x", "/a%2fb"], ids=str)
def test_a_preflight_with_an_unusable_path_is_denied(path: str | None) -> None:
    """A path that rules reject is not open for preflights, either."""
    policy = Policy("api", rules=(GUARDED,), preflights=True)
    assert reasons(policy, replace(PREFLIGHT, path=path)) == (Deny, Reason.NO_CREDENTIAL)


def test_a_policy_that_allows_preflights_reads_the_request() -> None:
    """So the server parses it."""
    assert Policy("api", preflights=True).reads_request


def test_a_shadow_reports_preflights() -> None:
    """An operator sees which preflights a change would allow."""
    reported: list[Difference] = []
    policy = Policy("api", shadow=Policy("api", preflights=True))
    gate = Gate(ScriptedVerifier(), {"api": policy}, HeaderMapper("remote", 1000), 4096)
    assert isinstance(gate.try_decide((), "api", PREFLIGHT, on_difference=reported.append), Deny)
    assert reported == [Difference("api", Reason.NO_CREDENTIAL, Reason.ANONYMOUS)]
