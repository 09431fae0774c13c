"""Examining what `cluster.revocation: watch` needs: to list and watch what tokens are bound to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authgate.cluster.access_check import Action
from authgate.cluster.api import ApiError
from authgate.compose.revocation import scopes
from authgate.config.models.fields import format_duration
from authgate.tools.doctor.findings import Finding, good, warning

if TYPE_CHECKING:
    from authgate.cluster.client import ClusterClient
    from authgate.cluster.watch import Scope
    from authgate.config import ClusterConfig


async def watch_findings(subject: str, item: ClusterConfig, api: ClusterClient) -> list[Finding]:
    """Return whether the gate may watch what it is to watch; nothing where it is to watch nothing.

    It is a warning where it may not: TokenReview decides in the watch's place.
    """
    if item.revocation != "watch":
        return []
    watched = list(scopes(item))
    allowed = await asyncio.gather(*(_allowed(api, scope) for scope in watched))
    seen = [str(scope) for scope, may in zip(watched, allowed, strict=True) if may]
    blind = [(scope, str(scope)) for scope, may in zip(watched, allowed, strict=True) if not may]
    found = [good(subject, f"the gate may list and watch {', '.join(seen)}")] if seen else []
    if blind:
        names = ", ".join(name for _, name in blind)
        age = format_duration(item.token_review.max_age)
        kind = "Role and RoleBinding" if item.watch.namespaces else "ClusterRole and ClusterRoleBinding"
        resources = ", ".join(dict.fromkeys(scope.resource for scope, _ in blind))
        found.append(
            warning(
                subject,
                f"the gate may not list and watch {names}: tokens bound to them are reviewed every {age}",
                f'give its account a {kind} with apiGroups [""], resources [{resources}], verbs [list, watch]',
            )
        )
    return found


async def _allowed(api: ClusterClient, scope: Scope) -> bool:
    actions = (Action(verb, "", scope.resource, scope.namespace) for verb in ("list", "watch"))
    try:
        return all([await api.may(action) for action in actions])
    except ApiError:  # what cannot be told is not taken for granted
        return False
