"""`accessReview` of a policy or a rule: the access that the cluster must grant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from authgate.config.models.fields import ConfigModel, Label, Matching, Seconds

_PLACEHOLDER = r"\{\{ ?\.(?:Namespace|ServiceAccount|Pod|Username|UID) ?\}\}"
_Template = Annotated[
    str,
    Field(max_length=256),
    Matching(
        rf"(?:[^{{}}\x00-\x1f\x7f-\x9f]|{_PLACEHOLDER})*",
        "must be plain text; its placeholders can be {{ .Namespace }}, {{ .ServiceAccount }}, {{ .Pod }},"
        " {{ .Username }} and {{ .UID }} of the verified identity",
    ),
]


def _all_or_exact(text: str) -> str:
    if "*" in text and text != "*":
        raise ValueError(
            "must not have a * among other characters: * alone means all, and there are no patterns"
        )
    return text


def _exact_or_empty(text: str) -> str:
    if "*" in text:
        raise ValueError('must not have a *: there are no patterns here, and "" means all')
    return text


_OrAll = Annotated[_Template, AfterValidator(_all_or_exact)]
_Named = Annotated[_OrAll, Field(min_length=1)]
_Exact = Annotated[_Template, AfterValidator(_exact_or_empty)]


class ReviewedResourceConfig(ConfigModel):
    """The Kubernetes objects of an access review; placeholders are replaced by values of the verified identity."""

    verb: _Named = Field(description="The verb, such as get, list or create.")
    resource: _Named = Field(description="The resource in the plural, such as services.")
    group: _OrAll = Field(default="", description='The API group; "" is the core group.')
    version: _OrAll = Field(default="", description='The API version; "" means any.')
    namespace: _Exact = Field(
        default="",
        description='The namespace; "" means a cluster-scoped object, or all namespaces.',
    )
    subresource: _OrAll = Field(default="", description='The subresource, such as proxy; "" means none.')
    name: _Exact = Field(default="", description='The name of the object; "" means all objects.')


class AccessReviewConfig(ConfigModel):
    """The SubjectAccessReview that the cluster must allow for identities that the lists allow."""

    non_resource: Literal["request"] | None = Field(
        default=None,
        description="request: review the path and method of the original request, as nonResourceURLs of RBAC;"
        " needs server.proxy. Set either this or resource.",
    )
    resource: ReviewedResourceConfig | None = Field(
        default=None,
        description="Kubernetes objects that the identity must have access to. Set either this or nonResource.",
    )
    cluster: Label | None = Field(
        default=None,
        description="The cluster that reviews identities of jwt issuers; null: the first one. Identities of a cluster "
        "are always reviewed by that cluster.",
    )
    allowed_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=300.0, description="How long an allowed review is cached."
    )
    denied_ttl: Annotated[float, Seconds(at_most=3600)] = Field(
        default=30.0, description="How long a denied review is cached."
    )

    @model_validator(mode="after")
    def _has_one_kind_of_review(self) -> AccessReviewConfig:
        if (self.non_resource is None) == (self.resource is None):
            raise ValueError("needs either `nonResource: request` or `resource`, and not both")
        return self
