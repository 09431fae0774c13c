"""What `authgate dev` shows: a small cluster that runs, and the files to try the gate with."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from authgate.dev.compact import Clock
from authgate.dev.keys import SigningKey
from authgate.dev.kube import DEFAULT_ISSUER, KubeState, Permission
from authgate.dev.kube_api import KubeAPI
from authgate.dev.server import EmbeddedServer, Site
from authgate.dev.tls import throwaway_certificate

AUDIENCE: Final = "my-audience"
OTHER_AUDIENCE: Final = "other-audience"
LEGACY_AUDIENCE: Final = DEFAULT_ISSUER
"""The API server's own audience, under which it reviews static tokens."""

TOKEN_LIFETIME: Final = 24 * 3600.0
"""Seconds; longer than a pod's tokens live, so that what was printed in the morning works in the evening."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A running cluster and its files, all below `folder` and readable by their owner alone."""

    folder: Path
    token_file: Path
    other_audience_file: Path
    reviewed_file: Path
    kubeconfig: Path
    ca_file: Path
    issuer_url: str
    api_url: str
    server: EmbeddedServer
    api: KubeAPI
    state: KubeState


@asynccontextmanager
async def running_scenario(
    folder: Path,
    *,
    port: int = 0,
    key: SigningKey | None = None,
    issuer_url: str = DEFAULT_ISSUER,
    clock: Clock = time.time,
    further_sites: Sequence[Site] = (),
) -> AsyncIterator[Scenario]:
    """Starts the cluster, writes the files, and stops it at the end; the files stay.

    `token` holds a good token of `default/demo` for `AUDIENCE`, `other-audience.token` one for `OTHER_AUDIENCE`, and
    `reviewed.token` an opaque one that only a TokenReview under `LEGACY_AUDIENCE` can decide. The kubeconfig's user
    may read the issuer's keys and review tokens; its token stands in a file of its own, which may be rewritten.

    OSError where the folder cannot be used or the port is taken.
    """
    folder = _private_folder(folder)
    state = KubeState(key or SigningKey.generate("RS256"), issuer_url=issuer_url, clock=clock)
    demo = state.service_account("demo")
    gate = state.service_account("authgate", namespace="authgate")
    state.allow(gate.username, Permission.REVIEW_TOKENS)
    reviewed = state.static_token("demo-operator", groups=("operators",))
    files = {
        "token": state.account_token(demo, (AUDIENCE,), lifetime=TOKEN_LIFETIME),
        "other-audience.token": state.account_token(demo, (OTHER_AUDIENCE,), lifetime=TOKEN_LIFETIME),
        "reviewed.token": reviewed,
        "authgate.token": state.account_token(gate, state.api_audiences, lifetime=TOKEN_LIFETIME),
    }
    certificate = throwaway_certificate()
    api = KubeAPI(state)
    server = EmbeddedServer(api, *further_sites, port=port, certificate=certificate)
    async with server:
        files["ca.crt"] = certificate.ca_pem.decode("ascii")
        files["kubeconfig"] = _kubeconfig(server.url, folder / "ca.crt", folder / "authgate.token")
        for name, content in files.items():
            _write_private(folder / name, content)
        yield Scenario(
            folder=folder,
            token_file=folder / "token",
            other_audience_file=folder / "other-audience.token",
            reviewed_file=folder / "reviewed.token",
            kubeconfig=folder / "kubeconfig",
            ca_file=folder / "ca.crt",
            issuer_url=state.issuer.url,
            api_url=server.url,
            server=server,
            api=api,
            state=state,
        )


def _private_folder(folder: Path) -> Path:
    """The folder's absolute path, made if it is missing; one that others can look into is refused, not changed."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise PermissionError(
            errno.EPERM,
            "others can look into this folder, where tokens would be written: chmod 700 it, or name a new one",
            str(folder),
        )
    return folder


def _write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)


def _kubeconfig(api_url: str, ca_file: Path, token_file: Path) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "dev", "cluster": {"server": api_url, "certificate-authority": str(ca_file)}}
            ],
            "users": [{"name": "authgate", "user": {"tokenFile": str(token_file)}}],
            "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "authgate"}}],
            "current-context": "dev",
        },
        sort_keys=False,
    )
