"""SPIFFE IDs, and to whom a token without an issuer belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from authgate.errors import Reason
from authgate.model import Rejected
from authgate.verify.claims import RegisteredClaims, read_registered, trust_domain_of
from tests.support.tokens import OMIT, claims

if TYPE_CHECKING:
    from authgate.model import JSONValue

DOMAINS = frozenset({"example.org"})


def registered(changes: dict[str, object], domains: frozenset[str]) -> RegisteredClaims | Rejected:
    """The registered claims of a good token with these changes."""
    return read_registered(cast("dict[str, JSONValue]", claims(changes)), domains)


@pytest.mark.parametrize(
    ("subject", "domain"),
    [
        ("spiffe://example.org/ns/prod/sa/web", "example.org"),
        ("spiffe://a_b-1.example/X.y_z-0/...", "a_b-1.example"),
        ("spiffe://example.org/" + "a" * 2027, "example.org"),
        ("spiffe://example.org/" + "a" * 2028, None),
        ("spiffe://example.org", None),
        ("spiffe://example.org/", None),
        ("spiffe://example.org/a/", None),
        ("spiffe://example.org//a", None),
        ("spiffe://example.org/./a", None),
        ("spiffe://example.org/a/..", None),
        ("spiffe://example.org/a%2Fb", None),
        ("spiffe://example.org/a?b", None),
        ("spiffe://example.org/a#b", None),
        ("spiffe://example.org:443/a", None),
        ("spiffe://user@example.org/a", None),
        ("spiffe://Example.org/a", None),
        ("SPIFFE://example.org/a", None),
        ("spiffe://" + "a" * 256 + "/a", None),
        ("spiffe:///a", None),
        ("https://example.org/a", None),
        ("spiffe://example.org/a\n", None),
        ("spiffe://example.org/é", None),
        (None, None),
        (1, None),
    ],
)
def test_only_a_valid_id_of_a_workload_has_a_trust_domain(subject: object, domain: str | None) -> None:
    """SPIFFE-ID, section 2."""
    assert trust_domain_of(subject) == domain


def test_a_token_without_iss_belongs_to_its_trust_domain() -> None:
    """Only if the domain is configured, and there is no `iss` at all."""
    subject = "spiffe://example.org/web"
    found = registered({"iss": OMIT, "sub": subject}, DOMAINS)
    assert not isinstance(found, Rejected)
    assert found.issuer == "spiffe://example.org"


@pytest.mark.parametrize(
    ("changes", "domains", "reason"),
    [
        ({"iss": OMIT, "sub": "spiffe://example.org/web"}, frozenset[str](), Reason.CLAIM_MALFORMED),
        ({"iss": OMIT, "sub": "spiffe://other.org/web"}, DOMAINS, Reason.ISSUER_UNKNOWN),
        ({"iss": OMIT, "sub": "web"}, DOMAINS, Reason.CLAIM_MALFORMED),
        ({"iss": OMIT, "sub": OMIT}, DOMAINS, Reason.CLAIM_MALFORMED),
        ({"iss": None, "sub": "spiffe://example.org/web"}, DOMAINS, Reason.CLAIM_MALFORMED),
        ({"iss": "", "sub": "spiffe://example.org/web"}, DOMAINS, Reason.CLAIM_MALFORMED),
        ({"iss": OMIT, "sub": "spiffe://example.org/web", "exp": OMIT}, DOMAINS, Reason.CLAIM_MALFORMED),
    ],
)
def test_any_other_token_without_iss_is_refused(
    changes: dict[str, object], domains: frozenset[str], reason: Reason
) -> None:
    """As without the setting."""
    found = registered(changes, domains)
    assert isinstance(found, Rejected)
    assert found.reason is reason
