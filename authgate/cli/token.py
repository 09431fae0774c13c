"""`authgate token`."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from authgate.cli.terminal import FAILED, USAGE, complain, fail, print_json
from authgate.vocabulary import SERVICE_ACCOUNT_USER

if TYPE_CHECKING:
    from authgate.cluster.connection import ConnectionSettings
    from authgate.cluster.token_request import IssuedToken, TokenAnswer, TokenRefusal, TokenSpec

_TIMEOUT: Final = 10.0
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_RBAC: Final = "rbac.authorization.k8s.io"


class TokenOutput(StrEnum):
    """How a token is printed."""

    RAW = "raw"
    JSON = "json"


def token(
    *,
    account: Annotated[str, typer.Argument(metavar="SERVICEACCOUNT", help="Whose token is asked for.")],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="The account's namespace.")
    ],
    audience: Annotated[
        list[str], typer.Option(metavar="A", help="Who shall accept the token; may be repeated.")
    ],
    duration: Annotated[
        str, typer.Option(metavar="TIME", help="How long it shall live, 10m or more.")
    ] = "1h",
    bound_pod: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The pod that it shall end with.", show_default=False),
    ] = None,
    bound_secret: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The secret that it shall end with.", show_default=False),
    ] = None,
    output: Annotated[
        TokenOutput, typer.Option("--output", "-o", help="The token alone, or the TokenRequest.")
    ] = TokenOutput.RAW,
    kubeconfig: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the cluster is; else the pod's account, $KUBECONFIG, ~/.kube/config.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="The kubeconfig's context.", show_default=False)
    ] = None,
) -> None:
    """Request a ServiceAccount's token from the cluster, as `kubectl create token` does.

    The token alone is printed to standard output; what there is to say of it, to standard error. No configuration
    of a gate is read.
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
            fail(f"{option}: {name!r} is no name of a Kubernetes object: a-z, 0-9, - and .", USAGE)
    if not all(audiences):
        fail("--audience: must not be empty; it is the name that the receiver of the token accepts", USAGE)
    if pod is not None and secret is not None:
        fail("--bound-pod and --bound-secret: a token is bound to one object; give one of them", USAGE)
    bound = None
    if pod is not None:
        bound = BoundObject("Pod", pod)
    elif secret is not None:
        bound = BoundObject("Secret", secret)
    return TokenSpec(namespace, account, tuple(audiences), _whole_seconds(duration), bound)


def _whole_seconds(duration: str) -> int:
    from authgate.config.models.fields import parse_duration

    try:
        seconds = parse_duration(int(duration) if duration.isascii() and duration.isdigit() else duration)
    except ValueError as error:
        fail(f"--duration: {error}", USAGE)
    if seconds < 1 or seconds != int(seconds):
        fail("--duration: must be whole seconds, and the API server gives no less than 10m", USAGE)
    return int(seconds)


async def _requested(access: ConnectionSettings, wanted: TokenSpec) -> TokenAnswer:
    from authgate.cluster.client import ClusterClient

    client = await ClusterClient.connect(access)
    try:
        return await client.request_token(wanted)
    finally:
        await client.close()


def _print(issued: IssuedToken, wanted: TokenSpec, output: TokenOutput) -> None:
    from authgate.cluster.token_request import request_body
    from authgate.config.models.fields import format_duration

    if issued.lifetime != wanted.lifetime:
        asked, given = format_duration(wanted.lifetime), format_duration(issued.lifetime)
        why = (
            "the API server allows no longer (--service-account-max-token-expiration)"
            if issued.lifetime < wanted.lifetime
            else "the API server extends tokens for itself (--service-account-extend-token-expiration)"
        )
        complain(f"the token lives {given}, not {asked} as asked for: {why}")
    if output is TokenOutput.RAW:
        print(issued.text)
        return
    print_json(
        {
            **request_body(wanted),
            "metadata": {"name": wanted.account, "namespace": wanted.namespace},
            "status": {
                "token": issued.text,
                "expirationTimestamp": issued.expires_at,
                "lifetimeSeconds": issued.lifetime,
            },
        }
    )


def _explain(refusal: TokenRefusal, wanted: TokenSpec) -> NoReturn:
    said = f" ({refusal.said})" if refusal.said else ""
    whose = f"ServiceAccount {wanted.account} of namespace {wanted.namespace}"
    match refusal.status:
        case 403:
            who = refusal.user or "the caller"
            complain(
                f"no token: {who} is not allowed to request tokens of {whose}{said}; this Role is missing:"
            )
            print(_missing_role(wanted, refusal.user), file=sys.stderr)
            raise typer.Exit(FAILED)
        case 404 if refusal.resource in {"pods", "secrets"} and wanted.bound_to is not None:
            kind = wanted.bound_to.kind.lower()
            fail(
                f"no token: there is no {kind} {wanted.bound_to.name} in namespace {wanted.namespace}{said};"
                f" see 'kubectl get {kind}s -n {wanted.namespace}'"
            )
        case 404:
            fail(
                f"no token: there is no {whose}{said}; 'kubectl create serviceaccount {wanted.account}"
                f" -n {wanted.namespace}' makes one"
            )
        case 422 if "expirationSeconds" in refusal.said:
            fail(f"no token: the API server refuses --duration{said}; ask for 10m or more")
        case _:
            fail(f"no token: the API server refuses the request with {refusal.status}{said}")


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
    return {"apiGroup": _RBAC, "kind": "User", "name": user or "who shall be allowed"}
