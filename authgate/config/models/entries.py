"""Entries of allow and deny lists: whom they mean."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from authgate.config.models.fields import (
    ConfigModel,
    Matching,
    Text,
    as_tuple,
    different,
    exact,
    few_globs,
    glob,
)

_T = TypeVar("_T")
Entries = Annotated[tuple[_T, ...], Field(min_length=1, max_length=1000), BeforeValidator(as_tuple)]
"""A list that, where it is given, has one to 1000 entries."""

_Names = Annotated[Entries[Annotated[Text, exact]], different]
_Globs = Annotated[Entries[Annotated[Text, glob]], different, few_globs]

ExpressionText = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
"""An expression, of several lines where it takes them; `checks_expressions` says whether it is one."""

_ServiceAccountGlob = Annotated[
    Text,
    Matching(
        r"[a-z0-9*-]{1,63}/[a-z0-9.*-]{1,253}",
        'must be "namespace/name", where * stands for any letters: "prod/*"',
    ),
    glob,
]


class EntryConfig(ConfigModel):
    """Someone: every field that is given must hold, and in each one of its entries."""

    issuers: _Names | None = Field(
        default=None, description="Names of issuers: `gate.name` of one under `jwt`, or the cluster's `name`."
    )
    service_accounts: Annotated[Entries[_ServiceAccountGlob], different] | None = Field(
        default=None,
        description='ServiceAccounts of the cluster as "namespace/name"; * stands for any letters.',
    )
    users: _Globs | None = Field(
        default=None,
        description="User names; * stands for any characters, \\* for a star.",
    )
    groups: _Globs | None = Field(
        default=None,
        description="Groups, one of which is enough; * stands for any characters, \\* for a star.",
    )

    expression: ExpressionText | None = Field(
        default=None, description="A CEL expression over user, claims, request and now; it must be true."
    )

    @model_validator(mode="after")
    def _says_something(self) -> EntryConfig:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(
                "an empty entry would hold for everyone; give issuers, serviceAccounts, users, groups or expression"
            )
        return self
