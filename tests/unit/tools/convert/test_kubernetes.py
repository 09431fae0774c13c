"""kube-apiserver's AuthenticationConfiguration, to authgate's configuration and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from authgate.config import load
from authgate.tools.convert import (
    ConversionError,
    Converted,
    from_authentication_configuration,
    to_authentication_configuration,
)
from authgate.tools.yaml_text import yaml_text

DOCUMENTED = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
jwt:
- issuer:
    url: https://example.com
    discoveryURL: https://discovery.example.com/.well-known/openid-configuration
    audiences:
    - my-app
    - my-other-app
    audienceMatchPolicy: MatchAny
    egressSelectorType: cluster
  claimValidationRules:
  - claim: hd
    requiredValue: example.com
  - expression: 'claims.hd == "example.com"'
    message: the hd claim must be example.com
  - expression: 'claims.exp - claims.nbf <= 86400'
    message: a token may live for a day
  claimMappings:
    username:
      expression: 'claims.username + ":external-user"'
    groups:
      expression: 'claims.roles.split(",")'
    uid:
      expression: claims.sub
    extra:
    - key: example.com/tenant
      valueExpression: claims.tenant
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
    message: names that begin with system are the cluster's own
  - expression: "user.groups.all(group, !group.startsWith('system:'))"
    message: groups that begin with system are the cluster's own
"""
"""Every field that Kubernetes documents (kubernetes.io, "Using Authentication Configuration")."""

AUTHGATE = """
jwt:
- issuer: {url: "http://127.0.0.1:8000", audiences: [app]}
  claimMappings:
    username: {claim: sub, prefix: ""}
  gate:
    name: local
    leeway: 30s
    jwksURL: https://example.com/keys
    maxTokenLifetime: null
policies:
  default: {allow: [{groups: [users]}]}
headers: null
"""


FIELDS = ("issuer", "url", "claimMappings", "username", "extra", "claimValidationRules", "prefix", "gate")


def _issuers(*urls: str, **changes: Any) -> str:
    entries = [
        {
            "issuer": {"url": url, "audiences": ["a"], **changes},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }
        for url in urls
    ]
    head = {"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "AuthenticationConfiguration"}
    return yaml_text({**head, "jwt": entries})


def _paths(converted: Converted) -> list[str]:
    return [problem.path for problem in converted.notes]


def _jwt(converted: Converted) -> Any:
    """Return the issuers in the result."""
    return yaml.safe_load(yaml_text(converted.document))["jwt"]


def test_every_field_of_both_formats_is_copied() -> None:
    """The documented example is unchanged, except for the listed fields. The issuer's algorithms are the server's."""
    original = yaml.safe_load(DOCUMENTED)["jwt"][0]
    [entry] = _jwt(from_authentication_configuration(DOCUMENTED))
    del original["issuer"]["egressSelectorType"]
    algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
    assert entry == {**original, "gate": {"algorithms": algorithms}}


def test_the_result_is_a_configuration(tmp_path: Path) -> None:
    """The gate loads the result of the documented example."""
    file = tmp_path / "authgate.yaml"
    file.write_text(yaml_text(from_authentication_configuration(DOCUMENTED).document))
    [issuer] = load(file, {}).config.jwt
    assert issuer.issuer.audiences == ("my-app", "my-other-app")
    assert issuer.name == "example.com"


def test_fields_without_counterpart_are_noted_with_their_line() -> None:
    """No field is dropped silently."""
    notes = from_authentication_configuration(DOCUMENTED).notes
    assert [(note.path, note.line) for note in notes] == [
        ("anonymous", 4),
        ("jwt[0].issuer.egressSelectorType", 16),
    ]


def test_unknown_fields_are_noted_at_every_level() -> None:
    """Newer servers may have further fields."""
    text = DOCUMENTED.replace("    uid:\n", "    color: {claim: c}\n    uid:\n") + "future: 1\n"
    assert {"future", "jwt[0].claimMappings.color"} <= set(_paths(from_authentication_configuration(text)))


def test_empty_values_are_not_set() -> None:
    """The server reads "" and null as not given, except for fields where "" is a value."""
    text = _issuers("https://example.com", discoveryURL="", certificateAuthority=None, egressSelectorType="")
    converted = from_authentication_configuration(text)
    assert _jwt(converted)[0]["issuer"] == {"url": "https://example.com", "audiences": ["a"]}
    assert _jwt(converted)[0]["claimMappings"] == {"username": {"claim": "sub", "prefix": ""}}
    assert converted.notes == ()


@pytest.mark.parametrize("nothing", ["", "jwt: null", "jwt: []"])
def test_an_empty_list_has_no_issuers(nothing: str) -> None:
    """The server can start without any issuer."""
    text = f"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{nothing}\n"
    assert _jwt(from_authentication_configuration(text)) == []


def test_issuers_of_one_host_get_names(tmp_path: Path) -> None:
    """The default name is the host, which must be unique; other names are noted, because metrics show them."""
    tenants = [f"https://login.example.com/{tenant}" for tenant in ("a/v2.0", "b/v2.0", "b-v2.0")]
    converted = from_authentication_configuration(_issuers(*tenants, "https://other.example.com"))
    file = tmp_path / "authgate.yaml"
    file.write_text(yaml_text(converted.document))
    assert [issuer.name for issuer in load(file, {}).config.jwt] == [
        "login.example.com-a-v2.0",
        "login.example.com-b-v2.0",
        "login.example.com-b-v2.0-2",
        "other.example.com",
    ]
    assert _paths(converted) == [f"jwt[{place}].gate.name" for place in range(3)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("kind: AuthenticationConfiguration\n", id="no version"),
        pytest.param("apiVersion: apiserver.config.k8s.io/v2\nkind: AuthenticationConfiguration\n", id="v2"),
        pytest.param("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n", id="kind"),
    ],
)
def test_another_document_is_refused(text: str) -> None:
    """The message names the expected and the actual kind."""
    with pytest.raises(
        ConversionError, match=r"kind: must be AuthenticationConfiguration of apiserver.+; got"
    ):
        from_authentication_configuration(text)


@pytest.mark.parametrize(
    "text",
    ["- a", "a: [", "a: 1\na: 2", "a: &b [*b]", "text"],
    ids=["list", "syntax", "twice", "anchor", "text"],
)
def test_a_document_that_is_not_a_mapping_is_rejected(text: str) -> None:
    """This holds in both directions."""
    with pytest.raises(ConversionError):
        from_authentication_configuration(text)
    with pytest.raises(ConversionError):
        to_authentication_configuration(text)


def test_fields_of_a_wrong_type_are_left_to_the_check() -> None:
    """They are kept, and cause no error here."""
    text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [text, {issuer: 1}]\n"
    assert _jwt(from_authentication_configuration(text))[0] == "text"


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
)


@given(jwt=_ANY)
def test_any_value_is_converted_or_rejected(jwt: object) -> None:
    """A later check of the result finds further problems."""
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    try:
        converted = from_authentication_configuration(yaml_text({**head, "jwt": jwt}))
    except ConversionError as error:
        assert [problem.path for problem in error.problems] == ["jwt"]  # noqa: PT017 - both ends are right
    else:
        yaml_text(converted.document)


def test_the_issuers_are_exported() -> None:
    """Settings that only authgate has are left out."""
    document = to_authentication_configuration(AUTHGATE).document
    assert document == {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {"url": "http://127.0.0.1:8000", "audiences": ("app",)},
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            }
        ],
    }


def test_omissions_of_an_export_are_noted() -> None:
    """Values that the server would reject are noted, too. null has no note."""
    notes = to_authentication_configuration(AUTHGATE).notes
    assert [(note.path, note.line) for note in notes] == [
        ("policies", 11),
        ("jwt[0].gate.name", 7),
        ("jwt[0].gate.leeway", 8),
        ("jwt[0].gate.jwksURL", 9),
        ("jwt[0].issuer.url", 3),
    ]


def test_an_import_and_an_export_restore_the_issuers() -> None:
    """The export of an import has the same issuers."""
    imported = yaml_text(from_authentication_configuration(DOCUMENTED).document)
    original = yaml.safe_load(DOCUMENTED)["jwt"]
    del original[0]["issuer"]["egressSelectorType"]
    assert _jwt(to_authentication_configuration(imported)) == original


POINTERS = """
jwt:
- issuer: {url: "https://example.com", audiences: [app]}
  claimMappings:
    username: {claim: /profile/name, prefix: "x:"}
    groups: {claim: /~1roles, prefix: ""}
    uid: {claim: sub}
  claimValidationRules: [{claim: /org/id, requiredValue: a}]
"""


def test_a_json_pointer_has_no_counterpart() -> None:
    """It is omitted with a note. A pointer to a top-level member of the token becomes that member's name."""
    made = to_authentication_configuration(POINTERS)

    issuers: Any = made.document["jwt"]
    (entry,) = issuers
    assert entry["claimMappings"] == {
        "username": {"prefix": "x:"},
        "groups": {"claim": "/roles", "prefix": ""},
        "uid": {"claim": "sub"},
    }
    assert list(entry["claimValidationRules"]) == [{"requiredValue": "a"}]
    assert [(note.path, "no JSON pointers" in note.message) for note in made.notes] == [
        ("jwt[0].claimMappings.username.claim", True),
        ("jwt[0].claimValidationRules[0].claim", True),
    ]


def test_a_name_with_a_slash_stays_a_name() -> None:
    """A claim name of kube-apiserver does not become a pointer."""
    text = _issuers("https://example.com").replace("sub", "/a/b")

    made = from_authentication_configuration(text)

    issuers: Any = made.document["jwt"]
    assert issuers[0]["claimMappings"]["username"]["claim"] == "/~1a~1b"
