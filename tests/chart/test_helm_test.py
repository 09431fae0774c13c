"""The pod of `helm test`: its request, and its output for each answer."""

import asyncio
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.helm import Helm, Object, values_of
from tests.support.kube import ControlPlane

_TOKEN = "/var/run/secrets/authgate/token"


def _arguments(pod: Object) -> tuple[str, list[str]]:
    (container,) = pod["spec"]["containers"]
    program, *arguments = container["args"]
    return program, arguments


@pytest.mark.parametrize(
    ("case", "url", "audience", "ca_file"),
    [
        ("minimal", "http://gate-authgate.authgate.svc:8080/verify", "my-audience", ""),
        ("policies", "http://gate-authgate.authgate.svc:8080/verify", "shop", ""),
        ("named-policies", "http://gate-authgate.authgate.svc:8080/policies/billing/verify", "billing", ""),
        ("tls", "https://gate-authgate.authgate.svc:443/verify", "my-audience", "/etc/authgate-tls/tls.crt"),
        ("named", "http://the-gate.authgate.svc:80/verify", "my-audience", ""),
        ("oidc", "http://gate-authgate.authgate.svc:8080/verify", None, ""),
        ("several-clusters", "http://gate-authgate.authgate.svc:8080/verify", "my-audience", ""),
        ("other-cluster", "http://gate-authgate.authgate.svc:8080/verify", None, ""),
    ],
)
def test_it_sends_a_token_for_the_gate(
    helm: Helm, case: str, url: str, audience: str | None, ca_file: str
) -> None:
    """The pod gets a token for an audience of the tested policy, if the gate accepts tokens of this cluster."""
    pod = helm.template(values_of(case)).one("Pod")
    tokens = [
        source["serviceAccountToken"]["audience"]
        for volume in pod["spec"].get("volumes", ())
        for source in volume.get("projected", {}).get("sources", ())
    ]
    assert tokens == ([] if audience is None else [audience])
    assert _arguments(pod)[1] == [url, _TOKEN if audience else "", ca_file]


def test_a_successful_pod_is_deleted_after_helm_shows_its_log(helm: Helm) -> None:
    """A failed pod remains until the next test. Helm shows the log in both cases."""
    annotations = helm.template().one("Pod")["metadata"]["annotations"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert annotations["helm.sh/hook-output-log-policy"] == "hook-succeeded,hook-failed"


@pytest.mark.parametrize("case", ["single", "mutual-tls"])
def test_the_test_can_be_disabled(helm: Helm, case: str) -> None:
    """The pod is missing if it is disabled, or if it would need a client certificate."""
    assert helm.template(values_of(case)).all("Pod") == []


async def _run(helm: Helm, url: str, token: str, folder: Path) -> tuple[int, str]:
    """Run the rendered program with a gate's URL and a token, and return its exit status and output."""
    program, _ = _arguments(helm.template().one("Pod"))
    file = folder / "token"
    file.write_text(token)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", program, url, file, "",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await child.communicate()
    return child.returncode or 0, output.decode()


@pytest.mark.parametrize(
    ("policies", "audience", "ending", "line"),
    [
        pytest.param({}, AUDIENCE, 0, "ok: a token for authgate: 200\n", id="passes"),
        pytest.param(
            {"default": {"allow": [{"users": ["nobody"]}]}},
            AUDIENCE,
            0,
            "ok: a token for authgate: 403 not_allowed\n",
            id="is known and not allowed",
        ),
        pytest.param(
            {}, "another", 1, "WRONG: a token for authgate: 401 audience_mismatch\n", id="is not known"
        ),
    ],
)
async def test_it_recognizes_a_working_gate(
    helm: Helm,
    plane: ControlPlane,
    tmp_path: Path,
    policies: dict[str, Any],
    audience: str,
    ending: int,
    line: str,
) -> None:
    """The test passes with a real gate that accepts the account's token, and fails otherwise. No token is printed."""
    namespace = f"test-{secrets.token_hex(4)}"
    own = await plane.gate_token(namespace)
    token = await plane.admin.request_token(namespace, "gate", [audience])
    sections = {"policies": policies} if policies else {}
    async with Gate(write_configuration(tmp_path / "gate", plane, own, **sections)) as gate:
        await gate.becomes_ready(within=30)
        status, output = await _run(helm, f"http://{gate.address}/verify", token, tmp_path)
    assert status == ending
    assert line in output
    assert "ok: no token: 401 no_credential\n" in output
    assert token not in output
