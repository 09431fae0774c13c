"""The demo cluster of `authgate dev`, and the files to try the gate with."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import yaml

from authgate.dev.keys import SigningKey
from authgate.dev.kube import DEFAULT_ISSUER, KubeState, Permission
from authgate.dev.kube_api import KubeAPI
from authgate.dev.tls import throwaway_certificate

AUDIENCE: Final = "my-audience"
OTHER_AUDIENCE: Final = "other-audience"
LEGACY_AUDIENCE: Final = DEFAULT_ISSUER
"""The API server's own audience, for which it reviews static tokens."""

TOKEN_LIFETIME: Final = 24 * 3600.0
"""Seconds; long enough that a command printed in the morning works in the evening."""


class Scenario:
    """A small cluster with three tokens to try, and files in a folder that only its owner can read.

    `token` holds a valid token of `default/demo` for `AUDIENCE`, `other-audience.token` one for `OTHER_AUDIENCE`, and
    `reviewed.token` an opaque one that only a TokenReview for `LEGACY_AUDIENCE` can decide. The kubeconfig's user may
    read the issuer's keys and review tokens; its token is in a file of its own, which may be rewritten.

    Raises OSError if the folder cannot be used.
    """

    def __init__(
        self, folder: Path, *, key: SigningKey | None = None, issuer_url: str = DEFAULT_ISSUER
    ) -> None:
        self.folder = _private_folder(folder)
        self.token_file = self.folder / "token"
        self.other_audience_file = self.folder / "other-audience.token"
        self.reviewed_file = self.folder / "reviewed.token"
        self.kubeconfig = self.folder / "kubeconfig"
        self.ca_file = self.folder / "ca.crt"
        self.certificate = throwaway_certificate()
        self.state = KubeState(key or SigningKey.generate("RS256"), issuer_url=issuer_url)
        self.api = KubeAPI(self.state)
        self._gate = self.state.service_account("authgate", namespace="authgate")
        self.state.allow(self._gate.username, Permission.REVIEW_TOKENS)

    def write_files(self, api_url: str) -> None:
        """Write the tokens, and a kubeconfig for the API server at `api_url`."""
        state, demo = self.state, self.state.service_account("demo")
        gate_token_file = self.folder / "authgate.token"
        contents = {
            self.token_file: state.account_token(demo, (AUDIENCE,), lifetime=TOKEN_LIFETIME),
            self.other_audience_file: state.account_token(demo, (OTHER_AUDIENCE,), lifetime=TOKEN_LIFETIME),
            self.reviewed_file: state.static_token("demo-operator", groups=("operators",)),
            gate_token_file: state.account_token(self._gate, state.api_audiences, lifetime=TOKEN_LIFETIME),
            self.ca_file: self.certificate.ca_pem.decode("ascii"),
            self.kubeconfig: _kubeconfig(api_url, self.ca_file, gate_token_file),
        }
        for path, content in contents.items():
            _write_private(path, content)


def _private_folder(folder: Path) -> Path:
    """Return the folder's absolute path, and create it if it is missing.

    A folder that other users can read is refused and left unchanged.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise PermissionError(
            errno.EPERM,
            "other users can read this folder, and tokens would be written to it: chmod 700 it, or name a new folder",
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
