"""`policies`: who may pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from authgate.config.models.access import AccessReviewConfig
from authgate.config.models.entries import Entries, EntryConfig
from authgate.config.models.fields import (
    ConfigModel,
    Many,
    Matching,
    Refused,
    SomeExactTexts,
    Text,
    as_tuple,
    different,
)
from authgate.config.models.role import RoleConfig
from authgate.config.models.rules import RuleConfig
from authgate.config.problems import Path

_PATH = r"/[A-Za-z0-9._~!$&'()+,=:@/-]*"


def _open_path(path: str) -> str:
    if path == "/*":
        raise ValueError("would open every path without a token; name the paths that may be open")
    if "//" in path:
        raise ValueError("must not have an empty segment (//)")
    if ".." in path or "." in path.removesuffix("*").split("/"):
        raise ValueError("must not have a . or .. segment")
    return path


_OpenPath = Annotated[
    Text,
    Matching(
        rf"{_PATH}|(?:{_PATH})?/\*",
        'must be a path such as "/healthz", or "/public/*" for all below one; no %, ;, ? or other special letters',
    ),
    AfterValidator(_open_path),
]
_ELSEWHERE = Refused("stands in an entry of allow or deny, or in a rule, and not here")


class PolicyVersionConfig(ConfigModel):
    """Who may pass, as far as it can be told without asking the cluster."""

    audiences: SomeExactTexts | None = Field(
        default=None,
        description="Those of the accepted audiences that open this policy; null: any of them.",
    )
    allow: Entries[EntryConfig] | None = Field(
        default=None, description="One entry must hold; null: any authenticated identity may pass."
    )
    deny: Entries[EntryConfig] | None = Field(default=None, description="No entry may hold; null: none.")
    anonymous: Annotated[Many[_OpenPath], different] = Field(
        default=(),
        description='Paths that pass without a token: "/healthz", or "/public/*" for all below; needs server.proxy.',
    )
    rules: Annotated[tuple[RuleConfig, ...], Field(max_length=1000), BeforeValidator(as_tuple)] = Field(
        default=(),
        description="By host, method and path: the first that fits a request decides about it; needs server.proxy.",
    )
    role: RoleConfig | None = Field(
        default=None, description="What a token must claim, as Vault's JWT roles say it; null: nothing more."
    )
    cors_preflight: Literal["judge", "allow"] = Field(
        default="judge",
        description="allow: browsers' CORS preflights (OPTIONS) pass without a token; needs server.proxy.",
    )
    query_rules: bool = Field(
        default=False, description="Whether expressions may look at the query, as request.query."
    )

    def entries(self) -> Iterator[tuple[Path, EntryConfig]]:
        """Yield every entry of the lists, those of rules among them, with its place."""
        lists: list[tuple[Path, PolicyVersionConfig | RuleConfig]] = [((), self)]
        lists += [(("rules", index), rule) for index, rule in enumerate(self.rules)]
        for path, holder in lists:
            for kind, entries in (("allow", holder.allow), ("deny", holder.deny)):
                for index, entry in enumerate(entries or ()):
                    yield (*path, kind, index), entry


class ShadowConfig(PolicyVersionConfig):
    """Another version of a policy, which decides nothing: only where it would have decided otherwise is reported."""

    refused: ClassVar = {
        "accessReview": Refused("is not asked for a shadow: the cluster is asked by the live policy only"),
        "expression": _ELSEWHERE,
    }


class PolicyConfig(PolicyVersionConfig):
    """Who may pass: not denied, allowed, and with a token for the policy's audiences."""

    refused: ClassVar = {"expression": _ELSEWHERE}

    access_review: AccessReviewConfig | None = Field(
        default=None,
        description="What the cluster must allow those whom allow and deny let pass; null: it is not asked.",
    )
    shadow: ShadowConfig | None = Field(
        default=None,
        description="Another version, of which is only reported where it would have decided otherwise; null: none.",
    )

    def access_reviews(self) -> Iterator[AccessReviewConfig]:
        """Yield what the cluster is asked, by the policy or by one of its rules."""
        reviews = (self.access_review, *(rule.access_review for rule in self.rules))
        yield from (review for review in reviews if review is not None)
