"""Conditions on the host are refused if the client can choose the host that the proxy reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load, Problems

RULE = "rules: [{%s}]"
CONDITIONS = {
    "rule": (RULE % "hosts: [a.example.com], anonymous: true", "rules[0].hosts"),
    "shadow": (
        "shadow: {" + RULE % "hosts: ['*.example.com'], anonymous: true" + "}",
        "shadow.rules[0].hosts",
    ),
    "expression": ("allow: [{expression: 'request.host == \"a\"'}]", "allow[0].expression"),
    "denied expression": ("deny: [{expression: 'request . host == \"a\"'}]", "deny[0].expression"),
    "rule's expression": (RULE % "expression: 'request.host.size() > 3'", "rules[0].expression"),
    "rule's entry": (RULE % "allow: [{expression: 'request.host != \"a\"'}]", "rules[0].allow[0].expression"),
}
OTHERS = {
    "paths": RULE % "paths: [/a], anonymous: true",
    "another field": "allow: [{expression: 'request.path == \"/a\"'}]",
    "a text": "allow: [{expression: 'user.username == \"request.host\"'}]",
}


def document(policy: str, proxy: str) -> str:
    """A configuration with this policy behind a proxy."""
    head = f"cluster: {{audiences: [app]}}\nserver: {{proxy: {proxy}}}\n"
    return f"{head}policies: {{default: {{{policy}}}}}\n"


@pytest.mark.parametrize(("policy", "place"), CONDITIONS.values(), ids=list(CONDITIONS))
def test_a_condition_on_the_host_is_refused(problems: Problems, policy: str, place: str) -> None:
    """The proxy is ingress-nginx. The message names the alternative."""
    found = problems(document(policy, "ingress-nginx"))
    assert list(found) == [f"policies.default.{place}"]
    assert "one policy for each Ingress" in found[f"policies.default.{place}"].message


@pytest.mark.parametrize("proxy", ["nginx", "envoy", "traefik", "caddy", "haproxy"])
@pytest.mark.parametrize("policy", [policy for policy, _ in CONDITIONS.values()], ids=list(CONDITIONS))
def test_other_proxies_report_the_host(load_text: Load, policy: str, proxy: str) -> None:
    """Their host is the one that the app gets."""
    load_text(document(policy, proxy))


@pytest.mark.parametrize("policy", OTHERS.values(), ids=list(OTHERS))
def test_other_conditions_are_accepted_behind_ingress_nginx(load_text: Load, policy: str) -> None:
    """nginx itself sets method and path."""
    load_text(document(policy, "ingress-nginx"))
