"""`headers`, `cache`, `server`, `limits`, `log` and `shutdown`: how the gate serves."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from authgate.config.fields import ConfigModel, FilePath, Listen, Refused, Seconds, Some, different

Proxy = Literal["nginx", "ingress-nginx", "envoy", "traefik", "caddy", "haproxy"]


class HeadersConfig(ConfigModel):
    """How an identity is told to the proxy."""

    preset: Literal["oauth2-proxy", "kubernetes", "remote"] = Field(
        default="oauth2-proxy", description="The set of headers that tell who passed."
    )
    max_bytes: int = Field(
        default=16384, ge=512, le=1048576, description="The most that an answer's identity headers may take."
    )


class CacheConfig(ConfigModel):
    """How long verdicts are remembered."""

    max_entries: int = Field(
        default=100000, ge=1, le=10000000, description="Verdicts that are kept, at most."
    )
    ttl: Annotated[float, Seconds(at_most=86400)] = Field(
        default=60.0, description="How long a good token's verdict is kept; never longer than the token."
    )
    negative_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=5.0, description="How long a final rejection is kept."
    )


class TLSConfig(ConfigModel):
    """TLS on the TCP addresses of `listen`."""

    cert_file: FilePath = Field(description="The server's PEM certificate, followed by its chain.")
    key_file: FilePath = Field(description="The certificate's PEM private key, not encrypted.")
    client_ca_file: FilePath | None = Field(
        default=None, description="PEM certificates that clients must chain to; null: clients need none."
    )


class ServerConfig(ConfigModel):
    """Where the gate listens, and for which proxy."""

    refused: ClassVar = {
        "grpc": Refused("this version has no gRPC listener; use Envoy's HTTP ext_authz"),
        "workers": Refused("this version runs one worker; start more instances instead", 1),
    }

    listen: Annotated[Some[Listen], different] = Field(
        default=("0.0.0.0:8080",),
        description='Where /verify is served: "host:port", "[v6]:port", ":port" or "unix:/path".',
    )
    admin: Listen | None = Field(
        default="0.0.0.0:9090",
        description="Where metrics and probes are served, never a verify address; null: nowhere.",
    )
    proxy: Proxy = Field(
        default="nginx", description="The proxy that asks: which headers tell the original request."
    )
    tls: TLSConfig | None = Field(
        default=None, description="TLS on the TCP addresses of listen; null: plain HTTP."
    )
    fast_lane: bool = Field(
        default=True,
        description="Answer plain requests ahead of the general HTTP server; the answers are the same.",
    )
    keepalive_timeout: Annotated[float, Seconds(at_most=3600)] = Field(
        default=75.0, description="How long an idle connection is kept; longer than the proxy keeps it."
    )


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
    max_connections: int = Field(
        default=10000, ge=1, le=1000000, description="Connections that are open at once."
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
