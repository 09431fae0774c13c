"""The claims and the lifetime of tokens that authgate signs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jwt
import pytest

from authgate.model import Identity, ServiceAccount
from authgate.signing.keys import SigningKey
from authgate.signing.tokens import EXCHANGED_TOKEN, PRIVATE_CLAIM, IdentityTokenHeader, TokenIssuer
from tests.support.clock import START, FakeClock

KEY = SigningKey.generate()
ISSUER = "https://authgate.example"
ALICE = Identity(
    "corp:alice",
    uid="u-1",
    groups=("dev", "system:authenticated"),
    issuer="https://corp.example",
    issuer_name="corp",
    email="alice@corp.example",
    preferred_username="Alice",
)
POD = Identity(
    "system:serviceaccount:prod:web",
    extra=(("authentication.kubernetes.io/pod-name", ("web-0",)),),
    issuer="https://home.example",
    issuer_name="home",
    cluster="home",
    service_account=ServiceAccount("prod", "web"),
)


def issuer(*keys: SigningKey) -> TokenIssuer:
    """An issuer with 30 s of expiry leeway for tokens of `corp`."""
    return TokenIssuer(ISSUER, keys or (KEY,), FakeClock(), {"corp": 30.0})


def claims(
    identity: Identity = ALICE, *, ttl: float = 300, expires_at: float | None = None
) -> dict[str, Any]:
    """The claims of a token for the audience `apps`."""
    token = issuer().issue(identity, "apps", typ="JWT", policy="default", ttl=ttl, expires_at=expires_at)
    assert token is not None
    return jwt.decode(
        token.text,
        KEY.private.public_key(),
        ["ES256"],
        audience="apps",
        issuer=ISSUER,
        options={
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        },  # the clock is a fake
    )


def test_a_token_names_the_identity() -> None:
    """Subject, groups and uid are in registered claims, the origin of the identity is in a private one."""
    found = claims()
    assert len(found.pop("jti")) >= 16
    assert found == {
        "iss": ISSUER,
        "sub": "corp:alice",
        "aud": "apps",
        "iat": int(START),
        "nbf": int(START),
        "exp": int(START) + 300,
        "groups": ["dev", "system:authenticated"],
        "uid": "u-1",
        "email": "alice@corp.example",
        "preferred_username": "Alice",
        PRIVATE_CLAIM: {"issuer": "https://corp.example", "policy": "default"},
    }


def test_a_service_account_keeps_its_cluster_and_extra() -> None:
    """Parts that only identities of clusters have are in the private claim."""
    assert claims(POD)[PRIVATE_CLAIM] == {
        "issuer": "https://home.example",
        "policy": "default",
        "cluster": "home",
        "serviceAccount": {"namespace": "prod", "name": "web"},
        "extra": {"authentication.kubernetes.io/pod-name": ["web-0"]},
    }


@pytest.mark.parametrize(
    ("name", "expires_at", "end"),
    [
        pytest.param("corp", None, START + 300, id="no end: the configured time"),
        pytest.param("corp", START + 1000, START + 300, id="a later end: the configured time"),
        pytest.param("corp", START + 100, START + 70, id="an earlier end, less the leeway"),
        pytest.param("else", START + 100, START + 100, id="an earlier end, no leeway"),
    ],
)
def test_a_token_ends_with_the_token_of_the_client(name: str, expires_at: float | None, end: float) -> None:
    """`exp` is after the configured time or at the `exp` of the client's token, whichever is first."""
    assert claims(replace(ALICE, issuer_name=name), expires_at=expires_at)["exp"] == int(end)


def test_within_the_leeway_there_is_no_token() -> None:
    """A client whose token is expired and only accepted by leeway gets no token."""
    assert issuer().issue(ALICE, "apps", typ="JWT", policy="default", ttl=300, expires_at=START + 30) is None


def test_a_header_without_a_token_is_empty() -> None:
    """The header is still sent if no token can be issued."""
    header = IdentityTokenHeader("X-Auth-Identity", "apps", 300.0, issuer())
    assert header.value(ALICE, "default", START + 30) == ""
    assert header.value(ALICE, "default", START + 60).count(".") == 2


def test_the_first_key_signs() -> None:
    """The token has the kid of the first key."""
    other = SigningKey.generate()
    token = issuer(KEY, other).issue(ALICE, "apps", typ="JWT", policy="default", ttl=1, expires_at=None)
    assert token is not None
    assert jwt.get_unverified_header(token.text) == {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}


def test_an_identity_token_has_a_type_of_its_own() -> None:
    """Identity tokens and exchanged tokens differ in `typ` (RFC 8725, section 3.11)."""
    header = IdentityTokenHeader("X-Auth-Identity", "apps", 300.0, issuer()).value(ALICE, "default", None)
    exchanged = issuer().issue(ALICE, "apps", typ=EXCHANGED_TOKEN, policy="default", ttl=1, expires_at=None)
    assert exchanged is not None
    types = [jwt.get_unverified_header(text)["typ"] for text in (header, exchanged.text)]
    assert types == ["authgate-identity+jwt", "JWT"]


def test_two_tokens_differ() -> None:
    """Each token has its own `jti`."""
    assert claims()["jti"] != claims()["jti"]


def test_an_issuer_needs_a_key() -> None:
    """Creating an issuer without keys is a programming error."""
    with pytest.raises(ValueError, match="at least one key"):
        TokenIssuer(ISSUER, (), FakeClock(), {})


def test_a_token_has_no_repr() -> None:
    """A signed token cannot reach a log by accident."""
    token = issuer().issue(ALICE, "apps", typ="JWT", policy="default", ttl=1, expires_at=None)
    assert token is not None
    assert token.text not in repr(token)
