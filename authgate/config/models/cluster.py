"""`cluster`: the Kubernetes clusters whose ServiceAccount tokens are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic.config import JsonDict

from authgate.config.models.fields import (
    Block,
    ConfigModel,
    DNSLabel,
    Label,
    Many,
    ManyTexts,
    Seconds,
    SomeTexts,
    Text,
    different,
    issuer_url,
    keys_url,
)
from authgate.config.models.files import ReadableFile, check_certificates
from authgate.config.models.keys import KeyRefreshConfig, StaticKeysConfig
from authgate.config.problems import Finding


def _cluster_issuer(text: str) -> str:
    # An issuer is a StringOrURI (RFC 7519, section 2), so kube-apiserver accepts a plain word, too.
    return issuer_url(text) if "://" in text else text


class TokenReviewConfig(ConfigModel):
    """When the cluster's TokenReview API is called, and how often."""

    mode: Literal["never", "fallback", "always"] = Field(
        default="fallback",
        description="never: only local keys decide; fallback: called if keys cannot decide; always: for every token.",
    )
    max_age: Annotated[float, Seconds(at_most=3600)] = Field(
        default=60.0,
        description="How long a verdict is used with mode always, or for a token that revocation watch does not cover; "
        "the API server's own cache adds up to 10 s.",
    )
    legacy_audiences: ManyTexts = Field(
        default=(),
        description="The API server's audience, which 'authgate doctor' compares, such as "
        "https://kubernetes.default.svc.cluster.local. Static and legacy Secret tokens are reviewed with it; empty: "
        "tokens that are not JWTs, or have no audience, are rejected.",
    )
    qps: float = Field(default=50.0, ge=0.1, le=10000, description="The most reviews per second.")
    burst: int = Field(default=100, ge=1, le=100000, description="The most reviews that are sent at once.")
    timeout: Annotated[float, Seconds(at_least=0.1, at_most=30)] = Field(
        default=3.0, description="The timeout of one review."
    )


class WatchConfig(ConfigModel):
    """The objects that revocation watch covers; other tokens are reviewed every tokenReview.maxAge."""

    namespaces: Annotated[Many[DNSLabel], Field(max_length=25), different] = Field(
        default=(),
        description="Namespaces whose ServiceAccounts and pods are watched; empty: all namespaces, and nodes.",
    )
    secrets: bool = Field(
        default=False,
        description="Watch Secrets, for tokens bound to them. A role that can list their metadata can read them.",
    )
    max_stale: Annotated[float, Seconds(at_least=1, at_most=3600)] = Field(
        default=90.0, description="How long the state of a watch is used after its connection was lost."
    )
    max_objects: int = Field(
        default=100_000,
        ge=1,
        le=2_000_000,
        description="The most objects that are kept; with more objects TokenReview decides.",
    )


_WATCH_NEEDS_REVIEWS = (
    "watch needs TokenReview while it is disconnected: set tokenReview.mode to fallback or always"
)


def _mode(value: str) -> JsonDict:
    return {"properties": {"mode": {"const": value}}, "required": ["mode"]}


class ClusterConfig(ConfigModel):
    """The cluster, and how its API server is reached."""

    # The JSON Schema refuses what the validators below refuse, so that helm does not install a gate that cannot start.
    # Helm prints the constant that a value should have, so the message is written as a constant.
    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {
                        "properties": {"revocation": {"const": "watch"}, "tokenReview": _mode("never")},
                        "required": ["revocation", "tokenReview"],
                    },
                    "then": {"properties": {"tokenReview": _mode(_WATCH_NEEDS_REVIEWS)}},
                },
                {
                    "if": {"properties": {"staticKeys": {"type": "object"}}, "required": ["staticKeys"]},
                    "then": {
                        "properties": {"issuers": {"minItems": 1}, "tokenReview": _mode("never")},
                        "required": ["issuers", "tokenReview"],
                    },
                },
                {
                    "if": {"properties": {"keysFrom": {"const": "issuer"}}, "required": ["keysFrom"]},
                    "then": {
                        "properties": {
                            "issuers": {"minItems": 1, "maxItems": 1},
                            "tokenReview": _mode("never"),
                        },
                        "required": ["issuers", "tokenReview"],
                    },
                },
            ]
        }
    )

    absent: ClassVar = {
        "audiences": "is required: the audiences that tokens must be issued for, such as [my-audience]"
    }

    name: Label = Field(default="home", description="The cluster's label in metrics, logs and headers.")
    audiences: SomeTexts = Field(
        description="The audiences that tokens must be issued for; one of them must match."
    )
    issuers: Annotated[Many[Annotated[Text, AfterValidator(_cluster_issuer)]], different] = Field(
        default=(),
        description="Additional issuers of the cluster, for a migration; the first one is in its discovery document.",
    )
    kubeconfig: ReadableFile | None = Field(
        default=None,
        description="A kubeconfig file; null: the pod's ServiceAccount, or else $KUBECONFIG, or else ~/.kube/config.",
    )
    context: Text | None = Field(
        default=None, description="The context of the kubeconfig; null: its current context."
    )
    token_review: TokenReviewConfig = Field(
        default_factory=TokenReviewConfig, description="When and how often the TokenReview API is called."
    )
    revocation: Literal["none", "watch"] = Field(
        default="none",
        description="How deletions of pods and accounts are noticed; none: by TokenReview, or when their tokens "
        "expire; watch: at once, by a watch on their metadata.",
    )
    watch: WatchConfig = Field(
        default_factory=WatchConfig, description="What revocation watch covers, and its limits."
    )
    keys: KeyRefreshConfig = Field(
        default_factory=KeyRefreshConfig, description="How the cluster's keys are fetched and kept."
    )
    static_keys: StaticKeysConfig | None = Field(
        default=None,
        description="Keys copied from the cluster, if its API server cannot be reached; needs issuers, and "
        "tokenReview.mode: never.",
    )

    keys_from: Literal["apiServer", "issuer"] = Field(
        default="apiServer",
        description="issuer: keys come from the cluster's public issuer and the API server is never called; needs one"
        " issuer in issuers, and tokenReview.mode: never.",
    )
    jwks_url: Annotated[str, StringConstraints(max_length=2048), AfterValidator(keys_url)] | None = Field(
        default=None,
        description="The URL of the keys with keysFrom: issuer, instead of the issuer's discovery.",
    )
    certificate_authority: Annotated[Block, AfterValidator(check_certificates)] | None = Field(
        default=None,
        description="PEM certificates of the CAs for the issuer's server with keysFrom: issuer; null: the system's.",
    )

    @property
    def has_api(self) -> bool:
        """Whether the API server is called."""
        return self.static_keys is None and self.keys_from == "apiServer"

    @field_validator("revocation")
    @classmethod
    def _has_token_reviews(cls, value: str, info: ValidationInfo) -> str:
        review = info.data.get("token_review")
        if value == "watch" and isinstance(review, TokenReviewConfig) and review.mode == "never":
            raise ValueError(_WATCH_NEEDS_REVIEWS)
        return value

    @field_validator("static_keys")
    @classmethod
    def _replace_the_api_server(
        cls, value: StaticKeysConfig | None, info: ValidationInfo
    ) -> StaticKeysConfig | None:
        review = info.data.get("token_review")
        if value is None:
            return value
        if isinstance(review, TokenReviewConfig) and review.mode != "never":
            raise ValueError("need tokenReview.mode: never, because the API server is not called")
        if not info.data.get("issuers", True):
            raise ValueError("need the cluster's issuer in issuers, because there is no discovery")
        if info.data.get("kubeconfig") is not None or info.data.get("context") is not None:
            raise ValueError("replace the API server: leave kubeconfig and context out")
        return value

    @field_validator("keys_from")
    @classmethod
    def _replaces_the_api_server(cls, value: str, info: ValidationInfo) -> str:
        review = info.data.get("token_review")
        if value == "apiServer":
            return value
        if isinstance(review, TokenReviewConfig) and review.mode != "never":
            raise ValueError("needs tokenReview.mode: never, because the API server is not called")
        if len(info.data.get("issuers", ("",))) != 1:
            raise ValueError("needs exactly one issuer in issuers: the cluster's public issuer")
        if info.data.get("kubeconfig") is not None or info.data.get("context") is not None:
            raise ValueError("replaces the API server: leave kubeconfig and context out")
        if info.data.get("static_keys") is not None:
            raise ValueError("must be apiServer, the default, with staticKeys: keys have one source")
        return value

    def contradictions(self) -> Iterator[Finding]:
        """Yield a source of keys that is not used, or cannot be."""
        if self.keys_from == "apiServer" and self.jwks_url is not None:
            sentence = "needs keysFrom: issuer; the API server's keys are at its own address"
            yield Finding(("jwksURL",), sentence, rule=sentence)
        if self.keys_from == "apiServer" and self.certificate_authority is not None:
            sentence = "needs keysFrom: issuer; the API server's authority is in the kubeconfig"
            yield Finding(("certificateAuthority",), sentence, rule=sentence)
        if self.keys_from == "issuer" and self.jwks_url is None and "://" not in self.issuers[0]:
            sentence = "must be an https:// URL, because keys are found through it; or set jwksURL"
            yield Finding(("issuers", 0), sentence, rule=sentence)
