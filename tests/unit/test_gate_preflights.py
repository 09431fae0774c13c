"""`corsPreflight`: what passes without a token because a browser asks by it, and what does not."""

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
    """The kind of decision, and its reason."""
    gate = Gate(ScriptedVerifier(), {policy.name: policy}, HeaderMapper("remote", 1000), 4096)
    decision = gate.try_decide(authorization, policy.name, request)
    assert isinstance(decision, Allow | Deny)
    return type(decision), decision.reason


@pytest.mark.parametrize("path", ["/things", "/guarded/x", "/elsewhere"])
def test_a_preflight_passes_whatever_its_path(path: str) -> None:
    """Also where a rule decides about other methods there."""
    policy = Policy("api", rules=(GUARDED,), preflights=True)
    assert reasons(policy, replace(PREFLIGHT, path=path)) == (Allow, Reason.ANONYMOUS)


def test_a_preflight_is_judged_by_default() -> None:
    """Nothing is open that nobody opened."""
    assert reasons(Policy("api"), PREFLIGHT) == (Deny, Reason.NO_CREDENTIAL)


def test_another_request_is_judged() -> None:
    """OPTIONS alone is no preflight."""
    policy = Policy("api", preflights=True)
    assert reasons(policy, replace(PREFLIGHT, preflight=False)) == (Deny, Reason.NO_CREDENTIAL)


def test_a_preflight_with_a_credential_is_judged_by_it() -> None:
    """No browser sends one; a bad token never becomes anonymous."""
    policy = Policy("api", preflights=True)
    assert reasons(policy, PREFLIGHT, b"Basic eDp5") == (Deny, Reason.SCHEME_NOT_BEARER)


@pytest.mark.parametrize("path", [None, "/guarded/../x", "/a%2fb"], ids=str)
def test_a_preflight_that_rules_cannot_place_is_judged(path: str | None) -> None:
    """What the rules refuse to look at is not let pass by them either."""
    policy = Policy("api", rules=(GUARDED,), preflights=True)
    assert reasons(policy, replace(PREFLIGHT, path=path)) == (Deny, Reason.NO_CREDENTIAL)


def test_a_policy_that_lets_preflights_pass_looks_at_the_request() -> None:
    """So that the server reads it."""
    assert Policy("api", preflights=True).reads_request


def test_a_shadow_tells_of_preflights() -> None:
    """Before they are opened, one can see which those are."""
    told: list[Difference] = []
    policy = Policy("api", shadow=Policy("api", preflights=True))
    gate = Gate(
        ScriptedVerifier(),
        {"api": policy},
        HeaderMapper("remote", 1000),
        4096,
        on_difference=told.append,
    )
    assert isinstance(gate.try_decide((), "api", PREFLIGHT), Deny)
    assert told == [Difference("api", Reason.NO_CREDENTIAL, Reason.ANONYMOUS)]
