"""An issuer with one key, and its verifier."""

from __future__ import annotations

import pytest

from authgate.dev.keys import SigningKey
from authgate.verify.jwt import JWTVerifier
from tests.support.clock import FakeClock
from tests.support.key_pool import KeyPool
from tests.support.verifiers import issuer_verifier, static


@pytest.fixture
def key(pool: KeyPool) -> SigningKey:
    """The issuer's key."""
    return pool.key("RS256", kid="key-1")


@pytest.fixture
def stranger(pool: KeyPool) -> SigningKey:
    """A key of another party, with the same kid."""
    return pool.key("RS256", 1, kid="key-1")


@pytest.fixture
def unpublished(pool: KeyPool) -> SigningKey:
    """A key whose kid the issuer does not publish."""
    return pool.key("RS256", 1, kid="key-2")


@pytest.fixture
def verifier(key: SigningKey, clock: FakeClock) -> JWTVerifier:
    """The issuer's verifier. It has only that key."""
    return issuer_verifier(static(key), clock)
