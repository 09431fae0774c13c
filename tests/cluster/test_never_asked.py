"""The API server never reviews a token that is known to be invalid. Its own audit log proves it."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.kube_keys import claims_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Asking:
    """A gate, the user that it reviews tokens as, and whether it must review valid ones."""

    gate: Gate
    user: str
    always: bool


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["keys in memory", "mode always", "no keys"]
)
async def asking(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Asking]:
    """A gate for each of the reasons why it may have to review a token."""
    plane, namespace = control_plane, f"test-{secrets.token_hex(4)}"
    own = await plane.gate_token(namespace)
    user = f"system:serviceaccount:{namespace}:gate"
    cluster: dict[str, object] = {}
    if request.param == "mode always":
        cluster = {"tokenReview": {"mode": "always"}}
    elif request.param == "no keys":
        own, user = plane.reviewer_user.token, plane.reviewer_user.name
        cluster = {"issuers": [CLUSTER_ISSUER]}
    file = write_configuration(tmp_path_factory.mktemp("gate"), plane, own, cluster=cluster)
    async with Gate(file) as gate:
        await gate.becomes_ready(within=30)
        if request.param != "no keys":
            await gate.has_keys(within=30)
        yield Asking(gate, user, request.param != "keys in memory")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def good(control_plane: ControlPlane) -> str:
    """A valid token. The others are made from it."""
    namespace = f"test-{secrets.token_hex(4)}"
    await control_plane.admin.create_service_account(namespace, "app")
    return await control_plane.admin.request_token(namespace, "app", [AUDIENCE])


def unsigned(plane: ControlPlane, good: str) -> str:
    """Return the valid token's claims with the algorithm none."""
    return jwt.encode(claims_of(good), "", algorithm="none")


def symmetric(plane: ControlPlane, good: str) -> str:
    """Return a token with an HMAC whose secret is the public key."""
    secret = plane.keys.key_id.encode()
    return jwt.encode(claims_of(good), secret, algorithm="HS256", headers={"kid": plane.keys.key_id})


def later(plane: ControlPlane, good: str) -> str:
    """Return a token that becomes valid tomorrow."""
    tomorrow = int(time.time()) + 86400
    return plane.keys.altered(good, nbf=tomorrow, exp=tomorrow + 3600)


def endless(plane: ControlPlane, good: str) -> str:
    """Return a token without an expiry."""
    claims = claims_of(good)
    del claims["exp"]
    return plane.keys.sign(claims)


Make = Callable[[ControlPlane, str], str]
KNOWN_BAD: dict[str, tuple[Make, str]] = {
    "expired": (lambda plane, good: plane.keys.expired(good), "token_expired"),
    "not yet valid": (later, "token_not_yet_valid"),
    "another audience": (
        lambda plane, good: plane.keys.altered(good, aud=["another"]),
        "audience_mismatch",
    ),
    "no audience": (lambda plane, good: plane.keys.altered(good, aud=[]), "audience_mismatch"),
    "no end": (endless, "claim_malformed"),
    "unsigned": (unsigned, "algorithm_not_allowed"),
    "HMAC": (symmetric, "algorithm_not_allowed"),
    "critical extension": (
        lambda plane, good: plane.keys.sign(claims_of(good), {"crit": ["b64"], "b64": True}),
        "critical_header",
    ),
    "one segment more": (lambda plane, good: f"{good}.", "token_malformed"),
    "cut off": (lambda plane, good: good.rpartition(".")[0], "token_malformed"),
    "no JWT": (lambda plane, good: secrets.token_urlsafe(32).replace(".", "_"), "token_opaque"),
}


@pytest.mark.parametrize(("make", "reason"), KNOWN_BAD.values(), ids=KNOWN_BAD)
async def test_an_invalid_token_is_not_reviewed(
    control_plane: ControlPlane, asking: Asking, good: str, make: Make, reason: str
) -> None:
    """A token that is invalid with any key is rejected with its reason, without a review."""
    token = make(control_plane, good)

    assert await asking.gate.verdict(token) == (401, reason)
    assert token not in control_plane.audit.tokens_reviewed_by(asking.user)


async def test_a_token_of_another_issuer_is_not_reviewed(
    control_plane: ControlPlane, asking: Asking, good: str
) -> None:
    """This also holds if the gate has no keys."""
    token = control_plane.keys.altered(good, iss="https://issuer.example")

    answer = await asking.gate.request(token)

    assert answer.status in (401, 503)
    assert token not in control_plane.audit.tokens_reviewed_by(asking.user)


def forged(plane: ControlPlane, good: str) -> str:
    """Return the valid token's claims, signed with another key under the cluster's key id."""
    return jwt.encode(claims_of(good), STRANGER, algorithm="RS256", headers={"kid": plane.keys.key_id})


def tampered(plane: ControlPlane, good: str) -> str:
    """Return a token with the signature of other claims."""
    header, payload, _ = plane.keys.altered(good, sub="system:serviceaccount:kube-system:admin").split(".")
    return ".".join([header, payload, good.split(".")[2]])


def without_kid(plane: ControlPlane, good: str) -> str:
    """Return a token of another key without a key id."""
    return jwt.encode(claims_of(good), STRANGER, algorithm="RS256")


@pytest.mark.parametrize("make", [forged, tampered, without_kid], ids=lambda make: make.__name__)
@pytest.mark.parametrize("asking", ["keys in memory", "mode always"], indirect=True)
async def test_a_forged_token_is_not_reviewed(
    control_plane: ControlPlane, asking: Asking, good: str, make: Make
) -> None:
    """If the key is in memory, a token with a wrong signature is rejected without a review."""
    token = make(control_plane, good)

    assert await asking.gate.verdict(token) == (401, "signature_invalid")
    assert token not in control_plane.audit.tokens_reviewed_by(asking.user)


async def test_a_valid_token_is_reviewed_only_if_necessary(
    control_plane: ControlPlane, asking: Asking, good: str
) -> None:
    """Gates that must review send one TokenReview, which is in the audit log. The one with keys sends none."""
    token = control_plane.keys.altered(good, jti=secrets.token_hex(8))

    for _ in range(3):
        assert (await asking.gate.request(token)).status == 200

    assert control_plane.audit.tokens_reviewed_by(asking.user).count(token) == asking.always
