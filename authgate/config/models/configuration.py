"""The configuration as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from authgate.config.models.cluster import ClusterConfig
from authgate.config.models.fields import (
    LABEL,
    ConfigModel,
    DNSLabel,
    Many,
    OneOrSeveral,
    default_name,
    default_names,
)
from authgate.config.models.headers import HeadersConfig
from authgate.config.models.introspection import IntrospectionConfig
from authgate.config.models.jwt import JWTIssuerConfig
from authgate.config.models.policy import PolicyConfig, PolicyVersionConfig
from authgate.config.models.server import (
    AdminConfig,
    CacheConfig,
    LimitsConfig,
    LogConfig,
    ServerConfig,
    ShutdownConfig,
)
from authgate.config.models.tokens import (
    CredentialConfig,
    ExchangeConfig,
    IdentityTokenConfig,
    SigningConfig,
)
from authgate.config.models.tracing import TracingConfig
from authgate.config.problems import Path
from authgate.vocabulary import DEFAULT_POLICY


def _unnamed_url(item: object) -> str | None:
    """Return the URL of an issuer that has no name, or None if there is a name or the issuer is not valid."""
    if not isinstance(item, dict) or not isinstance(issuer := item.get("issuer"), dict):
        return None
    gate, url = item.get("gate"), issuer.get("url")
    if gate is not None and (not isinstance(gate, dict) or gate.get("name") is not None):
        return None
    return url if isinstance(url, str) else None


def _with_name(item: object, name: str | None) -> object:
    # `JWTIssuerConfig.name` returns the usual default itself.
    if name is None or not isinstance(item, dict) or name == default_name(item["issuer"]["url"]):
        return item
    if not re.fullmatch(LABEL, name, re.ASCII):
        return item  # a check reports that the issuer needs a name
    return {**item, "gate": {**(item.get("gate") or {}), "name": name}}


def _any_authenticated() -> dict[str, PolicyConfig]:
    return {DEFAULT_POLICY: PolicyConfig()}


class Config(ConfigModel):
    """authgate's configuration."""

    api_version: Literal["authgate.dev/v1alpha1"] | None = Field(
        default=None, description="The version of this format. Optional."
    )
    kind: Literal["AuthgateConfiguration"] | None = Field(
        default=None, description="The kind of this format. Optional."
    )
    cluster: OneOrSeveral[ClusterConfig] | None = Field(
        default=None,
        description="The Kubernetes cluster whose ServiceAccount tokens are accepted, or a list of them; null: none.",
    )
    jwt: Many[JWTIssuerConfig] = Field(
        default=(), description="Other issuers, as in kube-apiserver's AuthenticationConfiguration."
    )
    introspection: Many[IntrospectionConfig] = Field(
        default=(), description="Authorization servers that are asked about tokens (RFC 7662)."
    )
    credential: CredentialConfig = Field(
        default_factory=CredentialConfig, description="Where requests can have their token."
    )
    policies: Annotated[dict[DNSLabel, PolicyConfig], Field(min_length=1, max_length=1000)] = Field(
        default_factory=_any_authenticated,
        description="The policies: default is used at /verify, others at /policies/<name>/verify. "
        "If left out, every authenticated identity is allowed.",
    )
    headers: HeadersConfig = Field(
        default_factory=HeadersConfig, description="The headers with the identity."
    )
    signing: SigningConfig | None = Field(
        default=None,
        description="The issuer and keys of tokens that authgate signs itself; null: none.",
    )
    identity_token: IdentityTokenConfig | None = Field(
        default=None,
        description="A header with a signed token that names the identity to the app; null: none.",
    )
    exchange: ExchangeConfig | None = Field(
        default=None, description="Token exchange (RFC 8693) on its own address; null: none."
    )
    cache: CacheConfig = Field(
        default_factory=CacheConfig, description="How many verdicts are cached, and how long."
    )
    server: ServerConfig = Field(
        default_factory=ServerConfig, description="The addresses to listen on, and the proxy in front."
    )
    admin: AdminConfig = Field(
        default_factory=AdminConfig,
        description="What the admin port shows; its address is server.admin.",
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="Limits of requests and connections."
    )
    log: LogConfig = Field(default_factory=LogConfig, description="The log.")
    tracing: TracingConfig | None = Field(
        default=None, description="Spans of requests, sent to a collector of OpenTelemetry; null: none."
    )
    shutdown: ShutdownConfig = Field(default_factory=ShutdownConfig, description="How authgate shuts down.")

    @model_validator(mode="before")
    @classmethod
    def _issuers_on_one_host_have_names(cls, data: object) -> object:
        """Name issuers that share a host by host and path, such as realms of Keycloak."""
        if not isinstance(data, dict) or not isinstance(items := data.get("jwt"), list | tuple):
            return data
        return {**data, "jwt": tuple(map(_with_name, items, default_names(list(map(_unnamed_url, items)))))}

    @property
    def kept_decisions(self) -> int:
        """How many decisions are kept for the admin port: none if everyone who can reach it could read them.

        A reload can change `admin`, but not `server.admin`, so the check of the file is not enough.
        """
        address = self.server.admin
        protected = self.admin.policy is not None or (address is not None and address.is_local)
        return self.admin.recent_decisions if protected and self.admin.page else 0

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

    def located_clusters(self) -> Iterator[tuple[Path, ClusterConfig]]:
        """Yield the clusters with their paths."""
        if isinstance(self.cluster, ClusterConfig):
            yield ("cluster",), self.cluster
        else:
            yield from ((("cluster", index), cluster) for index, cluster in enumerate(self.cluster or ()))

    def versions(self) -> Iterator[tuple[Path, PolicyVersionConfig]]:
        """Yield the policies and their shadows with their paths."""
        for name, policy in self.policies.items():
            yield ("policies", name), policy
            if policy.shadow is not None:
                yield ("policies", name, "shadow"), policy.shadow
