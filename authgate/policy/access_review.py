"""The attributes of access reviews: built from the verified identity and the original request. Pure.

The query and unverified headers of a request never become part of a review.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Protocol

from authgate.cluster.api import AccessAttributes, NonResourceAttributes, ResourceAttributes
from authgate.errors import Reason
from authgate.policy.paths import plain_path
from authgate.vocabulary import POD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.model import Identity, OriginalRequest

_MAX_PATH: Final = 200
_PLACEHOLDER = re.compile(r"\{\{ ?\.([A-Za-z]+) ?\}\}")
# A method may be any token (RFC 9110, section 9.1); all registered methods have only letters and dashes.
_METHOD = re.compile(r"[A-Za-z][A-Za-z-]{0,31}")


@dataclass(frozen=True, slots=True)
class NothingToReview:
    """No access review is possible: the request is denied with `reason`."""

    reason: Reason
    detail: str = ""


class AttributesRule(Protocol):
    """Builds the attributes of an access review."""

    @property
    def reads_request(self) -> bool:
        """Whether the attributes depend on the original request."""
        ...

    def attributes(self, identity: Identity, request: OriginalRequest) -> AccessAttributes | NothingToReview:
        """Return the attributes to review for `identity`, or why no review is possible."""
        ...


class RequestAttributes:
    """Reviews the path and method of the original request, as the kube-apiserver does for its non-resource paths.

    Source: staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go: the path is decoded once, the method is
    in lower case. An ambiguous path is denied, because the cluster and the app could read it differently.
    """

    reads_request = True

    def attributes(self, identity: Identity, request: OriginalRequest) -> AccessAttributes | NothingToReview:
        """Return the request's path and verb. The identity is not used."""
        method, path = request.method, request.path
        if method is None or path is None or _METHOD.fullmatch(method) is None:
            return NothingToReview(Reason.REQUEST_UNKNOWN)
        plain = plain_path(path)
        if plain is None:
            return NothingToReview(Reason.PATH_AMBIGUOUS)
        return NonResourceAttributes(plain, method.lower())


class Template:
    """A text with placeholders of the verified identity, such as `{{ .Namespace }}`. Unknown ones raise ValueError."""

    __slots__ = ("_parts",)

    def __init__(self, text: str) -> None:
        self._parts = tuple(_PLACEHOLDER.split(text))  # text, name, text, name, …, text
        unknown = [name for name in self._parts[1::2] if name not in _VALUES]
        if unknown or any("{{" in part or "}}" in part for part in self._parts[::2]):
            raise ValueError(
                f"{text!r} has an unknown placeholder; write one of {', '.join(_VALUES)} as {{{{ .Name }}}}"
            )

    def render(self, identity: Identity) -> str | NothingToReview:
        """Return the text with its values. A missing value, or `*`, which would match everything, allows no review."""
        rendered = list(self._parts)
        for index in range(1, len(rendered), 2):
            name = rendered[index]
            value = _VALUES[name](identity)
            if value in ("", "*"):
                return NothingToReview(Reason.ACCESS_DENIED, f"the identity has no {name}")
            rendered[index] = value
        return "".join(rendered)


def _namespace(identity: Identity) -> str:
    account = identity.service_account
    return account.namespace if account is not None and identity.cluster is not None else ""


def _service_account(identity: Identity) -> str:
    account = identity.service_account
    return account.name if account is not None and identity.cluster is not None else ""


def _pod(identity: Identity) -> str:
    return identity.extra_value(POD_NAME) if identity.cluster is not None else ""


_VALUES: Final[Mapping[str, Callable[[Identity], str]]] = {
    "Namespace": _namespace,
    "ServiceAccount": _service_account,
    "Pod": _pod,
    "Username": lambda identity: identity.username,
    "UID": lambda identity: identity.uid,
}


class ResourceTemplates:
    """Reviews access to one Kubernetes object or kind of objects; each attribute is a `Template`."""

    reads_request = False

    def __init__(self, texts: ResourceAttributes) -> None:
        self._templates = {field.name: Template(getattr(texts, field.name)) for field in fields(texts)}

    def attributes(self, identity: Identity, request: OriginalRequest) -> AccessAttributes | NothingToReview:
        """Return the attributes with the identity's values. The request is not used."""
        rendered: dict[str, str] = {}
        for name, template in self._templates.items():
            text = template.render(identity)
            if isinstance(text, NothingToReview):
                return text
            rendered[name] = text
        return ResourceAttributes(**rendered)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The access review of a policy, and for how many seconds an allowed and a denied answer are cached.

    `cluster` reviews identities that do not come from a cluster; None means the first cluster.
    """

    rule: AttributesRule
    allowed_ttl: float = 300.0
    denied_ttl: float = 30.0
    cluster: str | None = None


def describe(attributes: AccessAttributes) -> str:
    """Return the attributes in a few words, for people. Long paths are truncated."""
    if isinstance(attributes, NonResourceAttributes):
        return f"{attributes.verb} {attributes.path[:_MAX_PATH]}"
    what = "/".join(text for text in (attributes.resource, attributes.subresource) if text)
    parts = [attributes.verb, f"{what}.{attributes.group}" if attributes.group else what]
    parts += [f"'{attributes.name}'"] if attributes.name else []
    parts += [f"in namespace '{attributes.namespace}'"] if attributes.namespace else []
    return " ".join(parts)
