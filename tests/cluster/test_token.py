"""`authgate token` against a real kube-apiserver: the tokens that it prints, and its errors."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from authgate.cluster.own_token import read_own_token
from tests.support.gate import AUDIENCE
from tests.support.kube import ControlPlane, PlaneOptions
from tests.support.process import until


async def requested(
    kubeconfig: Path, namespace: str, *words: str, account: str = "app"
) -> subprocess.CompletedProcess[str]:
    """Request a token of an account of the namespace."""
    command = [sys.executable, "-m", "authgate", "token", account, "-n", namespace, "--audience", AUDIENCE]
    command += ["--kubeconfig", str(kubeconfig), *words]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ)
        )

    return await asyncio.to_thread(run)


async def admins(plane: ControlPlane, namespace: str, folder: Path) -> Path:
    """The kubeconfig of an administrator; the namespace has an account `app`."""
    await plane.admin.create_service_account(namespace, "app")
    return plane.write_kubeconfig(folder / "kubeconfig", token=plane.admin_user.token)


@pytest.mark.parametrize("bound_to", ["nothing", "pod", "secret"])
async def test_a_requested_token_is_valid(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, bound_to: str
) -> None:
    """TokenReview accepts it for the audience until its bound object is deleted."""
    plane = control_plane
    kubeconfig = await admins(plane, namespace, tmp_path)
    await plane.admin.create_pod(namespace, "it", account="app")
    await plane.admin.create_secret(namespace, "it")
    words = [] if bound_to == "nothing" else [f"--bound-{bound_to}", "it"]

    result = await requested(kubeconfig, namespace, *words, "--duration", "20m")

    assert (result.returncode, result.stderr) == (0, "")
    token = result.stdout.strip()
    claims = read_own_token(token)
    assert (claims.expires or 0) - (claims.issued or 0) == 1200
    review = await plane.admin.review_token(token, [AUDIENCE])
    assert (review.authenticated, review.username) == (True, f"system:serviceaccount:{namespace}:app")
    assert ("authentication.kubernetes.io/pod-name" in review.extra) == (bound_to == "pod")


@pytest.mark.parametrize(
    ("account", "words", "sentence"),
    [
        ("nobody", (), "ServiceAccount nobody in namespace"),
        ("app", ("--bound-pod", "missing"), "pod missing does not exist"),
        ("app", ("--bound-secret", "missing"), "secret missing does not exist"),
        ("app", ("--duration", "2000000h"), "the API server rejects --duration"),
    ],
    ids=["account", "pod", "secret", "long"],
)
async def test_a_refusal_names_its_cause(
    control_plane: ControlPlane,
    namespace: str,
    tmp_path: Path,
    account: str,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    """The error is a sentence of authgate with the server's message in it."""
    kubeconfig = await admins(control_plane, namespace, tmp_path)
    result = await requested(kubeconfig, namespace, *words, account=account)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"authgate: no token: {sentence}")


async def test_the_printed_role_is_the_one_that_is_missing(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The printed role allows tokens of that account and of no other."""
    plane = control_plane
    for name in ("app", "other"):
        await plane.admin.create_service_account(namespace, name)
    own = await plane.gate_token(namespace, reviews=False)
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig", token=own)
    refused = await requested(kubeconfig, namespace)
    assert (refused.returncode, refused.stdout) == (1, "")

    sentence, _, manifest = refused.stderr.partition("\n")
    assert f"system:serviceaccount:{namespace}:gate is not allowed" in sentence
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    role, binding = yaml.safe_load_all(manifest)
    await plane.admin.call("POST", f"{group}/roles", role)
    await plane.admin.call("POST", f"{group}/rolebindings", binding)

    async def allowed() -> bool:
        return (await requested(kubeconfig, namespace)).returncode == 0

    await until(allowed, within=30)
    assert (await requested(kubeconfig, namespace, account="other")).returncode == 1


async def test_a_shortened_lifetime_is_reported(
    new_control_plane: Callable[..., ControlPlane], namespace: str, tmp_path: Path
) -> None:
    """A server with a limit issues a shorter token, and the command reports it."""
    options = PlaneOptions(extra_args=("--service-account-max-token-expiration=2h",))
    async with new_control_plane(options) as plane:
        kubeconfig = await admins(plane, namespace, tmp_path)
        result = await requested(kubeconfig, namespace, "--duration", "8h")
    assert result.returncode == 0
    assert "the token's lifetime is 2h instead of the requested 8h" in result.stderr
    claims = read_own_token(result.stdout.strip())
    assert (claims.expires or 0) - (claims.issued or 0) == 7200
