"""The log line at startup: what an operator wants to know about a gate that has just started."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authgate import __version__
from authgate.observability.log import event
from authgate.service.reload import digest_of
from authgate.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config import Config

_MAX_NAMES: Final = 20


def log_start(
    config: Config,
    *,
    file: Path | None,
    verify: str,
    admin: str,
    grpc: str,
    exchange: str,
    workers: int,
    keys: Mapping[str, int],
) -> None:
    """Log what is served, and a warning if no policy restricts who may pass.

    `keys` are the numbers of known keys by the names of issuers and clusters.
    """
    event(
        logging.INFO,
        "authgate serves",
        service_version=__version__,
        **({} if file is None else {"config_path": str(file), "config_sha256": digest_of(file)}),
        issuers=_listed(_with_keys((issuer.name for issuer in config.jwt), keys)),
        clusters=_listed(_with_keys((cluster.name for cluster in config.clusters), keys)),
        policies=_listed(config.policies),
        verify=verify,
        admin=admin,
        **({} if config.admin.policy is None else {"admin_policy": config.admin.policy}),
        **({"grpc": grpc} if grpc else {}),
        **({"exchange": exchange} if exchange else {}),
        workers=workers,
    )
    if not any(policy.restricts for policy in config.policies.values()):
        event(
            logging.WARNING,
            "no policy restricts who may pass: every valid token is allowed; set policies.<name>.allow",
            policies=_listed(config.policies),
        )


def _with_keys(names: Iterable[str], keys: Mapping[str, int]) -> Iterable[str]:
    return (f"{name} ({counted(keys[name], 'key')})" if keys.get(name) else name for name in names)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return ", ".join(found[:_MAX_NAMES]) + more
