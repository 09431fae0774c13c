"""Every token that authgate accepts is accepted by PyJWT with the same key, algorithm, issuer and audience."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from authgate.dev.compact import changed, json_bytes
from authgate.keys.algorithms import ALGORITHMS
from authgate.model import Authenticated
from tests.conformance.tokens import claim_changes, header_changes, json_texts, mutations
from tests.conformance.trusted import AUDIENCE, ISSUER, LEEWAY, Trusted, claims, gate, verify

if TYPE_CHECKING:
    from authgate.dev.keys import SigningKey
    from tests.support.key_pool import KeyPool

NULL_IS_ABSENT = ("sub", "jti", "nbf")
"""Claims whose null counts as missing in authgate and kube-apiserver. PyJWT rejects it."""

HYPOTHESIS = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


class SystemClock:
    """The system's time. PyJWT supports no other clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def current(changes: dict[str, object] | None = None) -> dict[str, object]:
    """Return the claims of a token that is valid now, with the changes applied."""
    now = int(time.time())
    return changed(claims({"exp": now + 600, "iat": now, "nbf": now}), changes)


async def accepted(key: SigningKey, token: str) -> Authenticated | None:
    """Return authgate's verdict if it accepts the token."""
    verdict = await verify(gate(Trusted((key.jwk(),)), clock=SystemClock()), token)
    return verdict if isinstance(verdict, Authenticated) else None


def pyjwt_claims(key: SigningKey, token: str) -> dict[str, Any]:
    """Return the claims that PyJWT verifies in the token; raises if PyJWT rejects it.

    PyJWT has one leeway for all times, so `exp` is checked again without leeway.
    """
    unverified = jwt.decode(token, options={"verify_signature": False})
    options: Any = {"require": ["exp", "iss", "aud"]}
    options |= {f"verify_{name}": False for name in NULL_IS_ABSENT if unverified.get(name, "") is None}
    trusted: Any = {
        "key": key.public,
        "algorithms": [key.algorithm],
        "issuer": ISSUER,
        "audience": [AUDIENCE],
    }
    jwt.decode(token, **trusted, options=options | {"verify_nbf": False, "verify_iat": False})
    return jwt.decode(token, **trusted, leeway=LEEWAY, options=options)


async def assert_pyjwt_agrees(key: SigningKey, token: str) -> None:
    """Fail if authgate accepts a token that PyJWT rejects or reads with another user or another expiry."""
    verdict = await accepted(key, token)
    if verdict is not None:
        read = pyjwt_claims(key, token)
        assert verdict.identity.username == read["sub"]
        assert verdict.expires_at == read["exp"]


@pytest.mark.parametrize("algorithm", sorted(get_default_algorithms().keys() & ALGORITHMS.keys()))
async def test_valid_tokens_are_accepted_by_both(pool: KeyPool, algorithm: str) -> None:
    """This covers every algorithm, so that the other comparisons are meaningful."""
    key = pool.key(algorithm)
    token = key.sign(current())
    assert await accepted(key, token) is not None
    assert pyjwt_claims(key, token)["sub"] == "alice"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_with_one_changed_character_is_rejected(pool: KeyPool, algorithm: str) -> None:
    """This covers every position of the token."""
    key = pool.key(algorithm)
    token = key.sign(current())
    for at, char in enumerate(token):
        changed_char = "A" if char != "A" else "Q"
        assert await accepted(key, token[:at] + changed_char + token[at + 1 :]) is None, at


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", ". "),
        lambda token: token.replace(".", ".."),
        lambda token: token + ".",
        lambda token: token.translate(str.maketrans("-_", "+/")),
        lambda token: ".".join(part + "=" * (-len(part) % 4) for part in token.split(".")),
        lambda token: token.upper(),
        lambda token: base64.urlsafe_b64encode(token.encode()).decode(),
        lambda token: json.dumps(
            dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))
        ),
    ],
    ids=[
        *("padding", "more padding", "line end", "space before", "space after dots", "two dots", "dot after"),
        *("standard alphabet", "each segment padded", "upper case", "encoded twice", "JSON serialization"),
    ],
)
@pytest.mark.parametrize("algorithm", ["RS256", "ES512", "EdDSA"])
async def test_a_rewritten_token_is_accepted_only_if_pyjwt_accepts_it(
    pool: KeyPool, algorithm: str, rewrite: Any
) -> None:
    """The same token is written in another form."""
    key = pool.key(algorithm)
    token = rewrite(key.sign(current({"pad": "?>?>~~"})))
    await assert_pyjwt_agrees(key, token)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
@HYPOTHESIS
@given(data=st.data())
async def test_a_mutated_token_is_accepted_only_if_pyjwt_accepts_it(
    pool: KeyPool, algorithm: str, data: st.DataObject
) -> None:
    """A valid token has some small changes."""
    key = pool.key(algorithm)
    await assert_pyjwt_agrees(key, data.draw(mutations(key.sign(current()))))


@HYPOTHESIS
@given(data=st.data())
async def test_claims_of_any_type_are_accepted_only_if_pyjwt_accepts_them(
    pool: KeyPool, data: st.DataObject
) -> None:
    """The token is signed, with claims of any JSON type."""
    key = pool.key("ES256")
    changes = data.draw(claim_changes(int(time.time())))  # not the time when the tests were collected
    await assert_pyjwt_agrees(key, key.sign(current(changes)))


@HYPOTHESIS
@given(changes=header_changes)
async def test_a_header_of_any_type_is_accepted_only_if_pyjwt_accepts_it(
    pool: KeyPool, changes: dict[str, object]
) -> None:
    """The token is signed, with any header."""
    key = pool.key("ES256")
    await assert_pyjwt_agrees(key, key.sign(current(), changes))


@HYPOTHESIS
@given(text=json_texts, at=st.integers(0, 200), in_header=st.booleans())
async def test_broken_json_is_accepted_only_if_pyjwt_accepts_it(
    pool: KeyPool, text: bytes, at: int, *, in_header: bool
) -> None:
    """The token is signed, with stray text inside its JSON."""
    key = pool.key("ES256")
    header, payload = json_bytes({"alg": "ES256", "kid": key.kid}), json_bytes(current())
    if in_header:
        header = header[:at] + text + header[at:]
    else:
        payload = payload[:at] + text + payload[at:]
    await assert_pyjwt_agrees(key, key.sign_raw(header, payload))
