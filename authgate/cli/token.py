"""`authgate token`."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from authgate.cli.terminal import FAILED, USAGE, Output, complain, fail, print_data
from authgate.vocabulary import SERVICE_ACCOUNT_USER

if TYPE_CHECKING:
    from authgate.cluster.connection import ConnectionSettings
    from authgate.cluster.token_request import IssuedToken, TokenAnswer, TokenRefusal, TokenSpec

_TIMEOUT: Final = 10.0
_MIN_LIFETIME: Final = 600  # seconds; a rule of the API server's TokenRequest
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_RBAC: Final = "rbac.authorization.k8s.io"


class TokenOutput(StrEnum):
    """The output format of a token."""

    RAW = "raw"
    JSON = "json"
    YAML = "yaml"


def token(
    *,
    account: Annotated[str, typer.Argument(metavar="SERVICEACCOUNT", help="The name of the ServiceAccount.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="The namespace of the ServiceAccount.")
    ],
    audience: Annotated[list[str], typer.Option(metavar="A", help="An audience of the token; repeatable.")],
    duration: Annotated[
        str, typer.Option(metavar="TIME", help="The lifetime of the token, 10m or more.")
    ] = "1h",
    bound_pod: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Bind the token to this pod: it becomes invalid when the pod is deleted.",
            show_default=False,
        ),
    ] = None,
    bound_secret: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Bind the token to this secret.", show_default=False),
    ] = None,
    output: Annotated[
        TokenOutput, typer.Option("--output", "-o", help="raw: only the token; json, yaml: the TokenRequest.")
    ] = TokenOutput.RAW,
    kubeconfig: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The kubeconfig; by default the pod's account, $KUBECONFIG or ~/.kube/config.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="The context in the kubeconfig.", show_default=False)
    ] = None,
) -> None:
    """Request a ServiceAccount token from the cluster, as `kubectl create token` does.

    Prints only the token to standard output, and notes about it to standard error. Does not read a gate's
    configuration.
    """
    import asyncio

    from authgate.cluster.api import ApiError
    from authgate.cluster.connection import ClusterConfigError, ConnectionSettings
    from authgate.cluster.token_request import IssuedToken, TokenRefusal
    from authgate.observability.log import configure

    wanted = _wanted(account, namespace, audience, duration, pod=bound_pod, secret=bound_secret)
    access = ConnectionSettings(kubeconfig=kubeconfig, context=context, timeout=_TIMEOUT, environ=os.environ)
    configure("error", "text")
    try:
        answer = asyncio.run(_requested(access, wanted))
    except ClusterConfigError as error:
        fail(str(error).replace("cluster.kubeconfig", "--kubeconfig"))
    except ApiError as error:
        fail(f"no token: {error.detail}")
    match answer:
        case TokenRefusal():
            _explain(answer, wanted)
        case IssuedToken():
            _print(answer, wanted, output)


def _wanted(
    account: str, namespace: str, audiences: list[str], duration: str, *, pod: str | None, secret: str | None
) -> TokenSpec:
    from authgate.cluster.token_request import BoundObject, TokenSpec

    named = {
        "SERVICEACCOUNT": account,
        "--namespace": namespace,
        "--bound-pod": pod,
        "--bound-secret": secret,
    }
    for option, name in named.items():
        if name is not None and not _NAME.fullmatch(name):
            fail(f"{option}: {name!r} is not a Kubernetes name; use only a-z, 0-9, - and .", USAGE)
    if not all(audiences):
        fail("--audience: must not be empty; give a name that the recipient of the token accepts", USAGE)
    if pod is not None and secret is not None:
        fail("give --bound-pod or --bound-secret, not both: a token is bound to one object", USAGE)
    bound = None
    if pod is not None:
        bound = BoundObject("Pod", pod)
    elif secret is not None:
        bound = BoundObject("Secret", secret)
    return TokenSpec(
        namespace=namespace,
        account=account,
        audiences=tuple(audiences),
        lifetime=_whole_seconds(duration),
        bound_to=bound,
    )


def _whole_seconds(duration: str) -> int:
    from authgate.config.models.fields import parse_duration

    try:
        seconds = parse_duration(int(duration) if duration.isascii() and duration.isdigit() else duration)
    except ValueError as error:
        fail(f"--duration: {error}", USAGE)
    if seconds < _MIN_LIFETIME:
        unit = " (without a unit, the number is seconds)" if duration.isdigit() else ""
        fail(f"--duration: must be 10m or more, but is {duration}{unit}; write it as 10m or 1h", USAGE)
    if seconds != int(seconds):
        fail("--duration: must be whole seconds", USAGE)
    return int(seconds)


async def _requested(access: ConnectionSettings, wanted: TokenSpec) -> TokenAnswer:
    from authgate.cluster.client import ClusterClient

    client = await ClusterClient.connect(access)
    try:
        return await client.request_token(wanted)
    finally:
        await client.close()


def _print(issued: IssuedToken, wanted: TokenSpec, output: TokenOutput) -> None:
    from authgate.config import format_duration

    if issued.lifetime != wanted.lifetime:
        asked, given = format_duration(wanted.lifetime), format_duration(issued.lifetime)
        why = (
            "the API server limits it (--service-account-max-token-expiration)"
            if issued.lifetime < wanted.lifetime
            else "the API server extends its own tokens (--service-account-extend-token-expiration)"
        )
        complain(f"the token's lifetime is {given} instead of the requested {asked}: {why}")
    if output is TokenOutput.RAW:
        print(issued.text)
        return
    spec: dict[str, object] = {"audiences": list(wanted.audiences), "expirationSeconds": wanted.lifetime}
    if wanted.bound_to is not None:
        bound = wanted.bound_to
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": bound.kind, "name": bound.name}
    print_data(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
            "metadata": {"name": wanted.account, "namespace": wanted.namespace},
            "status": {
                "token": issued.text,
                "expirationTimestamp": issued.expires_at,
                "lifetimeSeconds": issued.lifetime,
            },
        },
        Output(output.value),
    )


def _explain(refusal: TokenRefusal, wanted: TokenSpec) -> NoReturn:
    message = f" ({refusal.message})" if refusal.message else ""
    account = f"ServiceAccount {wanted.account} in namespace {wanted.namespace}"
    match refusal.status:
        case 403:
            user = refusal.user or "the caller"
            complain(
                f"no token: {user} is not allowed to request tokens of {account}{message}; create this Role:"
            )
            print(_missing_role(wanted, refusal.user), file=sys.stderr)
            raise typer.Exit(FAILED)
        case 404 if refusal.resource in {"pods", "secrets"} and wanted.bound_to is not None:
            kind = wanted.bound_to.kind.lower()
            fail(
                f"no token: {kind} {wanted.bound_to.name} does not exist in namespace {wanted.namespace}{message};"
                f" see 'kubectl get {kind}s -n {wanted.namespace}'"
            )
        case 404 if refusal.resource == "namespaces":
            fail(
                f"no token: namespace {wanted.namespace} does not exist{message};"
                " check --namespace, and see 'kubectl get namespaces'"
            )
        case 404:
            fail(
                f"no token: {account} does not exist{message};"
                f" create it with 'kubectl create serviceaccount {wanted.account} -n {wanted.namespace}'"
            )
        case 422 if "expirationSeconds" in refusal.message:
            fail(f"no token: the API server rejects --duration{message}; ask for 10m or more")
        case _:
            fail(f"no token: the API server rejects the request with {refusal.status}{message}")


def _missing_role(wanted: TokenSpec, user: str) -> str:
    import yaml

    name = f"token-of-{wanted.account}"
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": wanted.namespace},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "resourceNames": [wanted.account],
                "verbs": ["create"],
            }
        ],
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": wanted.namespace},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [_subject(user)],
    }
    return str(yaml.safe_dump_all([role, binding], sort_keys=False)).rstrip()


def _subject(user: str) -> dict[str, str]:
    account = SERVICE_ACCOUNT_USER.fullmatch(user)
    if account is not None:
        return {"kind": "ServiceAccount", "name": account[2], "namespace": account[1]}
    return {"apiGroup": _RBAC, "kind": "User", "name": user or "USER"}
