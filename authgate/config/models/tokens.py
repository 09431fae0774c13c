"""`credential`, `signing`, `identityToken` and `exchange`: tokens that requests carry and that authgate issues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from authgate.config.models.fields import (
    ConfigModel,
    DNSLabel,
    IssuerURL,
    Listen,
    Many,
    Matching,
    Seconds,
    Some,
    SomeExactTexts,
    Text,
    different,
)
from authgate.config.models.files import SigningKeyFile
from authgate.config.models.headers import HeaderName
from authgate.config.models.server import TLSConfig
from authgate.config.problems import Finding, shown

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"
_OWNED = (
    "authorization|connection|content-.*|cookie|expect|host|keep-alive|sec-websocket-protocol|te|trailer|"
    "transfer-encoding|upgrade"
)
_FieldName = Annotated[
    str,
    Matching(
        rf"(?!(?i:{_OWNED})$)[A-Za-z][A-Za-z0-9-]{{0,63}}",
        "must be letters, digits and dashes, and not a field that HTTP uses; Authorization needs no source, and cookies"
        " and WebSocket protocols have a source of their own",
    ),
]
_Name = Annotated[
    str, Matching(_TOKEN, "must be at most 64 letters, digits or other characters of an HTTP token")
]


_Username = Annotated[
    str,
    Matching(
        r"[^\x00-\x1f\x7f-\x9f:]{1,128}",
        "must be at most 128 characters, without a colon and control characters (RFC 7617)",
    ),
]


class BasicConfig(ConfigModel):
    """The user names of `Authorization: Basic` whose password is the token."""

    usernames: Annotated[Some[_Username], different] = Field(
        description="User names, compared exactly; Basic with any other name is rejected."
    )


class SourceConfig(ConfigModel):
    """A source of tokens: a header, a cookie, a query parameter, the WebSocket protocol, or a Basic password."""

    header: _FieldName | None = Field(default=None, description="The name of a header with the token.")
    scheme: _Name | None = Field(
        default=None,
        description="The word before the token in that header, such as Bearer; null: none.",
    )
    padded: bool = Field(
        default=False,
        description="true: the token in that header may have base64url padding, as in X-Amzn-Oidc-Data of AWS.",
    )
    cookie: _Name | None = Field(default=None, description="The name of a cookie with the token.")
    query: _Name | None = Field(
        default=None,
        description="The name of a query parameter of the original request with the token; needs server.proxy.",
    )
    websocket: Literal[True] | None = Field(
        default=None,
        description="true: WebSocket subprotocol base64url.bearer.authorization.k8s.io.<token>, as in kube-apiserver.",
    )

    basic: BasicConfig | None = Field(
        default=None,
        description="The password of `Authorization: Basic` is the token, for clients such as git; a 401 then also has"
        " a Basic challenge.",
    )

    @model_validator(mode="after")
    def _names_one_place(self) -> SourceConfig:
        given = [
            name
            for name in ("header", "cookie", "query", "websocket", "basic")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("must name exactly one of header, cookie, query, websocket and basic")
        if self.scheme is not None and self.header is None:
            raise ValueError("scheme can only be set with header")
        if self.padded and self.header is None:
            raise ValueError("padded can only be set with header")
        return self


class CredentialConfig(ConfigModel):
    """Where requests can have their token; a request with two tokens is rejected."""

    authorization: Literal["read", "ignore"] = Field(
        default="read",
        description="ignore: `Authorization` belongs to the app; authgate does not read it, and tokens come only from"
        " the sources.",
    )
    sources: Many[SourceConfig] = Field(
        default=(),
        description="Further sources of tokens; `Authorization: Bearer` is read, too, unless ignored.",
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield sources that are given twice, and an ignored `Authorization` that leaves no source or is one.

        The names of cookies and parameters depend on case.
        """
        if self.authorization == "ignore" and not self.sources:
            yield Finding(
                ("authorization",), "leaves no place for a token: name at least one in credential.sources"
            )
        seen: set[tuple[str, str]] = set()
        for index, source in enumerate(self.sources):
            if source.basic is not None and self.authorization == "ignore":
                sentence = "needs credential.authorization: read, because the password is in Authorization"
                yield Finding(("sources", index, "basic"), sentence)
            for kind in ("header", "cookie", "query"):
                name: str | None = getattr(source, kind)
                if name is None:
                    continue
                entry = kind, name.lower() if kind == "header" else name
                if entry in seen:
                    sentence = "is given twice: each place is read once"
                    yield Finding(("sources", index, kind), sentence, shown(name))
                seen.add(entry)


class SigningConfig(ConfigModel):
    """The issuer and keys of tokens that authgate signs."""

    issuer: IssuerURL = Field(
        description="The `iss` of authgate's own tokens; discovery and keys must be reachable below this URL."
    )
    key_files: Annotated[Many[SigningKeyFile], different] = Field(
        default=(),
        description="PEM private keys (P-256 or Ed25519): the first one signs, all are published; empty: a key is made"
        " at startup, and tokens are invalid after a restart.",
    )


class IdentityTokenConfig(ConfigModel):
    """A header of allowed responses with a signed token that names the identity."""

    header: HeaderName = Field(default="X-Auth-Identity", description="The header's name.")
    audience: Text = Field(description="The audience of the token: the `aud` that apps check.")
    ttl: Annotated[float, Seconds(at_least=1, at_most=3600)] = Field(
        default=300.0,
        description="Its lifetime, at most that of the client's own token; at least twice cache.ttl.",
    )


class ExchangeConfig(ConfigModel):
    """Token exchange (RFC 8693): a valid token for a short-lived one of authgate's own."""

    listen: Listen = Field(
        description="The address of POST /token, discovery and keys, different from all others."
    )
    tls: TLSConfig | None = Field(default=None, description="TLS on this address; null: plain HTTP.")
    audiences: Annotated[dict[DNSLabel, SomeExactTexts], Field(min_length=1, max_length=1000)] = Field(
        description="By policy, the audiences of the tokens that it issues: default at /token, others at"
        " /policies/<name>/token."
    )
    ttl: Annotated[float, Seconds(at_least=1, at_most=86400)] = Field(
        default=600.0,
        description="The lifetime of an issued token, at most that of the token that it replaces.",
    )
