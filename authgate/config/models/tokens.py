"""`signing`, `identityToken` and `exchange`: tokens that the gate issues itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from authgate.config.models.fields import (
    ConfigModel,
    DNSLabel,
    FilePath,
    IssuerURL,
    Listen,
    Many,
    Seconds,
    SomeExactTexts,
    Text,
    different,
)
from authgate.config.models.headers import HeaderName
from authgate.config.models.server import TLSConfig


class SigningConfig(ConfigModel):
    """In whose name the gate signs, and with which keys."""

    issuer: IssuerURL = Field(
        description="The `iss` of the gate's own tokens; discovery and keys are served for it below this URL."
    )
    key_files: Annotated[Many[FilePath], different] = Field(
        default=(),
        description="PEM private keys (P-256 or Ed25519): the first signs, all are published; none: one is made at"
        " start, and tokens end with the process.",
    )


class IdentityTokenConfig(ConfigModel):
    """A header of allowing answers with a signed statement of who passed."""

    header: HeaderName = Field(default="X-Auth-Identity", description="The header's name.")
    audience: Text = Field(description="Who the token is for: the `aud` that apps check.")
    ttl: Annotated[float, Seconds(at_least=1, at_most=3600)] = Field(
        default=300.0,
        description="How long it lives, at most as long as the sender's own; at least twice cache.ttl.",
    )


class ExchangeConfig(ConfigModel):
    """Token exchange (RFC 8693): a good token for a short-lived one of the gate's own."""

    listen: Listen = Field(
        description="Where POST /token, discovery and keys are served; an address of its own."
    )
    tls: TLSConfig | None = Field(default=None, description="TLS on that address; null: plain HTTP.")
    audiences: Annotated[dict[DNSLabel, SomeExactTexts], Field(min_length=1, max_length=1000)] = Field(
        description="By policy, the audiences that it issues tokens for: default at /token, others at"
        " /policies/<name>/token."
    )
    ttl: Annotated[float, Seconds(at_least=1, at_most=86400)] = Field(
        default=600.0, description="How long an issued token lives, at most as long as the one it stands for."
    )
