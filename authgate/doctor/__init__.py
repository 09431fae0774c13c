"""Examining a configuration where it is to run: each issuer and cluster is asked what a gate would ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from authgate.doctor.clusters import examine_cluster
from authgate.doctor.findings import Finding, Level
from authgate.doctor.issuers import examine_issuer

if TYPE_CHECKING:
    from authgate.compose import Surroundings
    from authgate.config import Config

__all__ = ["Finding", "Level", "examine"]


async def examine(config: Config, around: Surroundings) -> list[Finding]:
    """Return what is right and what is not, in the order of the configuration; never raises for what it finds.

    Nothing is changed anywhere: documents are read, and the API server is asked what the gate's account may do.
    """
    taken = frozenset(item.issuer.url for item in config.jwt)
    clusters = [config.cluster] if config.cluster is not None else []
    reviews_access = any(policy.access_review is not None for policy in config.policies.values())
    found = await asyncio.gather(
        *(examine_cluster(item, around, taken, reviews_access=reviews_access) for item in clusters),
        *(examine_issuer(item) for item in config.jwt),
    )
    return [finding for findings in found for finding in findings]
