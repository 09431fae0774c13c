"""`policies`: which identities may pass, for which requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from authgate.config.models.access import AccessReviewConfig
from authgate.config.models.expressions import over, why_not
from authgate.config.models.fields import (
    ConfigModel,
    Many,
    Matching,
    Refused,
    Some,
    SomeExactTexts,
    Text,
    as_tuple,
    different,
    exact,
    few_globs,
    glob,
)
from authgate.config.models.role import RoleConfig
from authgate.config.problems import Finding, Path
from authgate.expressions import MAX_LENGTH, Expects, Sees

_T = TypeVar("_T")
Entries = Annotated[tuple[_T, ...], Field(min_length=1, max_length=1000), BeforeValidator(as_tuple)]
"""A list of 1 to 1000 entries."""

_Names = Annotated[Entries[Annotated[Text, exact]], different]
_Globs = Annotated[Entries[Annotated[Text, glob]], different, few_globs]

_SEES: Final = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW

# A field does not know the policy's `queryRules`, so it accepts `request.query`; the policy refuses it if need be.
_Condition = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LENGTH),
    over(_SEES | Sees.QUERY, Expects.BOOL),
]

_ServiceAccountGlob = Annotated[
    Text,
    Matching(
        r"[a-z0-9*-]{1,63}/[a-z0-9.*-]{1,253}",
        'must be "namespace/name", where * matches any characters: "prod/*"',
    ),
    glob,
]


class EntryConfig(ConfigModel):
    """A condition on the identity: every field that is set must match, by at least one of its entries."""

    issuers: _Names | None = Field(
        default=None, description="Names of issuers: `gate.name` of a jwt issuer, or `name` of a cluster."
    )
    service_accounts: Annotated[Entries[_ServiceAccountGlob], different] | None = Field(
        default=None,
        description='ServiceAccounts of the cluster as "namespace/name"; * matches any characters.',
    )
    users: _Globs | None = Field(
        default=None,
        description="User names; * matches any characters, \\* a literal star.",
    )
    groups: _Globs | None = Field(
        default=None,
        description="Groups; one of them is enough. * matches any characters, \\* a literal star.",
    )

    expression: _Condition | None = Field(
        default=None, description="A CEL expression over user, claims, request and now; it must be true."
    )

    @model_validator(mode="after")
    def _is_not_empty(self) -> EntryConfig:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(
                "an empty entry would match everyone; set issuers, serviceAccounts, users, groups or expression"
            )
        return self


def _path_pattern(path: str) -> str:
    segments = path.split("/")[1:]
    if any(not segment for segment in segments[:-1]):
        raise ValueError("must not have an empty segment (//)")
    if not {".", ".."}.isdisjoint(segments):
        raise ValueError("must not have a . or .. segment: requests with one are always denied")
    if any(segment.count("*") > 1 for segment in segments):
        raise ValueError("must not have two stars in a segment; end with /* for every path below")
    return path


def _lowercase(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(host.lower() for host in hosts)


_PathPattern = Annotated[
    Text,
    Matching(
        r"/[^%;?#\\\x00-\x1f\x7f-\xa0]*",
        'must be a path such as "/healthz", "/public/*" for all below it, or "/users/*/posts"; written '
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
    """A rule for requests whose host, method and path are each in the lists that are set."""

    hosts: Annotated[Some[_HostPattern], AfterValidator(_lowercase), different] | None = Field(
        default=None, description='Hosts without port; "*.example.com" matches every host below. null: any.'
    )
    methods: Annotated[Some[_Method], different] | None = Field(
        default=None, description="Methods in capitals; GET does not include HEAD. null: any."
    )
    paths: Annotated[Entries[_PathPattern], different] | None = Field(
        default=None,
        description='Decoded paths: exact, "/prefix/*" for all below, or with one * in a segment. null: any.',
    )
    raw_path: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="allow: also match paths that servers can read in two ways, if this rule matches every reading.",
    )
    allow: Entries[EntryConfig] | None = Field(
        default=None, description="One entry must match; replaces allow and accessReview of the policy."
    )
    deny: Entries[EntryConfig] | None = Field(
        default=None, description="No entry may match; replaces deny of the policy."
    )
    anonymous: bool = Field(default=False, description="true: requests are allowed without a token.")
    access_review: AccessReviewConfig | None = Field(
        default=None,
        description="The access review that the cluster must allow; replaces allow and accessReview of the policy.",
    )
    expression: _Condition | None = Field(
        default=None,
        description="A CEL expression that must be true; replaces allow and accessReview of the policy.",
    )

    @model_validator(mode="after")
    def _has_one_kind_of_decision(self) -> RuleConfig:
        lists = self.allow is not None or self.deny is not None
        ways = (lists, self.anonymous, self.access_review is not None, self.expression is not None)
        if sum(ways) != 1:
            raise ValueError(
                "needs exactly one of allow (and deny), anonymous: true, accessReview or expression to decide by"
            )
        return self

    def covers(self, other: RuleConfig) -> bool:
        """Return whether this rule matches every request that `other` matches."""
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


_PATH = r"/[A-Za-z0-9._~!$&'()+,=:@/-]*"


def _open_path(path: str) -> str:
    if path == "/*":
        raise ValueError("would open every path without a token; list the paths that are open")
    if "//" in path:
        raise ValueError("must not have an empty segment (//)")
    if ".." in path or "." in path.removesuffix("*").split("/"):
        raise ValueError("must not have a . or .. segment")
    return path


_OpenPath = Annotated[
    Text,
    Matching(
        rf"{_PATH}|(?:{_PATH})?/\*",
        'must be a path such as "/healthz", or "/public/*" for all below it; without %, ; or other special characters',
    ),
    AfterValidator(_open_path),
]
_ELSEWHERE: Final = Refused("must be in an entry of allow or deny, or in a rule, and not here")
_LIVE_ONLY: Final = "is not supported in a shadow: only the live policy asks the cluster"


class PolicyVersionConfig(ConfigModel):
    """A version of a policy, which decides without calling the cluster."""

    audiences: SomeExactTexts | None = Field(
        default=None,
        description="The audiences, of those that are accepted, that this policy requires; null: any of them.",
    )
    allow: Entries[EntryConfig] | None = Field(
        default=None, description="One entry must match; null: every authenticated identity is allowed."
    )
    deny: Entries[EntryConfig] | None = Field(
        default=None, description="No entry may match; null: no one is denied."
    )
    anonymous: Annotated[Many[_OpenPath], different] = Field(
        default=(),
        description='Paths allowed without a token: "/healthz", or "/public/*" for all below; needs server.proxy.',
    )
    rules: Annotated[tuple[RuleConfig, ...], Field(max_length=1000), BeforeValidator(as_tuple)] = Field(
        default=(),
        description="Rules by host, method and path; the first that matches a request decides. Needs server.proxy.",
    )
    role: RoleConfig | None = Field(
        default=None, description="Further requirements for the token, as in Vault's JWT roles; null: none."
    )
    cors_preflight: Literal["judge", "allow"] = Field(
        default="judge",
        description="allow: CORS preflight requests (OPTIONS) are allowed without a token; needs server.proxy.",
    )
    query_rules: bool = Field(default=False, description="Whether expressions can use request.query.")

    def contradictions(self) -> Iterator[Finding]:
        """Yield expressions over the query where `queryRules` is false."""
        if not self.query_rules:
            for path, text in self.expressions():
                if "query" in text:
                    yield from why_not(path, text, self.sees, Expects.BOOL)

    @property
    def sees(self) -> Sees:
        """The variables that the policy's expressions see."""
        return _SEES | Sees.QUERY if self.query_rules else _SEES

    def expressions(self) -> Iterator[tuple[Path, str]]:
        """Yield every expression of entries and rules, with its path."""
        for index, rule in enumerate(self.rules):
            if rule.expression is not None:
                yield ("rules", index, "expression"), rule.expression
        for path, entry in self.entries():
            if entry.expression is not None:
                yield (*path, "expression"), entry.expression

    def entries(self) -> Iterator[tuple[Path, EntryConfig]]:
        """Yield every entry of the lists, including those of rules, with its path."""
        lists: list[tuple[Path, PolicyVersionConfig | RuleConfig]] = [((), self)]
        lists += [(("rules", index), rule) for index, rule in enumerate(self.rules)]
        for path, holder in lists:
            for kind, entries in (("allow", holder.allow), ("deny", holder.deny)):
                for index, entry in enumerate(entries or ()):
                    yield (*path, kind, index), entry


class ShadowConfig(PolicyVersionConfig):
    """A version that runs alongside the live policy without affecting it; only differences are reported."""

    refused: ClassVar = {
        "accessReview": Refused(_LIVE_ONLY),
        "expression": _ELSEWHERE,
    }

    def contradictions(self) -> Iterator[Finding]:
        """Yield access reviews as well, which would ask the cluster twice."""
        yield from super().contradictions()
        for index, rule in enumerate(self.rules):
            if rule.access_review is not None:
                yield Finding(("rules", index, "accessReview"), _LIVE_ONLY, rule=_LIVE_ONLY)


class PolicyConfig(PolicyVersionConfig):
    """Which identities are allowed: not denied, allowed, and with a token for the policy's audiences."""

    refused: ClassVar = {"expression": _ELSEWHERE}

    access_review: AccessReviewConfig | None = Field(
        default=None,
        description="The access review that the cluster must allow, after allow and deny; null: none.",
    )
    shadow: ShadowConfig | None = Field(
        default=None,
        description="A version that runs alongside without affecting decisions; differences are reported. null: none.",
    )

    @property
    def restricts(self) -> bool:
        """Whether it can deny a valid token that the gate accepts."""
        lists = self.allow is not None or self.deny is not None or self.audiences is not None
        return lists or self.role is not None or self.access_review is not None or bool(self.rules)

    def access_reviews(self) -> Iterator[tuple[Path, AccessReviewConfig]]:
        """Yield the access reviews of the policy and of its rules, with their paths."""
        if self.access_review is not None:
            yield ("accessReview",), self.access_review
        for index, rule in enumerate(self.rules):
            if rule.access_review is not None:
                yield ("rules", index, "accessReview"), rule.access_review
