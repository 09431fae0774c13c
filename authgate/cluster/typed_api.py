"""The typed requests of the Kubernetes API. The only importer of kubernetes_asyncio.

Importing it costs 5 MB, so `client` imports this module in a thread before the first such request. The library's
packages import a thousand models and APIs, which costs 37 MB and 0.4 s of CPU. So only the needed modules are imported,
without running the packages' `__init__`.

The library builds the requests and nothing else. Its own transport follows redirects with the token under review, reads
~/.netrc, reads answers without a bound and logs them; its models read the text "false" as true.
"""

from __future__ import annotations

# ruff: noqa: E402 - the packages are prepared before their modules are imported
import json
import sys
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final, cast


def _without_init(*names: str) -> None:
    """Register packages so that their modules can be imported, without running their `__init__`."""
    for name in names:
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules[name] = module_from_spec(spec)


_without_init(
    "kubernetes_asyncio",
    "kubernetes_asyncio.client",
    "kubernetes_asyncio.client.api",
    "kubernetes_asyncio.client.models",
)

from kubernetes_asyncio.client.api.authentication_v1_api import AuthenticationV1Api
from kubernetes_asyncio.client.api.authorization_v1_api import AuthorizationV1Api
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.client.models.authentication_v1_token_request import AuthenticationV1TokenRequest
from kubernetes_asyncio.client.models.v1_bound_object_reference import V1BoundObjectReference
from kubernetes_asyncio.client.models.v1_non_resource_attributes import V1NonResourceAttributes
from kubernetes_asyncio.client.models.v1_resource_attributes import V1ResourceAttributes
from kubernetes_asyncio.client.models.v1_self_subject_access_review import V1SelfSubjectAccessReview
from kubernetes_asyncio.client.models.v1_self_subject_access_review_spec import V1SelfSubjectAccessReviewSpec
from kubernetes_asyncio.client.models.v1_subject_access_review import V1SubjectAccessReview
from kubernetes_asyncio.client.models.v1_subject_access_review_spec import V1SubjectAccessReviewSpec
from kubernetes_asyncio.client.models.v1_token_request_spec import V1TokenRequestSpec
from kubernetes_asyncio.client.models.v1_token_review import V1TokenReview
from kubernetes_asyncio.client.models.v1_token_review_spec import V1TokenReviewSpec

from authgate.cluster.api import NonResourceAttributes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authgate.cluster.api import AccessAttributes, ResourceAttributes
    from authgate.cluster.token_request import TokenSpec
    from authgate.cluster.transport import RawAnswer
    from authgate.model import Identity

    Post = Callable[[str, bytes], Awaitable[RawAnswer]]
    """Posts a JSON body to a path of the API server."""

_AUTHENTICATION: Final = "authentication.k8s.io/v1"
_AUTHORIZATION: Final = "authorization.k8s.io/v1"


class TypedAPI:
    """Builds one typed request per method, and returns what `post` returns for it."""

    def __init__(self, post: Post) -> None:
        self._client = _Client(post)
        self._authentication = AuthenticationV1Api(self._client)
        self._authorization = AuthorizationV1Api(self._client)

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> RawAnswer:
        """Post a TokenReview of `token` for `audiences`."""
        spec = V1TokenReviewSpec(token=token, audiences=list(audiences))
        review = V1TokenReview(_AUTHENTICATION, "TokenReview", spec=spec)
        return await _answer(self._authentication.create_token_review(review, _preload_content=False))

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> RawAnswer:
        """Post a SubjectAccessReview: may `identity`, with everything known about it, do this?"""
        spec = V1SubjectAccessReviewSpec(
            user=identity.username,
            uid=identity.uid,
            groups=list(identity.groups),
            extra={key: list(values) for key, values in identity.extra},
        )
        if isinstance(attributes, NonResourceAttributes):
            spec.non_resource_attributes = V1NonResourceAttributes(attributes.path, attributes.verb)
        else:
            spec.resource_attributes = _resource(attributes)
        review = V1SubjectAccessReview(_AUTHORIZATION, "SubjectAccessReview", spec=spec)
        return await _answer(self._authorization.create_subject_access_review(review, _preload_content=False))

    async def review_own_access(self, attributes: ResourceAttributes) -> RawAnswer:
        """Post a SelfSubjectAccessReview: may the sending account do this?"""
        spec = V1SelfSubjectAccessReviewSpec(resource_attributes=_resource(attributes))
        review = V1SelfSubjectAccessReview(_AUTHORIZATION, "SelfSubjectAccessReview", spec=spec)
        return await _answer(
            self._authorization.create_self_subject_access_review(review, _preload_content=False)
        )

    async def request_token(self, wanted: TokenSpec) -> RawAnswer:
        """Post a TokenRequest for a ServiceAccount."""
        from kubernetes_asyncio.client.api.core_v1_api import CoreV1Api  # 3 MB, which no gate needs

        spec = V1TokenRequestSpec(audiences=list(wanted.audiences), expiration_seconds=wanted.lifetime)
        if wanted.bound_to is not None:
            bound = wanted.bound_to
            spec.bound_object_ref = V1BoundObjectReference(api_version="v1", kind=bound.kind, name=bound.name)
        request = AuthenticationV1TokenRequest(_AUTHENTICATION, "TokenRequest", spec=spec)
        return await _answer(
            CoreV1Api(self._client).create_namespaced_service_account_token(
                wanted.account, wanted.namespace, request, _preload_content=False
            )
        )


class _Client(ApiClient):
    """Sends what the library built through the gate's own transport."""

    last_response = property(lambda _: None, lambda _, answer: None)
    """Where the library would keep the last answer, which repeats the token under review."""

    def __init__(self, post: Post) -> None:
        # Not the library's __init__: it opens a session of its own and reads the system's CA certificates.
        self._post = post
        self.configuration = Configuration(host="")
        self.default_headers = {}
        self.cookie = ""
        self.client_side_validation = True

    async def request(self, _method: str, url: str, *, body: object, **_: object) -> RawAnswer:  # type: ignore[override]  # fewer arguments
        """Post a body; every request of `TypedAPI` is a POST without a query."""
        return await self._post(url, json.dumps(body).encode())


async def _answer(request: Awaitable[Any]) -> RawAnswer:
    # With `_preload_content=False` the library returns what `_Client.request` returned, whatever its signature says.
    return cast("RawAnswer", await request)


def _resource(attributes: ResourceAttributes) -> V1ResourceAttributes:
    return V1ResourceAttributes(
        namespace=attributes.namespace,
        group=attributes.group,
        version=attributes.version,
        resource=attributes.resource,
        subresource=attributes.subresource,
        name=attributes.name,
        verb=attributes.verb,
    )
