"""Keys for the whole of the conformance tests, since RSA keys are slow to make."""

import pytest

from tests.support.key_pool import KeyPool


@pytest.fixture(scope="session")
def pool() -> KeyPool:
    """Private keys of every shape, each made when it is first asked for."""
    return KeyPool()
