"""Keys for all conformance tests, because RSA keys are slow to generate."""

import pytest

from tests.support.key_pool import KeyPool


@pytest.fixture(scope="session")
def pool() -> KeyPool:
    """Private keys of every kind. Each is generated at its first use."""
    return KeyPool()
