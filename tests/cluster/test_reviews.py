"""TokenReview on a real API server: one review per token, and the error and recovery without a binding."""

import asyncio
import json
import secrets
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.gate import AUDIENCE, Gate, GateProcess, write_configuration
from tests.support.kube import CLUSTER_ISSUER, ControlPlane
from tests.support.kube_keys import claims_of

LEGACY = {"tokenReview": {"legacyAudiences": [CLUSTER_ISSUER]}}


@pytest.fixture
async def reviews_only(control_plane: ControlPlane, tmp_path: Path) -> Path:
    """The configuration of a gate that may review and not read the keys."""
    token = control_plane.reviewer_user.token
    return write_configuration(tmp_path, control_plane, token, cluster={"issuers": [CLUSTER_ISSUER]})


async def test_simultaneous_requests_share_one_review(
    control_plane: ControlPlane, namespace: str, reviews_only: Path
) -> None:
    """A token that arrives twenty times at once is reviewed once."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", [AUDIENCE])
    async with Gate(reviews_only) as gate:
        answers = await asyncio.gather(*(gate.request(token) for _ in range(20)))

    assert {answer.status for answer in answers} == {200}
    assert control_plane.audit.tokens_reviewed_by(control_plane.reviewer_user.name).count(token) == 1


async def test_a_token_with_an_unknown_key_is_reviewed(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The API server's rejection of a token of the cluster's issuer with an unknown key is cached."""
    await control_plane.admin.create_service_account(namespace, "app")
    claims = claims_of(await control_plane.admin.request_token(namespace, "app", [AUDIENCE]))
    stranger = ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode(claims, stranger, algorithm="ES256", headers={"kid": secrets.token_hex(8)})
    file = write_configuration(tmp_path, control_plane, await control_plane.gate_token(namespace))
    async with Gate(file) as gate:
        verdicts = [await gate.verdict(token) for _ in range(3)]

    assert verdicts == [(401, "review_rejected")] * 3
    user = f"system:serviceaccount:{namespace}:gate"
    assert control_plane.audit.tokens_reviewed_by(user).count(token) == 1


async def test_a_token_of_a_deleted_account_is_denied(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """With mode always a token of a deleted account is denied, although its signature and times are valid."""
    await control_plane.admin.create_service_account(namespace, "app")
    token = await control_plane.admin.request_token(namespace, "app", [AUDIENCE])
    await control_plane.admin.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/app")
    cluster = {"tokenReview": {"mode": "always"}}
    own = await control_plane.gate_token(namespace)
    async with Gate(write_configuration(tmp_path, control_plane, own, cluster=cluster)) as gate:
        assert await gate.verdict(token) == (401, "review_rejected")


async def test_a_missing_binding_is_named_and_a_new_one_is_noticed(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Without system:auth-delegator nothing is decided or cached, and one log line names it. Once bound, it works."""
    own = await control_plane.gate_token(namespace, reviews=False)
    static = control_plane.static_user.token
    file = write_configuration(tmp_path, control_plane, own, cluster=LEGACY)
    async with GateProcess(file) as gate:
        answers = [await gate.request(static) for _ in range(3)]
        await control_plane.let_review(namespace, "gate", own)
        after = await gate.request(static)

    assert [answer.verdict for answer in answers] == [(503, "review_forbidden")] * 3
    assert all(int(answer.value("Retry-After")) >= 1 for answer in answers)
    assert after.value("X-Auth-Request-User") == control_plane.static_user.name
    account = f"system:serviceaccount:{namespace}:gate"
    refused = [review for review in control_plane.audit.reviews() if review.status == 403]
    assert [review.user for review in refused].count(account) >= 3
    complaints = [line for line in gate.process.output().splitlines() if "system:auth-delegator" in line]
    assert len([line for line in complaints if json.loads(line)["scope"] == "authgate"]) == 1
    assert f"bind the ClusterRole system:auth-delegator to {account}" in complaints[0]
