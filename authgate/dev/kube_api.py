"""The part of the kube API that `authgate dev` needs, with the responses of kube-apiserver 1.36."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web

from authgate.dev import messages
from authgate.dev.access import answer_self_access, review_access
from authgate.dev.compact import JsonObject
from authgate.dev.issuer import WELL_KNOWN
from authgate.dev.kube import KubeState, Permission, User
from authgate.dev.messages import BadBodyError, members, posted, strings, text
from authgate.dev.review import Authenticated, Outcome, Refused, authenticate, review

DISCOVERY_PATH: Final = WELL_KNOWN
JWKS_PATH: Final = "/openid/v1/jwks"
TOKEN_REVIEWS_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SELF_ACCESS_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_MAX_AGE: Final = "public, max-age=3600"
_VERSION: Final[Mapping[str, object]] = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+authgate-dev",
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}

Handler: TypeAlias = Callable[[User, web.BaseRequest], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """One answered TokenReview: the caller, the requested audiences and the verdict, but never the token."""

    caller: str
    audiences: tuple[str, ...]
    authenticated: bool


class KubeAPI:
    """Serve discovery, JWKS, TokenReview, SubjectAccessReview and its self variant, version and health of one cluster.

    `reviews` and `access_reviews` keep the last thousand TokenReviews and SubjectAccessReview specs.
    """

    def __init__(self, state: KubeState) -> None:
        self.state = state
        self.reviews: deque[ReviewRecord] = deque(maxlen=1000)
        self.access_reviews: deque[Mapping[str, object]] = deque(maxlen=1000)
        self._handlers: Mapping[str, Handler] = {
            DISCOVERY_PATH: self._discovery,
            JWKS_PATH: self._jwks,
            TOKEN_REVIEWS_PATH: self._token_review,
            ACCESS_REVIEWS_PATH: self._access_review,
            SELF_ACCESS_PATH: self._self_access,
            "/version": self._version,
            "/livez": self._health,
            "/readyz": self._health,
            "/healthz": self._health,
        }

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Return the response to a request, or None if this API does not have the path."""
        handler = self._handlers.get(request.path)
        if handler is None:
            return None
        match authenticate(self.state, request.headers.get("Authorization", "")):
            case Refused():
                return messages.unauthorized()
            case Authenticated(user=user):
                return await handler(user, request)

    async def _version(self, _user: User, request: web.BaseRequest) -> web.Response:
        return messages.answer(_VERSION) if request.method == "GET" else messages.method_not_allowed()

    async def _health(self, _user: User, request: web.BaseRequest) -> web.Response:
        return messages.plain("ok") if request.method == "GET" else messages.method_not_allowed()

    async def _discovery(self, user: User, request: web.BaseRequest) -> web.Response:
        return self._document(user, request, self.state.issuer.discovery(), "application/json")

    async def _jwks(self, user: User, request: web.BaseRequest) -> web.Response:
        return self._document(user, request, self.state.issuer.jwks(), "application/jwk-set+json")

    def _document(
        self, user: User, request: web.BaseRequest, document: JsonObject, content_type: str
    ) -> web.Response:
        if not self.state.is_allowed(user, Permission.DISCOVER):
            return messages.forbidden_path(user, request.method, request.path)
        if request.method != "GET":
            return messages.method_not_allowed()
        return messages.answer(document, content_type=content_type, cache_control=_MAX_AGE)

    async def _token_review(self, user: User, request: web.BaseRequest) -> web.Response:
        if not self.state.is_allowed(user, Permission.REVIEW_TOKENS):
            return messages.forbidden_to_create(user, "tokenreviews", "authentication.k8s.io")
        try:
            spec = members(await posted(request, "TokenReview"), "spec")
            token, audiences = text(spec, "token"), strings(spec, "audiences")
        except BadBodyError as bad:
            return bad.response
        if not token:
            return messages.bad_request("token is required for TokenReview in authentication")
        verdict = review(self.state, token, audiences)
        self.reviews.append(ReviewRecord(user.username, audiences, isinstance(verdict, Authenticated)))
        reviewed: JsonObject = {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": {"token": token, **({"audiences": list(audiences)} if audiences else {})},
            "status": _review_status(verdict),
        }
        return messages.answer(reviewed, 201)

    async def _access_review(self, user: User, request: web.BaseRequest) -> web.Response:
        if not self.state.is_allowed(user, Permission.REVIEW_TOKENS):
            return messages.forbidden_to_create(user, "subjectaccessreviews", "authorization.k8s.io")
        try:
            spec = members(await posted(request, "SubjectAccessReview"), "spec")
            answer = review_access(self.state, spec)
        except BadBodyError as bad:
            return bad.response
        self.access_reviews.append(spec)
        kind: JsonObject = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        return messages.answer({**kind, "metadata": {}, "spec": spec, "status": answer}, 201)

    async def _self_access(self, user: User, request: web.BaseRequest) -> web.Response:
        try:
            return answer_self_access(self.state, user, await posted(request, "SelfSubjectAccessReview"))
        except BadBodyError as bad:
            return bad.response


def _review_status(verdict: Outcome) -> JsonObject:
    match verdict:
        case Refused(error=error):
            return {"user": {}, "error": error}
        case Authenticated(user=user, audiences=audiences):
            return {"authenticated": True, "user": _user_info(user), "audiences": list(audiences)}


def _user_info(user: User) -> JsonObject:
    """Return the user as the server serializes it: without empty members."""
    written: JsonObject = {
        "username": user.username,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {name: list(values) for name, values in user.extra.items()},
    }
    return {name: value for name, value in written.items() if value}
