"""`cache`, `server`, `limits`, `log` and `shutdown`: how the gate serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from authgate.config.models.fields import (
    ConfigModel,
    FilePath,
    Listen,
    Seconds,
    Some,
    Workers,
    different,
)
from authgate.listen_address import ListenAddress
from authgate.vocabulary import Proxy


class CacheConfig(ConfigModel):
    """How long verdicts are remembered."""

    max_entries: int = Field(
        default=100000, ge=1, le=10000000, description="Verdicts that are kept, at most."
    )
    max_bytes: int = Field(
        default=268435456,
        ge=1048576,
        le=68719476736,
        description="The bytes that kept verdicts may take, at most, as estimated.",
    )
    ttl: Annotated[float, Seconds(at_most=86400)] = Field(
        default=60.0, description="How long a good token's verdict is kept; never longer than the token."
    )
    negative_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=5.0, description="How long a final rejection is kept."
    )


class TLSConfig(ConfigModel):
    """TLS on the TCP addresses of `listen` and `grpc`."""

    cert_file: FilePath = Field(description="The server's PEM certificate, followed by its chain.")
    key_file: FilePath = Field(description="The certificate's PEM private key, not encrypted.")
    client_ca_file: FilePath | None = Field(
        default=None, description="PEM certificates that clients must chain to; null: clients need none."
    )


class ServerConfig(ConfigModel):
    """Where the gate listens, and for which proxy."""

    listen: Annotated[Some[Listen], different] = Field(
        default=(ListenAddress("0.0.0.0", 8080),),  # noqa: S104 - so that proxies in other pods can reach it
        description='Where /verify is served: "host:port", "[v6]:port", ":port" or "unix:/path".',
    )
    admin: Listen | None = Field(
        default=ListenAddress("0.0.0.0", 9090),  # noqa: S104 - as above
        description="Where metrics and probes are served, never a verify address; null: nowhere.",
    )
    grpc: Listen | None = Field(
        default=None,
        description="Where Envoy's gRPC ext_authz is answered, such as 0.0.0.0:9001; null: nowhere.",
    )
    proxy: Proxy | None = Field(
        default=None,
        description="The proxy that asks over HTTP, so which headers carry the original request; null: its method, "
        "host and path are unknown. Beside grpc: envoy.",
    )
    tls: TLSConfig | None = Field(
        default=None, description="TLS on the TCP addresses of listen and grpc; null: none."
    )
    fast_lane: bool = Field(
        default=True,
        description="Answer plain requests ahead of the general HTTP server; the answers are the same.",
    )
    workers: Workers = Field(
        default=1,
        description="Processes that share the listen addresses; auto: one for each core that the gate may use.",
    )
    reload_interval: Annotated[float, Seconds(at_most=3600)] = Field(
        default=5.0,
        description="How often the configuration file is looked at for a change; 0: on SIGHUP only.",
    )
    keepalive_timeout: Annotated[float, Seconds(at_most=3600)] = Field(
        default=75.0, description="How long an idle connection is kept; longer than the proxy keeps it."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_envoy_beside_grpc(cls, data: object) -> object:
        """Who sets `grpc` has Envoy; of what it asks over HTTP nothing is read that a client could have written."""
        if isinstance(data, dict) and data.get("grpc") and "proxy" not in data:
            return {**data, "proxy": "envoy"}
        return data


class LimitsConfig(ConfigModel):
    """What a request may cost."""

    max_token_bytes: int = Field(
        default=16384, ge=256, le=1048576, description="The longest token that is looked at."
    )
    max_header_bytes: int = Field(
        default=65536,
        ge=1024,
        le=1048576,
        validate_default=True,
        description="The longest header block of a request.",
    )
    max_headers: int = Field(default=128, ge=8, le=10000, description="The most header lines of a request.")
    header_timeout: Annotated[float, Seconds(at_least=0.1, at_most=300)] = Field(
        default=10.0,
        description="How long a client may take to send a request's headers, and may leave answers unread.",
    )
    max_unfinished_header_bytes: int = Field(
        default=67108864,
        ge=8388608,
        le=68719476736,
        description="Memory of a process for headers that have not ended, over all its connections.",
    )
    max_connections: int = Field(
        default=10000,
        ge=1,
        le=1000000,
        description="Connections that are open at once on a listener; fewer where file descriptors do not suffice.",
    )

    @field_validator("max_header_bytes")
    @classmethod
    def _holds_a_token(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("max_token_bytes", 0):
            raise ValueError("must be more than maxTokenBytes: the token comes in a header")
        return value


class LogConfig(ConfigModel):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe entries that are written."
    )
    format: Literal["json", "text"] = Field(
        default="json", description="One JSON object a line, or plain text."
    )
    audit: Literal["none", "deny", "all"] = Field(
        default="deny", description="Which decisions are written to the audit stream."
    )


class ShutdownConfig(ConfigModel):
    """How the gate ends."""

    delay: Annotated[float, Seconds(at_most=600)] = Field(
        default=5.0, description="How long it goes on answering after it has said that it is not ready."
    )
    timeout: Annotated[float, Seconds(at_most=3600)] = Field(
        default=10.0, description="How long open requests may then take to end."
    )
