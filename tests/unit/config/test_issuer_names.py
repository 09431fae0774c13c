"""Issuers that are only a name, because their keys are not found through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load, Problems

KEYS = "jwksURL: 'https://keys.example/jwks'"


def entry(name: str, gate: str = KEYS) -> str:
    """An entry of `jwt`."""
    return (
        f"{{issuer: {{url: '{name}', audiences: [a]}}, "
        f"claimMappings: {{username: {{claim: sub, prefix: 'c:'}}}}, gate: {{{gate}}}}}"
    )


@pytest.mark.parametrize(
    ("issuer", "label"),
    [
        ("http://adfs.example.com/adfs/services/trust", "adfs.example.com"),
        ("accounts.example.com", "accounts.example.com"),
        ("robot@project.iam.example.com", "robot-project.iam.example.com"),
        ("urn:example:idp", "urn-example-idp"),
        ("Straße 1", "Stra-e-1"),
        ("https://a.example?x=y#z", "a.example"),
    ],
)
def test_an_issuer_with_keys_can_be_any_text(load_text: Load, issuer: str, label: str) -> None:
    """Nothing is fetched from it. Its label is the host, or the name with dashes."""
    (item,) = load_text(f"jwt: [{entry(issuer)}]").config.jwt
    assert (item.issuer.url, item.name) == (issuer, label)


def test_two_names_have_two_labels(load_text: Load) -> None:
    """The names are a name and a URL, or two URLs on one host."""
    issuers = ("urn:a:b", "urn:a:c", "http://adfs.example/a", "http://adfs.example/b")
    config = load_text(f"jwt: [{','.join(map(entry, issuers))}]").config
    labels = [item.name for item in config.jwt]
    assert labels == ["urn-a-b", "urn-a-c", "adfs.example-a", "adfs.example-b"]


def test_a_name_that_cannot_be_a_label_needs_one(problems: Problems) -> None:
    """A label has at most 63 characters."""
    assert "is required" in problems(f"jwt: [{entry('urn:' + 'x' * 70)}]")["jwt[0].gate.name"].message


def test_an_error_elsewhere_in_the_entry_is_the_only_one(problems: Problems) -> None:
    """Whether the issuer is fetched is known even if the rest of `gate` is wrong."""
    found = problems(f"jwt: [{entry('urn:a', KEYS + ', leeway: x')}]")
    assert list(found) == ["jwt[0].gate.leeway"]


UNSAFE = "unsafeAllowHTTP: true"


@pytest.mark.parametrize(
    "text",
    [
        entry("http://keycloak.auth.svc:8080/realms/a", UNSAFE),
        entry("urn:a", f"{UNSAFE}, jwksURL: 'http://keys.example/jwks?k=1'"),
        entry("https://a.example", UNSAFE).replace(
            "audiences", "discoveryURL: 'http://b.example/x', audiences"
        ),
    ],
    ids=["issuer", "jwks", "discovery"],
)
def test_plain_http_can_be_allowed_and_is_a_warning(load_text: Load, text: str) -> None:
    """There is a warning for each URL that is fetched."""
    (warning,) = load_text(f"jwt: [{text}]").warnings
    assert warning.path == "jwt[0].gate.unsafeAllowHTTP"
    assert "anyone on the network" in warning.message
