"""Check a configuration on the machine where it will run: contact each issuer and cluster as a gate would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from authgate.config import JWTIssuerConfig, issuer_url
from authgate.config.models.fields import NO_HTTP, TENANT
from authgate.keys.sources import WELL_KNOWN
from authgate.tools.doctor.clusters import examine_cluster
from authgate.tools.doctor.findings import Finding, Level, bad
from authgate.tools.doctor.introspection import examine_introspection
from authgate.tools.doctor.issuers import examine_issuer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authgate.compose import Dependencies
    from authgate.config import Config

__all__ = ["Finding", "Level", "examine", "examine_url"]

_MAX_URL: Final = 2048  # as in the configuration
_ONLY_A_NAME: Final = (
    "if the tokens have this text in `iss`, set issuer.url to it and gate.jwksURL to the https:// URL"
    " of the keys"
)


async def examine(config: Config, deps: Dependencies) -> list[Finding]:
    """Return the findings in the order of the configuration; problems never raise an exception.

    Nothing is changed: documents are read, and self-reviews show what the gate's account may do.
    """
    found = await asyncio.gather(
        _examine_clusters(config, deps),
        *(examine_issuer(item, deps.environ) for item in config.jwt),
        *(examine_introspection(item, deps) for item in config.introspection),
    )
    return [finding for findings in found for finding in findings]


async def examine_url(url: str, environ: Mapping[str, str]) -> list[Finding]:
    """Return the findings about an issuer that is not configured; `url` may also be its discovery document's."""
    url = url.removesuffix(WELL_KNOWN)
    try:
        if len(url) > _MAX_URL:
            raise ValueError(f"must have at most {_MAX_URL} characters")
        issuer_url(url)
    except ValueError as error:
        remedy = f"use the issuer's https:// URL, exactly as its tokens have it in `iss`; {_ONLY_A_NAME}"
        if TENANT in url:
            remedy = f"write your tenant's id instead of {TENANT}"
        elif str(error) == NO_HTTP:
            remedy = (
                f"configure the provider's external https:// address (Keycloak: KC_HOSTNAME); {_ONLY_A_NAME}"
            )
        return [bad("issuer", f"the URL {error}", remedy)]  # it is not quoted: it may have a password
    entry = {
        "issuer": {"url": url, "audiences": ["any"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }
    return await examine_issuer(JWTIssuerConfig.model_validate(entry, by_alias=True, by_name=False), environ)


async def _examine_clusters(config: Config, deps: Dependencies) -> list[Finding]:
    # Sequentially: the first cluster with an issuer owns it.
    owners = {issuer: f"cluster '{item.name}'" for item in config.clusters for issuer in item.issuers}
    owners |= {name: "jwt" for item in config.jwt for name in item.issuer_names}
    reviews_access = any(True for policy in config.policies.values() for _ in policy.access_reviews())
    found: list[Finding] = []
    for item in config.clusters:
        found += await examine_cluster(item, deps, owners, reviews_access=reviews_access)
    return found
