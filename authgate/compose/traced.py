"""Record requests to other servers as spans. Without tracing, each function returns what it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from authgate.cluster.api import ApiError
from authgate.keys.remote import KeyFetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from authgate.cluster.api import (
        AccessAnswer,
        AccessAPI,
        AccessAttributes,
        ReviewAnswer,
        TokenReviewAPI,
    )
    from authgate.keys.fetch import Fetcher
    from authgate.keys.introspection import IntrospectionClient
    from authgate.keys.jwk import KeyDocument
    from authgate.keys.remote import KeySource
    from authgate.model import Identity, JSONValue
    from authgate.observability.tracing import Tracing
    from authgate.verify.introspection import IntrospectionAPI

T = TypeVar("T")

_FETCH_KEYS: Final = "fetch keys"


def traced_keys(tracing: Tracing | None, source: KeySource, name: str, url: str) -> KeySource:
    """Return a source of an issuer's or a cluster's keys, which are fetched from the server of `url`."""
    return source if tracing is None else _Keys(_Requests(tracing, name), source, url)


def traced_fetcher(tracing: Tracing | None, fetcher: Fetcher, name: str) -> Fetcher:
    """Return a fetcher of single keys of an issuer."""
    return fetcher if tracing is None else _Fetcher(_Requests(tracing, name), fetcher)


def traced_token_reviews(tracing: Tracing | None, api: TokenReviewAPI, name: str, url: str) -> TokenReviewAPI:
    """Return the TokenReviews of a cluster."""
    return api if tracing is None else _TokenReviews(_Requests(tracing, name), api, url)


def traced_access_reviews(tracing: Tracing | None, api: AccessAPI, name: str, url: str) -> AccessAPI:
    """Return the SubjectAccessReviews of a cluster."""
    return api if tracing is None else _AccessReviews(_Requests(tracing, name), api, url)


def traced_introspection(tracing: Tracing | None, client: IntrospectionClient, name: str) -> IntrospectionAPI:
    """Return the introspection endpoint of an authorization server."""
    return client if tracing is None else _Introspection(_Requests(tracing, name), client)


class _Requests:
    """Records requests for an issuer or a cluster under its configured name."""

    def __init__(self, tracing: Tracing, name: str) -> None:
        self._tracing = tracing
        self._attributes = {"authgate.issuer": name}

    async def record(self, span: str, method: str, url: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._tracing.request(
            span, call, method=method, url=url, attributes=self._attributes, error_type=_error_type
        )


class _Keys:
    def __init__(self, requests: _Requests, source: KeySource, url: str) -> None:
        self._requests, self._source, self._url = requests, source, url

    async def fetch(self) -> KeyDocument:
        return await self._requests.record(_FETCH_KEYS, "GET", self._url, self._source.fetch)


class _Fetcher:
    def __init__(self, requests: _Requests, fetcher: Fetcher) -> None:
        self._requests, self._fetcher = requests, fetcher

    async def fetch(self, url: str) -> bytes:
        return await self._requests.record(_FETCH_KEYS, "GET", url, lambda: self._fetcher.fetch(url))


class _TokenReviews:
    def __init__(self, requests: _Requests, api: TokenReviewAPI, url: str) -> None:
        self._requests, self._api, self._url = requests, api, url

    async def review_token(self, token: str, audiences: tuple[str, ...]) -> ReviewAnswer:
        return await self._requests.record(
            "TokenReview", "POST", self._url, lambda: self._api.review_token(token, audiences)
        )


class _AccessReviews:
    def __init__(self, requests: _Requests, api: AccessAPI, url: str) -> None:
        self._requests, self._api, self._url = requests, api, url

    async def review_access(self, identity: Identity, attributes: AccessAttributes) -> AccessAnswer:
        return await self._requests.record(
            "SubjectAccessReview", "POST", self._url, lambda: self._api.review_access(identity, attributes)
        )


class _Introspection:
    def __init__(self, requests: _Requests, client: IntrospectionClient) -> None:
        self._requests, self._client = requests, client

    async def introspect(self, token: str) -> Mapping[str, JSONValue] | None:
        return await self._requests.record(
            "introspect token", "POST", self._client.endpoint, lambda: self._client.introspect(token)
        )

    async def close(self) -> None:
        await self._client.close()


def _error_type(error: Exception) -> str:
    match error:
        case ApiError():
            return error.kind.value
        case KeyFetchError() if error.status:
            return str(error.status)
        case KeyFetchError() if error.failure is not None:
            return error.failure.name.lower()
        case _:
            return type(error).__name__
