"""The attributes of access reviews come from the verified identity and the original request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authgate.cluster.api import AccessAttributes, NonResourceAttributes, ResourceAttributes
from authgate.errors import Reason
from authgate.model import Identity, OriginalRequest, ServiceAccount
from authgate.policy.access_review import (
    NothingToReview,
    RequestAttributes,
    ResourceTemplates,
    Template,
    describe,
)
from authgate.vocabulary import POD_NAME

ACCOUNT = Identity(
    "system:serviceaccount:prod:web",
    "uid-1",
    extra=((POD_NAME, ("web-0",)),),
    cluster="home",
    service_account=ServiceAccount("prod", "web"),
)
PERSON = Identity("corp:jane")


def attributes_of(path: str | None, method: str | None = "GET") -> AccessAttributes | NothingToReview:
    """The attributes of a request."""
    return RequestAttributes().attributes(PERSON, OriginalRequest(method, path))


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/", "/"),
        ("/metrics", "/metrics"),
        ("/metrics/", "/metrics/"),
        ("/a/b.c/...", "/a/b.c/..."),
        ("/%6detrics", "/metrics"),
        ("/a%20b", "/a b"),
        ("/caf%C3%A9", "/café"),
        ("/a:b@c=d&e,f+g$h!i*(j)'~", "/a:b@c=d&e,f+g$h!i*(j)'~"),
    ],
)
def test_a_plain_path_is_decoded_once(path: str, sent: str) -> None:
    """The kube-apiserver does the same for its own paths."""
    assert attributes_of(path) == NonResourceAttributes(sent, "get")


@pytest.mark.parametrize(
    "path",
    [
        "//metrics",
        "/a//b",
        "/a//",
        "/..",
        "/a/../metrics",
        "/a/.",
        "/./metrics",
        "/%2e%2e/metrics",
        "/.%2E/metrics",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a;b",
        "/metrics;x=1",
        "/a%3bb",
        "/a%252fb",
        "/a%25",
        "/a%",
        "/a%g1",
        "/a%1",
        "/a#b",
        "/a%23b",
        "/a?b",
        "/a%3fb",
        "/a%00",
        "/a%0d%0ab",
        "/a%7f",
        "/a%C2%85",
        "/a%ff",
        "/a%C0%AF",
        "/a%E2%80%AE",
        "metrics",
        "*",
        "",
    ],
)
def test_an_ambiguous_path_is_not_reviewed(path: str) -> None:
    """The cluster could review another path than the one that the app serves."""
    assert attributes_of(path) == NothingToReview(Reason.PATH_AMBIGUOUS)


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        (method, method.lower())
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "M-SEARCH")
    ],
)
def test_the_verb_is_the_method_in_lower_case(method: str, verb: str) -> None:
    """The kube-apiserver does the same for non-resource paths."""
    assert attributes_of("/metrics", method) == NonResourceAttributes("/metrics", verb)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        pytest.param(None, "GET", id="no path"),
        pytest.param("/metrics", None, id="no method"),
        pytest.param(None, None, id="neither"),
        pytest.param("/metrics", "", id="empty method"),
        pytest.param("/metrics", "*", id="a wildcard as method"),
        pytest.param("/metrics", "GET POST", id="two methods"),
        pytest.param("/metrics", "G" * 33, id="long method"),
    ],
)
def test_an_unknown_request_is_not_reviewed(path: str | None, method: str | None) -> None:
    """The proxy may have omitted any part."""
    assert attributes_of(path, method) == NothingToReview(Reason.REQUEST_UNKNOWN)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("fixed", "fixed"),
        ("*", "*"),
        ("{{ .Namespace }}", "prod"),
        ("{{.ServiceAccount}}", "web"),
        ("{{ .Pod }}", "web-0"),
        ("{{ .Username }}", "system:serviceaccount:prod:web"),
        ("{{ .UID }}", "uid-1"),
        ("team-{{ .Namespace }}-{{ .ServiceAccount }}!", "team-prod-web!"),
    ],
)
def test_placeholders_are_filled_from_the_identity(text: str, rendered: str) -> None:
    """All other text is unchanged."""
    assert Template(text).render(ACCOUNT) == rendered


@pytest.mark.parametrize(
    "text",
    ["{{ .Query }}", "{{ .Path }}", "{{ .namespace }}", "{{ Namespace }}", "{{ .Namespace", "}}", "{{}}"],
)
def test_any_other_placeholder_is_rejected(text: str) -> None:
    """It is rejected when the policy is created, not at the first request."""
    with pytest.raises(ValueError, match="unknown placeholder"):
        Template(text)


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("Namespace", PERSON),
        ("ServiceAccount", PERSON),
        ("Pod", PERSON),
        ("UID", PERSON),
        ("Pod", replace(ACCOUNT, extra=())),
        ("UID", replace(ACCOUNT, uid="")),
        ("UID", replace(ACCOUNT, uid="*")),
        ("Username", replace(PERSON, username="*")),
        ("Namespace", replace(ACCOUNT, cluster=None)),
        ("Pod", replace(ACCOUNT, cluster=None)),
    ],
)
def test_an_identity_without_a_value_is_denied(name: str, identity: Identity) -> None:
    """An empty attribute or `*` would match everything; a `jwt` issuer cannot name accounts of a cluster."""
    rule = ResourceTemplates(ResourceAttributes("get", "services", namespace=f"{{{{ .{name} }}}}"))
    refusal = rule.attributes(identity, OriginalRequest())

    assert refusal == NothingToReview(Reason.ACCESS_DENIED, f"the identity has no {name}")


def test_every_attribute_is_a_template() -> None:
    """The request is not used."""
    rule = ResourceTemplates(
        ResourceAttributes("get", "services", "g", "v1", "{{ .Namespace }}", "proxy", "{{ .ServiceAccount }}")
    )

    assert not rule.reads_request
    assert rule.attributes(ACCOUNT, OriginalRequest("GET", "/x")) == ResourceAttributes(
        "get", "services", "g", "v1", "prod", "proxy", "web"
    )


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (NonResourceAttributes("/metrics", "get"), "get /metrics"),
        (NonResourceAttributes("/" + "a" * 300, "get"), "get /" + "a" * 199),
        (ResourceAttributes("list", "pods"), "list pods"),
        (
            ResourceAttributes("get", "services", "g", "v1", "prod", "proxy", "web"),
            "get services/proxy.g 'web' in namespace 'prod'",
        ),
    ],
)
def test_attributes_are_described(attributes: AccessAttributes, words: str) -> None:
    """The description is short, even if the path is long."""
    assert describe(attributes) == words
