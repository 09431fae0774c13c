"""A gate with `revocation: watch` on a real control plane, with the minimal RBAC."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube_api import KubeError
from tests.support.process import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.gate import RunningGate
    from tests.support.kube import ControlPlane
    from tests.support.kube_api import BoundObject

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_GROUP = "rbac.authorization.k8s.io"


async def let_watch(
    plane: ControlPlane, namespace: str, resources: Sequence[str], *, only: str | None = None
) -> None:
    """Allow a namespace's gate account to list and watch these resources, in all namespaces or in one."""
    name = f"{namespace}-watch"
    where = _RBAC if only is None else f"{_RBAC}/namespaces/{only}"
    kind = "ClusterRole" if only is None else "Role"
    role = {
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": list(resources), "verbs": ["list", "watch"]}],
    }
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "gate"}],
    }
    for path, body in ((f"{kind.lower()}s", role), (f"{kind.lower()}bindings", binding)):
        try:
            await plane.admin.call("POST", f"{where}/{path}", body)
        except KubeError as error:
            if error.status != 409:
                raise


@asynccontextmanager
async def watching(
    plane: ControlPlane,
    namespace: str,
    folder: Path,
    *,
    review: Mapping[str, Any] | None = None,
    sees: bool = True,
    own: str | None = None,
    **watch: Any,
) -> AsyncIterator[Gate]:
    """Run a gate with the account `gate` of a namespace. `watch` and `review` add to its configuration.

    `own` is a token of that account, if the caller has one.
    """
    own = own or await plane.gate_token(namespace)
    cluster = {"revocation": "watch", "watch": watch, "tokenReview": dict(review or {})}
    async with Gate(write_configuration(folder, plane, own, cluster=cluster)) as gate:
        await gate.has_keys(within=30)
        if sees:
            await comes_to_see(gate, within=30)
        yield gate


async def comes_to_see(gate: RunningGate, *, within: float) -> None:
    """Wait until every watch is current."""

    async def sees() -> bool:
        return "last event" in (told := await watched(gate)) and "blind" not in told

    await until(sees, within=within)


async def watched(gate: RunningGate) -> str:
    """Return the text of `/readyz?verbose` about the watches."""
    body = (await gate.admin("/readyz?verbose")).body
    return body.partition("watch of ")[2]


async def pod_token(plane: ControlPlane, namespace: str, pod: str) -> tuple[str, BoundObject]:
    """Create a pod; return a token of account `app` that is bound to it, and the pod."""
    if not await _has_app(plane, namespace):
        await plane.admin.create_service_account(namespace, "app")
    bound = await plane.admin.create_pod(namespace, pod, account="app")
    return await plane.admin.request_token(namespace, "app", [AUDIENCE], bound_object=bound), bound


async def _has_app(plane: ControlPlane, namespace: str) -> bool:
    try:
        await plane.admin.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/app")
    except KubeError as error:
        if error.status == 404:
            return False
        raise
    return True


async def refusal_time(gate: RunningGate, token: str, *, within: float) -> float:
    """Wait until the gate denies a token because its object was deleted, and return the seconds it took."""
    started = time.monotonic()

    async def refused() -> bool:
        return await gate.verdict(token) == (401, "object_deleted")

    await until(refused, within=within)
    return time.monotonic() - started
