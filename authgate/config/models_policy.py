"""`policies`: who may pass."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from authgate.config.fields import (
    ConfigModel,
    Many,
    Matching,
    Refused,
    Seconds,
    SomeTexts,
    Text,
    as_tuple,
    different,
)

_T = TypeVar("_T")
_Entries = Annotated[tuple[_T, ...], Field(min_length=1, max_length=1000), BeforeValidator(as_tuple)]
_Names = Annotated[_Entries[Text], different]

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
_ServiceAccountGlob = Annotated[
    Text,
    Matching(
        r"[a-z0-9*-]{1,63}/[a-z0-9.*-]{1,253}",
        'must be "namespace/name", where * stands for any letters: "prod/*"',
    ),
]

_PLACEHOLDER = r"\{\{ ?\.(?:Namespace|ServiceAccount|Pod|Username|UID) ?\}\}"
_Template = Annotated[
    str,
    Field(max_length=256),
    Matching(
        rf"(?:[^{{}}\x00-\x1f\x7f-\x9f]|{_PLACEHOLDER})*",
        "must be plain text; of placeholders it may hold {{ .Namespace }}, {{ .ServiceAccount }}, {{ .Pod }},"
        " {{ .Username }} and {{ .UID }}, all of the verified identity",
    ),
]
_Named = Annotated[_Template, Field(min_length=1)]


class RuleConfig(ConfigModel):
    """Someone: every field that is given must hold, and in each one of its entries."""

    refused: ClassVar = {
        "expression": Refused(
            "expressions are not supported by this version; name issuers, serviceAccounts, users or groups"
        ),
    }

    issuers: _Names | None = Field(
        default=None, description="Names of issuers: `gate.name` of one under `jwt`, or the cluster's `name`."
    )
    service_accounts: Annotated[_Entries[_ServiceAccountGlob], different] | None = Field(
        default=None,
        description='ServiceAccounts of the cluster as "namespace/name"; * stands for any letters.',
    )
    users: _Names | None = Field(default=None, description="User names, in full.")
    groups: _Names | None = Field(default=None, description="Groups, in full; one of them is enough.")

    @model_validator(mode="after")
    def _says_something(self) -> RuleConfig:
        if self.issuers is self.service_accounts is self.users is self.groups is None:
            raise ValueError(
                "an empty entry would hold for everyone; give issuers, serviceAccounts, users or groups"
            )
        return self


class ReviewedResourceConfig(ConfigModel):
    """The Kubernetes objects that an access review is about; placeholders are filled from the verified identity."""

    verb: _Named = Field(description="What is done: get, list, create and so on.")
    resource: _Named = Field(description="The kind of object in the plural: services.")
    group: _Template = Field(default="", description='The API group; "" is the core group.')
    version: _Template = Field(default="", description='The API version; "" for any.')
    namespace: _Template = Field(
        default="",
        description='The namespace; "" asks about a cluster-scoped object, or about all namespaces.',
    )
    subresource: _Template = Field(default="", description='The subresource, such as proxy; "" for none.')
    name: _Template = Field(default="", description='The object\'s name; "" asks about all of them.')


class AccessReviewConfig(ConfigModel):
    """What the cluster's SubjectAccessReview is asked about those whom the lists let pass."""

    non_resource: Literal["request"] | None = Field(
        default=None,
        description="request: path and method of the original request, as for nonResourceURLs of RBAC;"
        " needs server.proxy. Either this or resource.",
    )
    resource: ReviewedResourceConfig | None = Field(
        default=None,
        description="Kubernetes objects that one must have access to. Either this or nonResource.",
    )
    allowed_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=300.0, description="How long a yes is remembered."
    )
    denied_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=30.0, description="How long a no is remembered."
    )

    @model_validator(mode="after")
    def _asks_one_thing(self) -> AccessReviewConfig:
        if (self.non_resource is None) == (self.resource is None):
            raise ValueError("needs either `nonResource: request` or `resource`, and not both")
        return self


class PolicyConfig(ConfigModel):
    """Who may pass: not denied, allowed, and with a token for the policy's audiences."""

    refused: ClassVar = {
        "rules": Refused(
            "rules by host, method and path are not supported by this version; use policies of their own", ()
        ),
        "expression": Refused("expressions are not supported by this version; use allow and deny"),
        "shadow": Refused("shadow policies are not supported by this version; leave it out", False),
    }

    audiences: SomeTexts | None = Field(
        default=None,
        description="Those of the accepted audiences that open this policy; null: any of them.",
    )
    allow: _Entries[RuleConfig] | None = Field(
        default=None, description="One entry must hold; null: any authenticated identity may pass."
    )
    deny: _Entries[RuleConfig] | None = Field(default=None, description="No entry may hold; null: none.")
    anonymous: Annotated[Many[_OpenPath], different] = Field(
        default=(),
        description='Paths that pass without a token: "/healthz", or "/public/*" for all below; needs server.proxy.',
    )
    access_review: AccessReviewConfig | None = Field(
        default=None,
        description="What the cluster must allow those whom allow and deny let pass; null: it is not asked.",
    )
