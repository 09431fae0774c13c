"""The configuration as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authgate.config.fields import ConfigModel, DNSLabel, Many, OneOrSeveral
from authgate.config.models_cluster import ClusterConfig
from authgate.config.models_credential import CredentialConfig
from authgate.config.models_headers import HeadersConfig
from authgate.config.models_jwt import JWTIssuerConfig
from authgate.config.models_policy import PolicyConfig
from authgate.config.models_server import (
    CacheConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    ShutdownConfig,
)
from authgate.config.models_tokens import ExchangeConfig, IdentityTokenConfig, SigningConfig


def _any_authenticated() -> dict[str, PolicyConfig]:
    return {"default": PolicyConfig()}


class Config(ConfigModel):
    """authgate's configuration."""

    api_version: Literal["authgate.dev/v1alpha1"] | None = Field(
        default=None, description="The version of this format; may be left out."
    )
    kind: Literal["AuthgateConfiguration"] | None = Field(default=None, description="May be left out.")
    cluster: OneOrSeveral[ClusterConfig] | None = Field(
        default=None,
        description="The Kubernetes cluster whose ServiceAccount tokens are accepted, or a list of them; null: none.",
    )
    jwt: Many[JWTIssuerConfig] = Field(
        default=(), description="Other issuers, as in kube-apiserver's AuthenticationConfiguration."
    )
    credential: CredentialConfig = Field(
        default_factory=CredentialConfig, description="Where a request's token may stand."
    )
    policies: Annotated[dict[DNSLabel, PolicyConfig], Field(min_length=1, max_length=100)] = Field(
        default_factory=_any_authenticated,
        description="Who may pass, by policy: default is asked at /verify, others at /policies/<name>/verify. "
        "Left out: any authenticated identity passes.",
    )
    headers: HeadersConfig = Field(
        default_factory=HeadersConfig, description="How an identity is told to the proxy."
    )
    signing: SigningConfig | None = Field(
        default=None,
        description="In whose name and with which keys the gate signs tokens of its own; null: none.",
    )
    identity_token: IdentityTokenConfig | None = Field(
        default=None, description="A signed statement of who passed, in a header for the app; null: none."
    )
    exchange: ExchangeConfig | None = Field(
        default=None, description="Token exchange (RFC 8693) on a listener of its own; null: none."
    )
    cache: CacheConfig = Field(default_factory=CacheConfig, description="How long verdicts are remembered.")
    server: ServerConfig = Field(
        default_factory=ServerConfig, description="Where the gate listens, and for which proxy."
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="What a request may cost.")
    log: LogConfig = Field(default_factory=LogConfig, description="What is written to the log.")
    shutdown: ShutdownConfig = Field(default_factory=ShutdownConfig, description="How the gate ends.")

    @property
    def clusters(self) -> tuple[ClusterConfig, ...]:
        """The clusters, however many there are."""
        match self.cluster:
            case None:
                return ()
            case ClusterConfig():
                return (self.cluster,)
            case _:
                return self.cluster
