"""`cache`, `server`, `admin`, `limits`, `log` and `shutdown`: how authgate serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from authgate.config.models.fields import (
    ConfigModel,
    DNSLabel,
    Listen,
    Seconds,
    Some,
    Workers,
    different,
    refuse,
)
from authgate.config.models.files import CertificateFile, ReadableFile, check_key_pair, read_text
from authgate.config.models.headers import HeaderName
from authgate.config.problems import Finding, shown
from authgate.listen_address import ListenAddress
from authgate.vocabulary import Proxy

_GRPC_PACKAGES: Final = ("grpc", "grpc_health", "envoy")


class CacheConfig(ConfigModel):
    """How many verdicts are cached, and how long."""

    max_entries: int = Field(
        default=100000, ge=1, le=10000000, description="The most verdicts that are cached."
    )
    max_bytes: int = Field(
        default=268435456,
        ge=1048576,
        le=68719476736,
        description="The most memory for cached verdicts, in bytes, as estimated.",
    )
    ttl: Annotated[float, Seconds(at_most=86400)] = Field(
        default=60.0,
        description="How long the verdict on a valid token is cached; never longer than the token is valid.",
    )
    negative_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=5.0, description="How long a rejection is cached."
    )


class TLSConfig(ConfigModel):
    """TLS on the TCP addresses of `listen` and `grpc`."""

    cert_file: CertificateFile = Field(description="The server's PEM certificate, followed by its chain.")
    key_file: ReadableFile = Field(description="The certificate's PEM private key, not encrypted.")
    client_ca_file: CertificateFile | None = Field(
        default=None,
        description="PEM certificates of the CAs for clients; null: clients need no certificate.",
    )

    @field_validator("key_file")
    @classmethod
    def _is_the_certificates(cls, value: str, info: ValidationInfo) -> str:
        if "cert_file" in info.data:
            check_key_pair(read_text(info.data["cert_file"]), read_text(value))
        return value


class RequestIDConfig(ConfigModel):
    """The id of each request: taken from the proxy, or generated."""

    header: HeaderName = Field(
        default="X-Request-Id",
        description="The header with the id, in requests of the proxy and in responses.",
    )


class ServerConfig(ConfigModel):
    """The addresses to listen on, and the proxy in front."""

    listen: Annotated[Some[Listen], different] = Field(
        default=(ListenAddress("0.0.0.0", 8080),),  # noqa: S104 - so that proxies in other pods can reach it
        description='The addresses of /verify: "host:port", "[v6]:port", ":port" or "unix:/path".',
    )
    admin: Listen | None = Field(
        default=ListenAddress("0.0.0.0", 9090),  # noqa: S104 - as above
        validate_default=True,
        description="The address of metrics and probes, different from those of /verify; null: none.",
    )
    grpc: Listen | None = Field(
        default=None,
        description="The address of Envoy's gRPC ext_authz, such as 0.0.0.0:9001; null: none.",
    )
    proxy: Proxy | None = Field(
        default=None,
        description="The proxy in front, which decides the headers with the original request; null: its method, host "
        "and path are unknown. With grpc the default is envoy.",
    )
    tls: TLSConfig | None = Field(
        default=None, description="TLS on the TCP addresses of listen and grpc; null: none."
    )
    request_id: RequestIDConfig | None = Field(
        default_factory=RequestIDConfig,
        description="The id of each request, in responses, audit log and log; null: none.",
    )
    fast_lane: bool = Field(
        default=True,
        description="Answer simple requests before the general HTTP server does; the answers are the same.",
    )
    workers: Workers = Field(
        default=1,
        description="Processes that share the addresses; auto: one for each available core.",
    )
    reload_interval: Annotated[float, Seconds(at_most=3600)] = Field(
        default=5.0,
        description="How often the configuration file is checked for changes; 0: only on SIGHUP.",
    )
    keepalive_timeout: Annotated[float, Seconds(at_most=3600)] = Field(
        default=75.0,
        description="How long an idle connection is kept open; must be longer than the proxy keeps it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_to_envoy(cls, data: object) -> object:
        """Make envoy the default with `grpc`: Envoy over HTTP sends nothing that a client could have written."""
        if isinstance(data, dict) and data.get("grpc") and "proxy" not in data:
            return {**data, "proxy": "envoy"}
        return data

    @field_validator("listen")
    @classmethod
    def _can_all_be_opened(cls, value: tuple[ListenAddress, ...]) -> tuple[ListenAddress, ...]:
        problems = ((index, collision(address, value[:index])) for index, address in enumerate(value))
        findings = [
            Finding((index,), problem, shown(str(value[index])))
            for index, problem in problems
            if problem is not None
        ]
        if findings:
            refuse(*findings)
        return value

    @field_validator("admin")
    @classmethod
    def _admin_can_be_opened(cls, value: ListenAddress | None, info: ValidationInfo) -> ListenAddress | None:
        if value is not None and (problem := collision(value, info.data.get("listen", ()))) is not None:
            refuse(Finding((), problem, shown(str(value))))
        return value

    @field_validator("grpc")
    @classmethod
    def _grpc_can_be_opened(cls, value: ListenAddress | None, info: ValidationInfo) -> ListenAddress | None:
        if value is None:
            return None
        if any(
            find_spec(name) is None for name in _GRPC_PACKAGES
        ):  # not imported: a supervisor must not load gRPC
            refuse(
                Finding((), "needs the extra 'grpc': in a checkout of authgate, run: pip install '.[grpc]'")
            )
        others = [*info.data.get("listen", ()), info.data.get("admin")]
        if (problem := collision(_as_grpc_opens(value), filter(None, others))) is not None:
            refuse(Finding((), problem, shown(str(value))))
        return value

    def contradictions(self) -> Iterator[Finding]:
        """Yield a gRPC socket that several workers cannot share."""
        if self.grpc is not None and self.grpc.unix is not None and self.several_workers:
            sentence = "must not be a unix socket with several server.workers: gRPC cannot share one"
            yield Finding(("grpc",), sentence, shown(str(self.grpc)))

    @property
    def several_workers(self) -> bool:
        """Whether more than one process may serve."""
        return self.workers == "auto" or self.workers > 1

    @property
    def knows_requests(self) -> bool:
        """Whether the original request is known: from a proxy's headers, or from Envoy over gRPC."""
        return self.proxy is not None or self.grpc is not None

    @property
    def addresses(self) -> Iterator[ListenAddress]:
        """Every address that is opened, as it is opened."""
        yield from self.listen
        if self.admin is not None:
            yield self.admin
        if self.grpc is not None:
            yield _as_grpc_opens(self.grpc)


def collision(address: ListenAddress, others: Iterable[ListenAddress]) -> str | None:
    """Return why an address cannot be opened beside others, or None if it can."""
    other = next((other for other in others if address.collides_with(other)), None)
    return None if other is None else f"collides with {other}: each address can be opened once"


def _as_grpc_opens(address: ListenAddress) -> ListenAddress:
    """Return an address as gRPC opens it: `0.0.0.0` and `[::]` each mean every IPv4 and IPv6 address."""
    if address.unix is None and address.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return ListenAddress(port=address.port)
    return address


class AdminConfig(ConfigModel):
    """What the admin port shows; its address is `server.admin`."""

    policy: DNSLabel | None = Field(
        default=None,
        description="The policy that requests must pass, except probes; null: everyone may read the admin port.",
    )
    recent_decisions: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How many of the latest decisions the page shows, with user names; needs policy, or a server.admin"
        " that only this machine can reach. 0: none.",
    )
    page: bool = Field(default=True, description="Show a page for people at / of the admin port.")


class LimitsConfig(ConfigModel):
    """Limits of requests and connections."""

    max_token_bytes: int = Field(
        default=16384, ge=256, le=1048576, description="The longest token that is accepted."
    )
    max_header_bytes: int = Field(
        default=65536,
        ge=1024,
        le=1048576,
        validate_default=True,
        description="The most bytes of headers in a request.",
    )
    max_headers: int = Field(default=128, ge=8, le=10000, description="The most headers in a request.")
    header_timeout: Annotated[float, Seconds(at_least=0.1, at_most=300)] = Field(
        default=10.0,
        description="How long a client can take to send the headers of a request, or to read responses.",
    )
    max_unfinished_header_bytes: int = Field(
        default=67108864,
        ge=8388608,
        le=68719476736,
        description="The most memory of a process for unfinished headers of all connections, in bytes.",
    )
    max_connections: int = Field(
        default=10000,
        ge=1,
        le=1000000,
        description="The most open connections of a listener; fewer if there are not enough file descriptors.",
    )

    @field_validator("max_header_bytes")
    @classmethod
    def _exceeds_token_size(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("max_token_bytes", 0):
            raise ValueError("must be more than maxTokenBytes: the token is in a header")
        return value


class AuditFieldsConfig(ConfigModel):
    """How much the audit log shows of a request."""

    path: Literal["full", "template", "none"] = Field(
        default="full",
        description="The path of the original request: full, without its query; template, the pattern of the rule that "
        "matches it; or none.",
    )
    token_id: Literal["hash", "value", "none"] = Field(
        default="hash", description="The token's id (jti): the start of its SHA-256, its value, or none."
    )


class LogConfig(ConfigModel):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe level that is logged."
    )
    format: Literal["json", "text"] = Field(
        default="json", description="json: one JSON object on each line; text: plain text."
    )
    audit: Literal["none", "deny", "all"] = Field(
        default="deny", description="The decisions that are written to the audit log."
    )
    audit_fields: AuditFieldsConfig = Field(
        default_factory=AuditFieldsConfig, description="How much the audit log shows of a request."
    )


class ShutdownConfig(ConfigModel):
    """How authgate shuts down."""

    delay: Annotated[float, Seconds(at_most=600)] = Field(
        default=5.0, description="How long requests are answered after /readyz fails, so that proxies notice."
    )
    timeout: Annotated[float, Seconds(at_most=3600)] = Field(
        default=10.0, description="How long open requests can then take to finish."
    )
