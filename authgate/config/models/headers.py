"""`headers`: the response headers that name the identity."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from authgate.config.models.expressions import over
from authgate.config.models.fields import Block, ConfigModel, Many, Matching, Text
from authgate.config.problems import Finding, shown
from authgate.expressions import Expects, Sees
from authgate.json_pointer import JSONPointer
from authgate.vocabulary import DEFAULT_PRESET, IDENTITY_HEADER_PATTERN, PRESET_PREFIXES, Preset

HeaderName = Annotated[
    str,
    Matching(
        IDENTITY_HEADER_PATTERN,
        "must be letters, digits and dashes, and not a name that HTTP or the proxy uses (Authorization, Host,"
        " X-Forwarded-…)",
    ),
]
"""A header that authgate can add to a response."""


def _pointer(text: str) -> str:
    JSONPointer(text)
    return text


class MappedHeaderConfig(ConfigModel):
    """A header from a claim or an expression; always sent, and empty if there is no value."""

    name: HeaderName = Field(description="The header's name.")
    claim: Annotated[Text, AfterValidator(_pointer)] | None = Field(
        default=None,
        description="A JSON pointer to the claim, such as /department or /realm_access/roles.",
    )
    expression: Annotated[Block, over(Sees.CLAIMS | Sees.USER, Expects.ANY)] | None = Field(
        default=None, description="A CEL expression over claims and user, instead of a claim."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> MappedHeaderConfig:
        if (self.claim is None) == (self.expression is None):
            raise ValueError("must have exactly one of claim and expression")
        return self


class HeadersConfig(ConfigModel):
    """The response headers that name the identity to the proxy and the app."""

    preset: Preset = Field(
        default=DEFAULT_PRESET,
        description="The preset of identity headers; none: only the headers of set.",
    )
    set: Many[MappedHeaderConfig] = Field(
        default=(), description="Additional headers, from claims and expressions."
    )
    max_bytes: int = Field(
        default=16384, ge=512, le=1048576, description="The most bytes of identity headers in a response."
    )

    def contradictions(self) -> Iterator[Finding]:
        """Yield headers of `set` that the preset has, or that are given twice."""
        taken: list[str] = []
        for index, item in enumerate(self.set):
            if (problem := self.why_taken(item.name, taken)) is not None:
                yield Finding(("set", index, "name"), problem, shown(item.name))
            taken.append(item.name.lower())

    def why_taken(self, name: str, taken: Collection[str]) -> str | None:
        """Return why a further header cannot have a name, or None; `taken` are other headers in lower case."""
        prefix = PRESET_PREFIXES.get(self.preset)
        if prefix is not None and name.lower().startswith(prefix.lower()):
            return (
                f"belongs to the preset {self.preset}, whose headers begin with {prefix}; choose another name"
            )
        return "is given twice: a header has one source" if name.lower() in taken else None
