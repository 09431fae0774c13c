"""`rules` of a policy: what holds for requests to some hosts, with some methods, to some paths."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from authgate.config.models.access import AccessReviewConfig
from authgate.config.models.entries import Entries, EntryConfig, ExpressionText
from authgate.config.models.fields import ConfigModel, Matching, Some, Text, different


def _path_pattern(path: str) -> str:
    segments = path.split("/")[1:]
    if any(not segment for segment in segments[:-1]):
        raise ValueError("must not have an empty segment (//)")
    if not {".", ".."}.isdisjoint(segments):
        raise ValueError("must not have a . or .. segment: no request with one gets this far")
    if any(segment.count("*") > 1 for segment in segments):
        raise ValueError(
            "must not have two stars in a segment; a last segment that is one star is all that is below"
        )
    return path


def _in_small_letters(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(host.lower() for host in hosts)


_PathPattern = Annotated[
    Text,
    Matching(
        r"/[^%;?#\\\x00-\x1f\x7f-\xa0]*",
        'must be a path such as "/healthz", "/public/*" for all below one, or "/users/*/posts"; written as it is '
        "decoded, without %, ;, ?, # or backslash",
    ),
    AfterValidator(_path_pattern),
]
_HostPattern = Annotated[
    Text,
    Matching(
        r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\]",
        'must be a host without port, such as "app.example.com", or "*.example.com" for all below; in ASCII (xn--)',
    ),
]
_Method = Annotated[Text, Matching(r"[A-Z][A-Z-]{0,31}", "must be a method in capitals, such as GET")]


class RuleConfig(ConfigModel):
    """What holds for the requests that fit: their host, method and path are each one of those that are given."""

    hosts: Annotated[Some[_HostPattern], AfterValidator(_in_small_letters), different] | None = Field(
        default=None, description='Hosts, without port; "*.example.com" is every one below. null: any.'
    )
    methods: Annotated[Some[_Method], different] | None = Field(
        default=None, description="Methods, in capitals; GET does not include HEAD. null: any."
    )
    paths: Annotated[Entries[_PathPattern], different] | None = Field(
        default=None,
        description='Decoded paths: exact, "/prefix/*" for all below, or with one * in a segment. null: any.',
    )
    raw_path: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="allow: paths that servers read in two ways are taken, too, where every reading is this rule's.",
    )
    allow: Entries[EntryConfig] | None = Field(
        default=None, description="One entry must hold, in place of the policy's allow and accessReview."
    )
    deny: Entries[EntryConfig] | None = Field(
        default=None, description="No entry may hold, in place of the policy's deny."
    )
    anonymous: bool = Field(default=False, description="true: no token is needed.")
    access_review: AccessReviewConfig | None = Field(
        default=None,
        description="What the cluster must allow, in place of the policy's allow and accessReview.",
    )
    expression: ExpressionText | None = Field(
        default=None,
        description="A CEL expression that must be true, in place of the policy's allow and accessReview.",
    )

    @model_validator(mode="after")
    def _decides_by_one_thing(self) -> RuleConfig:
        lists = self.allow is not None or self.deny is not None
        ways = (lists, self.anonymous, self.access_review is not None, self.expression is not None)
        if sum(ways) != 1:
            raise ValueError(
                "needs exactly one of allow (and deny), anonymous: true, accessReview or expression to decide by"
            )
        return self

    def covers(self, other: RuleConfig) -> bool:
        """Tell whether every request that fits `other` fits this rule as well."""
        return (
            _covers_hosts(self.hosts, other.hosts)
            and (
                self.methods is None
                or (other.methods is not None and set(self.methods) >= set(other.methods))
            )
            and _covers_paths(self.paths, other.paths)
            and (self.raw_path == "allow" or other.raw_path == "refuse" or self.paths is None)
        )


def _covers_hosts(those: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    if those is None or others is None:
        return those is None
    suffixes = tuple(host[1:] for host in those if host.startswith("*."))
    return all(other in those or other.removeprefix("*").endswith(suffixes) for other in others)


def _covers_paths(those: tuple[str, ...] | None, others: tuple[str, ...] | None) -> bool:
    if those is None or others is None:
        return those is None
    return all(any(_covers_path(this, other) for this in those) for other in others)


def _covers_path(this: str, other: str) -> bool:
    ours, theirs = this.split("/")[1:], other.split("/")[1:]
    below = ours[-1] == "*"
    if below:
        ours = ours[:-1]
    if len(theirs) < len(ours) + below or (not below and (len(theirs) != len(ours) or theirs[-1] == "*")):
        return False
    return all(_covers_segment(one, another) for one, another in zip(ours, theirs, strict=False))


def _covers_segment(this: str, other: str) -> bool:
    if this == "*":
        return other != ""
    if "*" not in this or "*" in other:
        return this == other
    return re.fullmatch(".*".join(map(re.escape, this.split("*"))), other, re.DOTALL) is not None
