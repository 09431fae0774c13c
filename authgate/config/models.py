"""The configuration as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authgate.config.fields import ConfigModel, DNSLabel, Many
from authgate.config.models_cluster import ClusterConfig
from authgate.config.models_jwt import JWTIssuerConfig
from authgate.config.models_policy import PolicyConfig
from authgate.config.models_server import (
    CacheConfig,
    HeadersConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    ShutdownConfig,
)


def _any_authenticated() -> dict[str, PolicyConfig]:
    return {"default": PolicyConfig()}


class Config(ConfigModel):
    """authgate's configuration."""

    api_version: Literal["authgate.dev/v1alpha1"] | None = Field(
        default=None, description="The version of this format; may be left out."
    )
    kind: Literal["AuthgateConfiguration"] | None = Field(default=None, description="May be left out.")
    cluster: ClusterConfig | None = Field(
        default=None,
        description="The Kubernetes cluster whose ServiceAccount tokens are accepted; null: none.",
    )
    jwt: Many[JWTIssuerConfig] = Field(
        default=(), description="Other issuers, as in kube-apiserver's AuthenticationConfiguration."
    )
    policies: Annotated[dict[DNSLabel, PolicyConfig], Field(min_length=1, max_length=100)] = Field(
        default_factory=_any_authenticated,
        description="Who may pass, by policy: default is asked at /verify, others at /policies/<name>/verify. "
        "Left out: any authenticated identity passes.",
    )
    headers: HeadersConfig = Field(
        default_factory=HeadersConfig, description="How an identity is told to the proxy."
    )
    cache: CacheConfig = Field(default_factory=CacheConfig, description="How long verdicts are remembered.")
    server: ServerConfig = Field(
        default_factory=ServerConfig, description="Where the gate listens, and for which proxy."
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="What a request may cost.")
    log: LogConfig = Field(default_factory=LogConfig, description="What is written to the log.")
    shutdown: ShutdownConfig = Field(default_factory=ShutdownConfig, description="How the gate ends.")
