"""The keys of an issuer or a cluster: how they are fetched, or static keys."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from authgate.config.models.fields import Block, ConfigModel, Seconds
from authgate.config.models.files import PublicKeysFile, check_public_keys


def _as_json(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


class KeyRefreshConfig(ConfigModel):
    """How keys are fetched and how long they are kept."""

    refresh: Annotated[float, Seconds(at_least=1, at_most=86400)] = Field(
        default=300.0, description="How often keys are fetched again in the background."
    )
    timeout: Annotated[float, Seconds(at_least=0.1, at_most=60)] = Field(
        default=5.0, description="The timeout of one fetch."
    )
    max_stale: Annotated[float, Seconds(at_most=30 * 86400)] = Field(
        default=86400.0,
        validate_default=True,
        description="How long the last keys are used while fetches fail; at least `refresh`.",
    )
    cooldown: Annotated[float, Seconds(at_least=0.1, at_most=600)] = Field(
        default=5.0, description="The least time between two fetches for unknown key ids."
    )

    @field_validator("max_stale")
    @classmethod
    def _outlives_a_refresh(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("refresh", 0):
            raise ValueError("must be at least as long as refresh, or keys expire between two fetches")
        return value


class StaticKeysConfig(ConfigModel):
    """Keys that are not fetched: exactly one of `file` and `inline`."""

    file: PublicKeysFile | None = Field(
        default=None, description="A file with a JWKS in JSON, or PEM public keys or certificates."
    )
    inline: (
        Annotated[
            Block,
            BeforeValidator(_as_json),
            AfterValidator(check_public_keys),
            WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]}),
        ]
        | None
    ) = Field(
        default=None, description="A JWKS, as a mapping or JSON text, or PEM public keys or certificates."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> StaticKeysConfig:
        if (self.file is None) == (self.inline is None):
            raise ValueError("must have exactly one of file and inline")
        return self
