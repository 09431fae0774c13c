"""`introspection[]`: authorization servers that are asked about tokens (RFC 7662)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from authgate.config.models.fields import (
    Block,
    ClaimName,
    ConfigModel,
    EndpointURL,
    Label,
    ManyTexts,
    Matching,
    Seconds,
    Some,
    SomeTexts,
    Text,
    different,
)
from authgate.config.models.files import (
    FilePath,
    check_certificates,
    check_key_pair,
    check_signs,
    read_text,
)
from authgate.config.models.jwt import ClaimsConfig, asymmetric
from authgate.config.problems import Finding, shown
from authgate.vocabulary import SigningAlgorithm

ClientAuthMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"]
_NEEDS: Final[dict[ClientAuthMethod, tuple[str, ...]]] = {
    "client_secret_basic": ("secretFile",),
    "client_secret_post": ("secretFile",),
    "private_key_jwt": ("keyFile",),
    "tls_client_auth": ("certFile", "keyFile"),
}
_ALLOWS: Final = {"private_key_jwt": ("keyID", "audience")}


class ClientAuthConfig(ConfigModel):
    """How authgate authenticates to the endpoint, as a client of the authorization server."""

    absent: ClassVar = {"clientID": "is required: the id of authgate's client at the authorization server"}

    method: ClientAuthMethod = Field(
        default="client_secret_basic",
        description="How the client authenticates: client_secret_basic, client_secret_post, private_key_jwt or "
        "tls_client_auth.",
    )
    client_id: Text = Field(description="The id of authgate's client at the authorization server.")
    secret_file: FilePath | None = Field(
        default=None,
        description="A file with the client secret, for client_secret_basic and client_secret_post; it is read again "
        "when it changes.",
    )
    key_file: FilePath | None = Field(
        default=None,
        description="A PEM private key, for private_key_jwt and tls_client_auth; it is read again when it changes.",
    )
    cert_file: FilePath | None = Field(
        default=None,
        description="The PEM client certificate, for tls_client_auth; it is read again when it changes.",
    )
    algorithm: Annotated[SigningAlgorithm, BeforeValidator(asymmetric)] = Field(
        default="RS256", description="The signature algorithm of private_key_jwt; it must fit the key."
    )
    key_id: Text | None = Field(
        default=None, description="The `kid` of the key of private_key_jwt; null: none is sent."
    )
    audience: Text | None = Field(
        default=None,
        description="The `aud` of private_key_jwt; null: the issuer if it is configured, else the endpoint.",
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield fields that the method needs or does not use, and keys that do not fit."""
        needed = _NEEDS[self.method]
        given = {
            "secretFile": self.secret_file,
            "keyFile": self.key_file,
            "certFile": self.cert_file,
            "keyID": self.key_id,
            "audience": self.audience,
        }
        wrong = [name for name in needed if given[name] is None]
        for name in wrong:
            yield _plain(f"is required with method {self.method}", name)
        for name, value in given.items():
            if value is not None and name not in (*needed, *_ALLOWS.get(self.method, ())):
                wrong.append(name)
                yield _plain(f"must not be given with method {self.method}, which does not use it", name)
        if not wrong:
            yield from self._unfit_key()

    def _unfit_key(self) -> Iterator[Finding]:
        """Yield that the key cannot be used; a file that cannot be read yet is a warning instead."""
        texts = []
        for path in (self.key_file, self.cert_file):
            try:
                texts.append("" if path is None else read_text(path))
            except ValueError:
                return
        key, certificate = texts
        try:
            if certificate:
                check_key_pair(certificate, key)
            elif key:
                check_signs(key, self.algorithm)
        except ValueError as error:
            yield Finding(("keyFile",), str(error), shown(self.key_file))

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the files that are given, each by the name of its field."""
        named = (("secretFile", self.secret_file), ("keyFile", self.key_file), ("certFile", self.cert_file))
        yield from ((name, path) for name, path in named if path is not None)


class IntrospectionCacheConfig(ConfigModel):
    """How long answers are used."""

    ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=60.0,
        description="How long an active token's answer is used, at most until the token expires and at most cache.ttl;"
        " a revoked token is accepted for up to this long.",
    )
    negative_ttl: Annotated[float, Seconds(at_most=600)] = Field(
        default=5.0, description="How long an inactive token's answer is used."
    )


class IntrospectionConfig(ClaimsConfig):
    """One authorization server that is asked about tokens."""

    absent: ClassVar = {
        **ClaimsConfig.absent,
        "name": "is required: the server's label in metrics, logs and policies",
        "clientAuth": "is required: how authgate authenticates to the endpoint, such as {clientID: authgate,"
        " secretFile: /etc/authgate/client-secret}",
        "audiences": "is required: the audiences that tokens must be issued for, such as [my-app]",
    }

    name: Label = Field(description="The server's label in metrics, logs and policies.")
    endpoint: EndpointURL | None = Field(
        default=None,
        description="The URL of the introspection endpoint; null: `introspection_endpoint` in the discovery document of"
        " `issuer`.",
    )
    issuer: EndpointURL | None = Field(
        default=None,
        description="The server's issuer: `iss` in answers must be equal to it, and JWTs of this issuer that no entry"
        " of jwt verifies are introspected; null: only opaque tokens, with any `iss`.",
    )
    certificate_authority: Annotated[Block, AfterValidator(check_certificates)] | None = Field(
        default=None, description="PEM certificates of the CAs for the server; null: the system's."
    )
    client_auth: ClientAuthConfig = Field(description="How authgate authenticates to the endpoint.")
    audiences: SomeTexts = Field(
        description="The audiences that tokens must be issued for; one of them must match."
    )
    audience_claims: Annotated[Some[ClaimName], different] = Field(
        default=("aud",),
        description="The members of an answer that name the audience, such as [aud, client_id]; the first one that it"
        " has counts.",
    )
    tokens: Literal["opaque", "all"] = Field(
        default="opaque",
        description="opaque: tokens that are not JWTs, and JWTs of `issuer`; all: also JWTs of `issuers`, after they"
        " were verified with the issuer's keys.",
    )
    issuers: ManyTexts = Field(
        default=(),
        description="With tokens: all, the names of the entries of jwt whose tokens are introspected.",
    )
    prefix: (
        Annotated[
            str,
            Matching(r"[A-Za-z0-9._~+/-]{1,64}", "must be 1 to 64 characters that tokens can begin with"),
        ]
        | None
    ) = Field(
        default=None,
        description="Only opaque tokens that begin with this text are sent to this server; null: those without the"
        " prefix of another entry.",
    )
    timeout: Annotated[float, Seconds(at_least=0.1, at_most=30)] = Field(
        default=3.0, description="The timeout of one request, discovery included."
    )
    qps: float = Field(default=50.0, ge=0.1, le=10000, description="The most requests per second.")
    burst: int = Field(default=100, ge=1, le=100000, description="The most requests that are sent at once.")
    cache: IntrospectionCacheConfig = Field(
        default_factory=IntrospectionCacheConfig, description="How long answers are used."
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield a missing endpoint, a certificate without TLS, and issuers that do not fit `tokens`."""
        where = self.endpoint or self.issuer
        if where is None:
            yield _plain("needs endpoint, or issuer, through which the endpoint is discovered")
        elif self.client_auth.method == "tls_client_auth" and urlsplit(where).scheme != "https":
            yield _plain(
                "needs an https:// endpoint: the certificate is sent with TLS", "clientAuth", "method"
            )
        if self.issuer is not None and "?" in self.issuer:
            yield _plain("must not have a query", "issuer")
        if self.tokens == "all" and not self.issuers:
            yield _plain("is required with tokens: all, such as [login.example.com]", "issuers")
        if self.tokens == "opaque" and self.issuers:
            yield _plain("needs tokens: all; with tokens: opaque, no JWTs of a jwt entry are sent", "issuers")
        yield from super().contradictions()


def _plain(sentence: str, *path: str) -> Finding:
    return Finding(path, sentence, rule=sentence)
