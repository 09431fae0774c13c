"""`authgate token` against a real kube-apiserver: whose tokens it gives, and what it says where it gives none."""

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
    """Asks for a token of an account of the namespace."""
    command = [sys.executable, "-m", "authgate", "token", account, "-n", namespace, "--audience", AUDIENCE]
    command += ["--kubeconfig", str(kubeconfig), *words]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ)
        )

    return await asyncio.to_thread(run)


async def admins(plane: ControlPlane, namespace: str, folder: Path) -> Path:
    """The kubeconfig of somebody who may do everything; the namespace has an account `app`."""
    await plane.admin.create_service_account(namespace, "app")
    return plane.write_kubeconfig(folder / "kubeconfig", token=plane.admin_user.token)


@pytest.mark.parametrize("bound_to", ["nothing", "pod", "secret"])
async def test_a_requested_token_is_good(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, bound_to: str
) -> None:
    """The API server's own TokenReview accepts it for the audience, and it ends with what it is bound to."""
    plane = control_plane
    kubeconfig = await admins(plane, namespace, tmp_path)
    await plane.admin.create_pod(namespace, "it", account="app")
    await plane.admin.create_secret(namespace, "it")
    words = [] if bound_to == "nothing" else [f"--bound-{bound_to}", "it"]

    result = await requested(kubeconfig, namespace, *words, "--duration", "20m")

    assert (result.returncode, result.stderr) == (0, "")
    token = result.stdout.strip()
    says = read_own_token(token)
    assert (says.expires or 0) - (says.issued or 0) == 1200
    review = await plane.admin.review_token(token, [AUDIENCE])
    assert (review.authenticated, review.username) == (True, f"system:serviceaccount:{namespace}:app")
    assert ("authentication.kubernetes.io/pod-name" in review.extra) == (bound_to == "pod")


@pytest.mark.parametrize(
    ("account", "words", "sentence"),
    [
        ("nobody", (), "there is no ServiceAccount nobody"),
        ("app", ("--bound-pod", "gone"), "there is no pod gone"),
        ("app", ("--bound-secret", "gone"), "there is no secret gone"),
        ("app", ("--duration", "5m"), "the API server refuses --duration"),
        ("app", ("--duration", "2000000h"), "the API server refuses --duration"),
    ],
    ids=["account", "pod", "secret", "short", "long"],
)
async def test_a_refusal_names_its_cause(
    control_plane: ControlPlane,
    namespace: str,
    tmp_path: Path,
    account: str,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    """In a sentence of the command's own, with the server's words in it."""
    kubeconfig = await admins(control_plane, namespace, tmp_path)
    result = await requested(kubeconfig, namespace, *words, account=account)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"authgate: no token: {sentence}")


async def test_the_printed_role_is_the_one_that_is_missing(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Created as printed, it allows tokens of that account and of no other."""
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

    await until(allowed, within=20)
    assert (await requested(kubeconfig, namespace, account="other")).returncode == 1


async def test_a_shortened_lifetime_is_told(
    new_control_plane: Callable[..., ControlPlane], namespace: str, tmp_path: Path
) -> None:
    """A server with a limit gives less than was asked for, and the command says so."""
    options = PlaneOptions(extra_args=("--service-account-max-token-expiration=2h",))
    async with new_control_plane(options) as plane:
        kubeconfig = await admins(plane, namespace, tmp_path)
        result = await requested(kubeconfig, namespace, "--duration", "8h")
    assert result.returncode == 0
    assert "the token lives 2h, not 8h as asked for" in result.stderr
    says = read_own_token(result.stdout.strip())
    assert (says.expires or 0) - (says.issued or 0) == 7200
