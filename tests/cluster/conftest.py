"""Real control planes: a shared one for tests that do not damage it, and new ones for tests that do."""

import secrets
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.support.kube import (
    AWAY_ISSUER,
    CLUSTER_ISSUER,
    FORMER_ISSUER,
    ControlPlane,
    PlaneOptions,
)


@pytest.fixture(scope="session")
def new_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ControlPlane]:
    """Return a new control plane for one test, to be run with `async with`."""

    def make(options: PlaneOptions | None = None) -> ControlPlane:
        return ControlPlane(tmp_path_factory.mktemp("control-plane"), options)

    return make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane(new_control_plane: Callable[..., ControlPlane]) -> AsyncIterator[ControlPlane]:
    """The control plane that tests share: each adds its own objects and breaks nothing."""
    async with new_control_plane() as plane:
        yield plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def moved_plane(new_control_plane: Callable[..., ControlPlane]) -> AsyncIterator[ControlPlane]:
    """A control plane with an ES256 key and a new issuer, which still accepts the former issuer's tokens."""
    options = PlaneOptions(issuers=(CLUSTER_ISSUER, FORMER_ISSUER), algorithm="ES256")
    async with new_control_plane(options) as plane:
        yield plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def away_plane(new_control_plane: Callable[..., ControlPlane]) -> AsyncIterator[ControlPlane]:
    """Another cluster with its own issuer, whose advertised keys are unreachable."""
    options = PlaneOptions(
        issuers=(AWAY_ISSUER,),
        api_audiences=(AWAY_ISSUER,),
        extra_args=("--service-account-jwks-uri=https://127.0.0.1:9/openid/v1/jwks",),
    )
    async with new_control_plane(options) as plane:
        yield plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _mortal_plane(new_control_plane: Callable[..., ControlPlane]) -> AsyncIterator[ControlPlane]:
    async with new_control_plane() as plane:
        yield plane


@pytest_asyncio.fixture
async def mortal_plane(_mortal_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """A control plane whose API server a test may stop or suspend and whose keys it may change.

    It runs again for the next test.
    """
    yield _mortal_plane
    await _mortal_plane.ensure_api()
    await (
        _mortal_plane.admin.ready()
    )  # half-closed connections to a suspended server end before the loop does


@pytest.fixture
def namespace() -> str:
    """The name of a namespace that no other test uses."""
    return f"test-{secrets.token_hex(4)}"
