from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

CONFIG = """
jwt:
- issuer: {url: https://issuer.test, audiences: [app]}
  claimMappings: {username: {claim: sub, prefix: "a:"}}
  gate:
    staticKeys:
      inline: {keys: [{kty: OKP, crv: Ed25519, kid: a, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}
server: {proxy: nginx}
policies: {default: {anonymous: [/healthz]}}
"""


@pytest.mark.parametrize(
    ("words", "status", "reason", "steps"),
    [
        ((), 3, "no_credential", {"fail", "not reached"}),
        (("--path", "/healthz"), 0, "anonymous", {"skipped", "pass"}),
        (("--path", "/other"), 3, "no_credential", {"fail", "not reached"}),
    ],
    ids=["request", "anonymous", "protected"],
)
def test_a_request_without_a_token_is_explained(
    run: Run, words: tuple[str, ...], status: int, reason: str, steps: set[str]
) -> None:
    """A policy may allow some paths without a token."""
    result = run("explain", "--no-token", "--config", "-", "--output", "json", *words, stdin=CONFIG)
    explained = json.loads(result.stdout)
    assert (result.exit_code, explained["reason"]) == (status, reason)
    assert {step["outcome"] for step in explained["steps"]} == steps


def test_a_token_with_no_token_is_wrong_usage(run: Run) -> None:
    """Only one of the options may be given."""
    assert run("explain", "--no-token", "token", "--config", "-", stdin=CONFIG).exit_code == 2


def test_standard_input_is_read_once(run: Run) -> None:
    """It cannot have both the token and the configuration."""
    result = run("explain", "--config", "-", stdin=CONFIG)
    assert (result.exit_code, "cannot both be standard input" in result.stderr) == (2, True)
