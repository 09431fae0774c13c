"""Inputs of conversions are bounded and read strictly, and secrets of an input are never in the result."""

from __future__ import annotations

import pytest

from authgate.tools.convert import FROM, ConversionError, Options, converted_text

OPTIONS = Options(policy="default", proxy="nginx", audiences=("app",))
ALL = pytest.mark.parametrize("peer", FROM)
BAD = {
    "empty": "",
    "null": "null",
    "a text": "text",
    "a list of texts": "[a, b]",
    "not YAML": "a: [",
    "a repeated key": "a: 1\na: 2",
    "a tag": "a: !!python/object:os.system x",
    "an alias bomb": "a: &a [x, x]\n"
    + "".join(
        f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}]\n" for p, n in zip("abcdefghijk", "bcdefghijkl", strict=True)
    ),
    "deep": "a: " + "[" * 2000 + "]" * 2000,
    "deep TOML": "a = " + "[" * 5000 + "]" * 5000,
    "a long number": f"a = {'9' * 5000}",
    "many documents": "--- {}\n" * 10,
    "objects without a name": "kind: Deployment\n---\nkind: AuthConfig\n---\nkind: Rule",
    "wrong types": "kind: [Deployment]\nmetadata: 3\nspec: {template: []}",
}


@ALL
@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_an_input_of_another_kind_is_rejected(peer: str, text: str) -> None:
    """Each has a message, and no other exception."""
    with pytest.raises(ConversionError) as error:
        FROM[peer](text, OPTIONS)
    assert error.value.problems


SECRET = "s3cr3t-value"
WITH_SECRETS = {
    "oauth2-proxy": f"""
provider = "oidc"
oidc_issuer_url = "https://login.example.com"
client_id = "app"
client_secret = "{SECRET}"
cookie_secret = "{SECRET}"
redis_password = "{SECRET}"
email_domains = ["*"]
unknown_key = "{SECRET}"
""",
    "oathkeeper": f"""
authenticators:
  oauth2_introspection:
    enabled: true
    config:
      introspection_url: https://hydra.example.com/introspect
      target_audience: [app]
      pre_authorization: {{enabled: true, client_id: gate, client_secret: {SECRET}}}
      introspection_request_headers: {{Authorization: Basic {SECRET}}}
mutators: {{hydrator: {{enabled: true, config: {{api: {{auth: {{basic: {{password: {SECRET}}}}}}}}}}}}}
---
- match: {{url: "https://app.example.com/", methods: [GET]}}
  authenticators: [{{handler: oauth2_introspection}}]
  authorizer: {{handler: allow}}
  mutators: [{{handler: hydrator}}]
""",
    "kube-rbac-proxy": f"""
kind: Pod
metadata: {{name: app}}
spec:
  containers:
  - name: kube-rbac-proxy
    env: [{{name: TOKEN, value: {SECRET}}}]
    args: [--unknown={SECRET}]
""",
}


@pytest.mark.parametrize(("peer", "text"), WITH_SECRETS.items(), ids=WITH_SECRETS)
def test_secrets_are_not_copied(peer: str, text: str) -> None:
    """Notes have names of settings, and none of their values."""
    assert SECRET not in converted_text(FROM[peer](text, OPTIONS), peer)


def test_a_note_is_on_lines_of_comments() -> None:
    """A name with line breaks cannot add a setting to the result."""
    text = 'provider = "oidc"\noidc_issuer_url = "https://login.example.com"\n"x\\npolicies: {}" = 1\n'
    result = converted_text(FROM["oauth2-proxy"](text, OPTIONS), "oauth2-proxy")
    assert "\npolicies: {}" not in result
    assert "is not a known field of oauth2-proxy" in result


def test_named_patterns_are_expanded_a_limited_number_of_times() -> None:
    """Patterns that refer to themselves, or to each other twice, take little time and deny."""
    doubled = "\n".join(f"    p{n}: [{{patternRef: p{n + 1}}}, {{patternRef: p{n + 1}}}]" for n in range(64))
    text = f"""
kind: AuthConfig
metadata: {{name: app}}
spec:
  hosts: [app.example.com]
  patterns:
{doubled}
    p64: [{{selector: request.path, operator: eq, value: /}}]
    own: [{{patternRef: own}}]
  authentication: {{login: {{jwt: {{issuerUrl: "https://login.example.com"}}}}}}
  authorization:
    doubled: {{patternMatching: {{patterns: [{{patternRef: p0}}]}}}}
    own: {{patternMatching: {{patterns: [{{patternRef: own}}]}}}}
"""
    document = FROM["authorino"](text, OPTIONS).document
    assert document["policies"] == {"default": {"deny": [{"users": ["*"]}]}}
