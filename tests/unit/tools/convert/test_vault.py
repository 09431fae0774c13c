"""A role of Vault's JWT auth method becomes an issuer and a policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from authgate.config import load
from authgate.tools.convert import ConversionError, Converted, from_vault_role
from authgate.tools.yaml_text import yaml_text

ROLE = {
    "role_type": "jwt",
    "bound_audiences": ["vault"],
    "bound_subject": "system:serviceaccount:default:default",
    "user_claim": "sub",
}
CONFIG = {"oidc_discovery_url": "https://kubernetes.default.svc.cluster.local"}


def converted(role: dict[str, Any], config: dict[str, Any] | None = None) -> Converted:
    """Return the conversion of Vault's output for these fields."""
    method = CONFIG if config is None else config
    return from_vault_role(json.dumps({"data": {**ROLE, **role}}), json.dumps({"data": method}), "vault")


def issuer_of(document: Converted) -> Any:
    """Return the only issuer."""
    issuers: Any = document.document["jwt"]
    assert len(issuers) == 1
    return issuers[0]


def role_of(document: Converted) -> Any:
    """Return the policy's role."""
    policies: Any = document.document["policies"]
    return policies["vault"]["role"]


def test_the_documented_role_is_converted(tmp_path: Path) -> None:
    """Discovery, one audience and one subject become a configuration that loads, and nothing is lost."""
    result = converted({})
    file = tmp_path / "authgate.yaml"
    file.write_text(yaml_text(result.document))
    assert load(file, {}).config.policies["vault"].role is not None
    assert result.notes == ()
    assert role_of(result) == {
        "boundAudiences": ["vault"],
        "boundSubject": "system:serviceaccount:default:default",
    }
    assert issuer_of(result)["issuer"] == {
        "url": "https://kubernetes.default.svc.cluster.local",
        "audiences": ["vault"],
    }


@pytest.mark.parametrize(
    ("skew", "leeway"),
    [(0, "60s"), (None, "60s"), (-1, "0s"), (30, "30s"), ("45s", "45s")],
    ids=["usual", "none given", "none wanted", "a number", "a duration"],
)
def test_the_clock_skew_becomes_leeways(skew: Any, leeway: str) -> None:
    """For Vault 0 means 60 s and a negative value no leeway. The issuer allows it before and after the times."""
    gate = issuer_of(converted({"clock_skew_leeway": skew}))["gate"]
    assert (gate["leeway"], gate["expiryLeeway"]) == (leeway, leeway)


def test_bound_claims_are_kept() -> None:
    """Names, pointers, values, lists and the type are unchanged."""
    bound = {"color": "red", "/realm/roles": ["a", "b"], "paid": True}
    role = role_of(converted({"bound_claims": bound, "bound_claims_type": "glob"}))
    assert (role["boundClaims"], role["boundClaimsType"]) == (bound, "glob")


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [("glob", r"CORP\*", r"CORP\\*"), ("glob", r"CORP\a*", r"CORP\a*"), ("string", r"CORP\*", r"CORP\*")],
)
def test_a_backslash_in_a_vault_glob_is_escaped(kind: str, value: str, kept: str) -> None:
    """Vault's globs have no escapes, but globs of authgate's roles do."""
    role = role_of(converted({"bound_claims": {"sub": value, "other": (value,)}, "bound_claims_type": kind}))
    assert role["boundClaims"] == {"sub": kept, "other": [kept]}


@pytest.mark.parametrize(
    ("fields", "claim"),
    [
        ({"user_claim": "email"}, "email"),
        ({"user_claim": "/email"}, "/~1email"),
        ({"user_claim": "/a/b", "user_claim_json_pointer": True}, "/a/b"),
    ],
    ids=["a name", "a name that looks like a pointer", "a pointer"],
)
def test_the_user_claim_is_a_name_or_a_pointer(fields: dict[str, Any], claim: str) -> None:
    """A user claim is a name unless Vault's setting makes it a pointer."""
    assert role_of(converted(fields))["userClaim"] == claim


def test_metadata_become_headers() -> None:
    """A claim mapping names a header in place of the metadata, and a note says which."""
    result = converted({"claim_mappings": {"/kubernetes.io/pod/name": "pod_name"}})
    assert role_of(result)["claimMappings"] == {"/kubernetes.io/pod/name": "X-Claim-Pod-Name"}
    assert "X-Claim-Pod-Name" in result.notes[0].message


CONFIGS = {
    "another issuer": (
        {**CONFIG, "bound_issuer": "https://a.example"},
        "discoveryURL",
        "https://kubernetes.default.svc.cluster.local/.well-known/openid-configuration",
    ),
    "an authority": ({**CONFIG, "oidc_discovery_ca_pem": "PEM"}, "certificateAuthority", "PEM"),
}


@pytest.mark.parametrize(("config", "field", "value"), CONFIGS.values(), ids=CONFIGS)
def test_the_settings_of_the_method_become_the_issuer(config: dict[str, Any], field: str, value: str) -> None:
    """The auth method's settings for the issuer are in the issuer."""
    assert issuer_of(converted({}, config))["issuer"][field] == value


GATES = {
    "a JWKS": ({"bound_issuer": "https://a.example", "jwks_url": "https://k"}, "jwksURL", "https://k"),
    "keys": (
        {"bound_issuer": "https://a.example", "jwt_validation_pubkeys": ["A", "B\n"]},
        "staticKeys",
        {"inline": "A\nB\n"},
    ),
    "algorithms": ({**CONFIG, "jwt_supported_algs": ["ES256"]}, "algorithms", ["ES256"]),
}


@pytest.mark.parametrize(("config", "field", "value"), GATES.values(), ids=GATES)
def test_the_keys_of_the_method_are_kept(config: dict[str, Any], field: str, value: object) -> None:
    """Key URLs, keys as text and algorithms are under the issuer's gate."""
    assert issuer_of(converted({}, config))["gate"][field] == value


LOST = {
    "token_policies": ["default"],
    "token_ttl": 3600,
    "token_num_uses": 1,
    "token_bound_cidrs": ["10.0.0.0/8"],
    "expiration_leeway": 150,
    "not_before_leeway": 150,
    "allowed_redirect_uris": ["https://x"],
    "verbose_oidc_logging": True,
    "brand_new": 1,
}


@pytest.mark.parametrize(("name", "value"), LOST.items(), ids=LOST)
def test_nothing_is_dropped_silently(name: str, value: object) -> None:
    """Every option without a counterpart is noted with its path."""
    (note,) = converted({name: value}).notes
    assert note.path == f"data.{name}"
    assert note.message.startswith("is omitted: ")


def test_empty_options_are_not_noted() -> None:
    """An empty option has no effect, so nothing is lost."""
    assert converted(dict.fromkeys(LOST, None)).notes == ()


def test_a_missing_audience_is_noted() -> None:
    """authgate accepts tokens only for configured audiences."""
    assert [note.path for note in converted({"bound_audiences": []}).notes] == ["data.bound_audiences"]


@pytest.mark.parametrize(
    ("role", "config", "words"),
    [
        ({"role_type": "oidc"}, CONFIG, "jwt"),
        ({}, {}, "configured issuers"),
    ],
    ids=["a role for browsers", "no issuer"],
)
def test_a_role_that_cannot_be_converted_is_rejected(
    role: dict[str, Any], config: dict[str, Any], words: str
) -> None:
    """A role of another type, or without an issuer, is rejected with a message."""
    with pytest.raises(ConversionError, match=words):
        converted(role, config)


def test_a_file_that_is_not_from_vault_is_rejected() -> None:
    """Only answers of Vault are converted."""
    with pytest.raises(ConversionError, match="vault read"):
        from_vault_role('{"data": []}', "{}", "vault")
