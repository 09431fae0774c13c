"""One cluster or a list of clusters: the accepted forms, and the lists that are rejected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from authgate.config import effective
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load, Problems

TWO = "cluster: [{audiences: [a]}, {name: away, audiences: [b], kubeconfig: /dev/null}]\n"
JWT = (
    "jwt: [{issuer: {url: 'https://idp.example', audiences: [a]}, "
    "claimMappings: {username: {claim: sub, prefix: ''}}}]\n"
)


def test_one_cluster_is_a_mapping(load_text: Load) -> None:
    """Paths of its fields have no index."""
    loaded = load_text("cluster: {audiences: [a]}")
    assert [cluster.name for cluster in loaded.config.clusters] == ["home"]
    assert (("cluster", "audiences"), ["a"]) in [(path, value) for path, value, _ in effective(loaded)]


def test_several_clusters_are_a_list(load_text: Load) -> None:
    """They are in the order of the file, each with its own values and their sources."""
    loaded = load_text(TWO)
    assert [(cluster.name, cluster.audiences) for cluster in loaded.config.clusters] == [
        ("home", ("a",)),
        ("away", ("b",)),
    ]
    assert loaded.sources["cluster[1].audiences"].startswith("file ")
    assert loaded.sources["cluster[1].revocation"] == "default"


def test_clusters_are_optional(load_text: Load) -> None:
    """Issuers under `jwt` are enough."""
    assert load_text(JWT).config.clusters == ()


def test_a_variable_may_hold_the_whole_list(load_text: Load) -> None:
    """It is YAML or JSON text, as for every list of mappings."""
    loaded = load_text("", {"AUTHGATE_CLUSTER": "[{audiences: [a]}, {name: b, audiences: [b], context: c}]"})
    assert [cluster.name for cluster in loaded.config.clusters] == ["home", "b"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHGATE_CLUSTER__AUDIENCES", "x"),
        ("AUTHGATE_CLUSTER__TOKENREVIEW__MODE", "never"),
        ("AUTHGATE_CLUSTER__KUBECONFIG", "/dev/null"),
    ],
)
def test_a_variable_cannot_set_one_field_of_several_clusters(
    problems: Problems, name: str, value: str
) -> None:
    """It does not name a cluster, and must not be ignored."""
    problem = problems(TWO, {name: value})[name]
    assert "cluster is a list: set the field in the list, or set the whole list" in problem.message


SEVENTEEN = "cluster: [" + ", ".join(
    f"{{name: c{number}, context: c{number}, audiences: [a]}}" for number in range(17)
)
LEGACY = "tokenReview: {legacyAudiences: [api]}"
REFUSED = {
    "empty": ("cluster: []\njwt: []", "cluster", "must not be empty"),
    "too many": (f"{SEVENTEEN}]", "cluster", "must not have more than 16 entries"),
    "text": ("cluster: [home]", "cluster[0]", "must be a mapping"),
    "unknown field": ("cluster: [{audiences: [a], nam: b}]", "cluster[0].nam", "is not a known field"),
    "no audiences": (
        "cluster: [{audiences: [a]}, {name: b}]",
        "cluster[1].audiences",
        "is required: the audiences that tokens must be issued for",
    ),
    "same name": (
        "cluster: [{audiences: [a]}, {audiences: [a], context: b}]",
        "cluster[1].name",
        r"must be unique: cluster[0] has the same name (the default, as none is given)",
    ),
    "same issuer": (
        "cluster: [{audiences: [a], issuers: [x]}, {name: b, audiences: [a], context: b, issuers: [y, x]}]",
        "cluster[1].issuers[1]",
        "is given twice: it is also the issuer of cluster[0] (cluster[0].issuers)",
    ),
    "same API server": (
        "cluster: [{audiences: [a]}, {name: b, audiences: [a]}]",
        "cluster[1].kubeconfig",
        "is the API server of cluster[0]",
    ),
    "two with legacy tokens": (
        f"cluster: [{{audiences: [a], {LEGACY}}}, {{name: b, audiences: [a], context: b, {LEGACY}}}]",
        "cluster[1].tokenReview.legacyAudiences",
        "would be sent to both",
    ),
    "an issuer's name": (
        f"cluster: [{{audiences: [a]}}, {{name: idp.example, audiences: [a], context: b}}]\n{JWT}",
        "jwt[0].gate.name",
        "must be unique: cluster[1] has the same name (the issuer's host and path, as none is given)",
    ),
    "a file that is not there": (
        "cluster: [{audiences: [a], kubeconfig: /nowhere/at-all}]",
        "cluster[0].kubeconfig",
        "cannot be read",
    ),
    "an unknown cluster to review access": (
        f"{TWO}policies: {{default: {{accessReview: {{cluster: awy, resource: {{verb: get, resource: pods}}}}}}}}",
        "policies.default.accessReview.cluster",
        "is not the name of a cluster",
    ),
}


@pytest.mark.parametrize(("text", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_a_list_that_cannot_work_is_refused(problems: Problems, text: str, path: str, words: str) -> None:
    """The problem is at the invalid entry, or at the second one of two that conflict."""
    assert words in problems(text)[path].message


def test_names_and_audiences_of_every_cluster_are_known_to_policies(load_text: Load) -> None:
    """Policies can name each of them without a warning."""
    text = f"{TWO}policies: {{default: {{audiences: [b], allow: [{{issuers: [away]}}]}}}}"
    assert load_text(text).warnings == ()


def keys() -> str:
    """A key set as a mapping of the file."""
    return json.dumps({"keys": [SigningKey.generate("ES256").jwk()]})


def test_a_cluster_can_have_static_keys(load_text: Load) -> None:
    """It needs its issuer, and does not use TokenReview."""
    text = f"cluster: {{audiences: [a], issuers: [x], tokenReview: {{mode: never}}, staticKeys: {{inline: {keys()}}}}}"
    [cluster] = load_text(text).config.clusters
    assert cluster.static_keys is not None


STATIC = {
    "reviews": ("issuers: [x]", "cluster.staticKeys", "need tokenReview.mode: never"),
    "no issuer": ("tokenReview: {mode: never}", "cluster.staticKeys", "need the cluster's issuer in issuers"),
    "kubeconfig": (
        "issuers: [x], tokenReview: {mode: never}, kubeconfig: /dev/null",
        "cluster.staticKeys",
        "leave kubeconfig and context out",
    ),
    "context": (
        "issuers: [x], tokenReview: {mode: never}, context: c",
        "cluster.staticKeys",
        "leave kubeconfig and context out",
    ),
}


@pytest.mark.parametrize(("members", "path", "words"), STATIC.values(), ids=STATIC)
def test_static_keys_replace_the_api_server(problems: Problems, members: str, path: str, words: str) -> None:
    """Settings for calls to the API server are refused."""
    text = f"cluster: {{audiences: [a], {members}, staticKeys: {{inline: {keys()}}}}}"
    assert words in problems(text)[path].message


def test_access_reviews_need_every_clusters_api(problems: Problems) -> None:
    """Each cluster reviews its own identities, and one with static keys cannot."""
    text = (
        f"cluster: {{audiences: [a], issuers: [x], tokenReview: {{mode: never}}, staticKeys: {{inline: {keys()}}}}}\n"
        "policies: {default: {accessReview: {resource: {verb: get, resource: pods}}}}"
    )
    assert "cluster has staticKeys instead" in problems(text)["policies.default.accessReview"].message


def test_invalid_static_keys_are_refused(problems: Problems) -> None:
    """The rules are those for other issuers."""
    text = (
        "cluster: [{audiences: [a], issuers: [x], tokenReview: {mode: never}, staticKeys: {file: /nowhere}}]"
    )
    assert "cannot be read" in problems(text)["cluster[0].staticKeys.file"].message


PUBLIC = "cluster: {audiences: [a], keysFrom: issuer, "
ISSUER = "issuers: ['https://oidc.example/id/1'], "
NEVER = "tokenReview: {mode: never}"


@pytest.mark.parametrize(
    "members",
    [ISSUER + NEVER, f"issuers: [x], jwksURL: 'https://k.example/keys?a=b', {NEVER}"],
    ids=["discovery", "jwksURL"],
)
def test_a_cluster_with_a_public_issuer_needs_no_api(load_text: Load, members: str) -> None:
    """It has one issuer and no reviews."""
    [cluster] = load_text(f"{PUBLIC}{members}}}").config.clusters
    assert not cluster.has_api


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (PUBLIC + ISSUER + "}", "cluster.keysFrom", "needs tokenReview.mode: never"),
        (PUBLIC + NEVER + "}", "cluster.keysFrom", "exactly one issuer"),
        (PUBLIC + f"issuers: ['https://a', 'https://b'], {NEVER}}}", "cluster.keysFrom", "exactly one"),
        (PUBLIC + ISSUER + NEVER + ", kubeconfig: /dev/null}", "cluster.keysFrom", "leave kubeconfig"),
        (PUBLIC + ISSUER + NEVER + ", context: c}", "cluster.keysFrom", "leave kubeconfig"),
        (PUBLIC + f"issuers: [x], {NEVER}}}", "cluster.issuers[0]", "or set jwksURL"),
        (
            "cluster: {audiences: [a], jwksURL: 'https://k.example'}",
            "cluster.jwksURL",
            "needs keysFrom: issuer",
        ),
        (PUBLIC + ISSUER + NEVER + ", jwksURL: 'http://k.example'}", "cluster.jwksURL", "must be https"),
        (
            PUBLIC + ISSUER + NEVER + ", certificateAuthority: /etc/ca.crt}",
            "cluster.certificateAuthority",
            "must be PEM text",
        ),
        (
            PUBLIC
            + ISSUER
            + NEVER
            + "}\npolicies: {default: {accessReview: {resource: {verb: get, resource: pods}}}}",
            "policies.default.accessReview",
            "has keysFrom: issuer instead",
        ),
    ],
)
def test_unsupported_settings_with_a_public_issuer_are_rejected(
    problems: Problems, text: str, path: str, words: str
) -> None:
    """The API server is not called, and there is only one source of keys."""
    assert words in problems(text)[path].message


def test_an_authority_of_the_issuer_needs_its_keys(problems: Problems) -> None:
    """The API server's authority is in the kubeconfig."""
    pem = throwaway_certificate().ca_pem.decode().replace("\n", "\\n")
    text = f'cluster: {{audiences: [a], certificateAuthority: "{pem}"}}'
    assert "needs keysFrom: issuer" in problems(text)["cluster.certificateAuthority"].message


def test_keys_have_one_source(problems: Problems) -> None:
    """Static keys are not fetched."""
    text = f"{PUBLIC}{ISSUER}{NEVER}, staticKeys: {{inline: {keys()}}}}}"
    assert "keys have one source" in problems(text)["cluster.keysFrom"].message
