"""`headers`: how an identity is told to the proxy."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from authgate.config.models.fields import Block, ConfigModel, Many, Matching, Text
from authgate.json_pointer import JSONPointer
from authgate.vocabulary import DEFAULT_PRESET, IDENTITY_HEADER_PATTERN, Preset

HeaderName = Annotated[
    str,
    Matching(
        IDENTITY_HEADER_PATTERN,
        "must be letters, digits and dashes, and none of the names that HTTP or the proxy owns (Authorization, Host,"
        " X-Forwarded-…)",
    ),
]
"""A header that the gate may give an answer."""


def _pointer(text: str) -> str:
    JSONPointer(text)
    return text


class MappedHeaderConfig(ConfigModel):
    """A header from a claim or an expression; always sent, and empty where there is nothing."""

    name: HeaderName = Field(description="The header's name.")
    claim: Annotated[Text, AfterValidator(_pointer)] | None = Field(
        default=None,
        description="A JSON pointer to the claim that it holds: /department, /realm_access/roles.",
    )
    expression: Block | None = Field(
        default=None, description="A CEL expression over claims and user, in place of a claim."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> MappedHeaderConfig:
        if (self.claim is None) == (self.expression is None):
            raise ValueError("must have exactly one of claim and expression")
        return self


class HeadersConfig(ConfigModel):
    """How an identity is told to the proxy."""

    preset: Preset = Field(
        default=DEFAULT_PRESET,
        description="The set of headers that tell who passed; none: those of set alone.",
    )
    set: Many[MappedHeaderConfig] = Field(
        default=(), description="Headers beside the preset's, from claims and expressions."
    )
    max_bytes: int = Field(
        default=16384, ge=512, le=1048576, description="The most that an answer's identity headers may take."
    )
