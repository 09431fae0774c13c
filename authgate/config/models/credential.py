"""`credential`: where a request's token may stand beside its `Authorization` header."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from authgate.config.models.fields import ConfigModel, Many, Matching

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"
_OWNED = (
    "authorization|connection|content-.*|cookie|expect|host|keep-alive|sec-websocket-protocol|te|trailer|"
    "transfer-encoding|upgrade"
)
_FieldName = Annotated[
    str,
    Matching(
        rf"(?!(?i:{_OWNED})$)[A-Za-z][A-Za-z0-9-]{{0,63}}",
        "must be letters, digits and dashes, and no field that HTTP owns; Authorization is always read, and cookies"
        " and WebSocket protocols have a source of their own",
    ),
]
_Name = Annotated[
    str, Matching(_TOKEN, "must be a name of at most 64 letters, digits or other characters of a token")
]


class SourceConfig(ConfigModel):
    """One place: a header, a cookie, a query parameter, or the WebSocket protocol."""

    header: _FieldName | None = Field(default=None, description="The name of a header that holds the token.")
    scheme: _Name | None = Field(
        default=None,
        description="What stands before the token in that header, such as Bearer; null: nothing.",
    )
    cookie: _Name | None = Field(default=None, description="The name of a cookie that holds the token.")
    query: _Name | None = Field(
        default=None,
        description="The name of a parameter of the original request that holds the token; needs server.proxy.",
    )
    websocket: Literal[True] | None = Field(
        default=None,
        description="true: the WebSocket subprotocol base64url.bearer.authorization.k8s.io.<token>, as kube-apiserver.",
    )

    @model_validator(mode="after")
    def _names_one_place(self) -> SourceConfig:
        given = [
            name for name in ("header", "cookie", "query", "websocket") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("must name exactly one of header, cookie, query and websocket")
        if self.scheme is not None and self.header is None:
            raise ValueError("scheme belongs to a header")
        return self


class CredentialConfig(ConfigModel):
    """Where a request's token may stand; two tokens in one request are refused, wherever they stand."""

    sources: Many[SourceConfig] = Field(
        default=(), description="Places that are read beside `Authorization: Bearer`, which always is."
    )
