"""Reason codes: why a request was allowed, denied or unavailable, and what each code means in the response.

The same code is in the ``X-Auth-Reason`` header, the audit log and the ``reason`` label of the metrics.
``docs/reasons.md`` lists all of them; a test compares that page with this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Step(StrEnum):
    """A step of a request through authgate, in order."""

    CREDENTIAL = "credential"
    STRUCTURE = "structure"
    ISSUER = "issuer"
    KEY = "key"
    SIGNATURE = "signature"
    TIME = "time"
    AUDIENCE = "audience"
    IDENTITY = "identity"
    POLICY = "policy"


class Challenge(StrEnum):
    """The ``error`` of a Bearer challenge (RFC 6750, section 3.1)."""

    NONE = ""
    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"
    INSUFFICIENT_SCOPE = "insufficient_scope"


class Reason(StrEnum):
    """The reason for a decision. The set is closed, so metrics have a bounded number of labels."""

    # allowed
    AUTHENTICATED = "authenticated"
    ANONYMOUS = "anonymous"
    # 401: the credential
    NO_CREDENTIAL = "no_credential"
    MULTIPLE_CREDENTIALS = "multiple_credentials"
    CREDENTIAL_AMBIGUOUS = "credential_ambiguous"
    SCHEME_NOT_BEARER = "scheme_not_bearer"
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_TOO_LARGE = "credential_too_large"
    # 401: the token's structure
    TOKEN_MALFORMED = "token_malformed"
    TOKEN_ENCRYPTED = "token_encrypted"
    TOKEN_OPAQUE = "token_opaque"
    DUPLICATE_MEMBER = "duplicate_member"
    CRITICAL_HEADER = "critical_header"
    TYPE_NOT_ACCEPTED = "type_not_accepted"
    TOKEN_SENDER_CONSTRAINED = "token_sender_constrained"
    CLAIM_MALFORMED = "claim_malformed"
    # 401: the token's verification
    ISSUER_UNKNOWN = "issuer_unknown"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_LIFETIME_TOO_LONG = "token_lifetime_too_long"
    AUDIENCE_MISMATCH = "audience_mismatch"
    CLAIM_RULE_FAILED = "claim_rule_failed"
    USER_RULE_FAILED = "user_rule_failed"
    IDENTITY_INVALID = "identity_invalid"
    REVIEW_REJECTED = "review_rejected"
    OBJECT_DELETED = "object_deleted"
    INTROSPECTION_INACTIVE = "introspection_inactive"
    # 403
    NOT_ALLOWED = "not_allowed"
    DENIED = "denied"
    ACCESS_DENIED = "access_denied"
    REQUEST_UNKNOWN = "request_unknown"
    PATH_AMBIGUOUS = "path_ambiguous"
    EXPRESSION_FAILED = "expression_failed"
    IDENTITY_UNSENDABLE = "identity_unsendable"
    IDENTITY_TOO_LARGE = "identity_too_large"
    # 404
    NO_SUCH_ENDPOINT = "no_such_endpoint"
    # 503
    KEYS_UNAVAILABLE = "keys_unavailable"
    KEY_PENDING = "key_pending"
    REVIEW_UNAVAILABLE = "review_unavailable"
    REVIEW_FORBIDDEN = "review_forbidden"
    REVIEW_THROTTLED = "review_throttled"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"
    INTROSPECTION_THROTTLED = "introspection_throttled"
    ACCESS_REVIEW_UNAVAILABLE = "access_review_unavailable"
    ACCESS_REVIEW_FORBIDDEN = "access_review_forbidden"
    ACCESS_REVIEW_THROTTLED = "access_review_throttled"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """The HTTP status, RFC 6750 error and pipeline step of a reason, what it means and how to fix it."""

    status: int
    challenge: Challenge
    step: Step | None
    meaning: str
    remedy: str


def _bad_request(meaning: str, remedy: str) -> ReasonInfo:
    return ReasonInfo(401, Challenge.INVALID_REQUEST, Step.CREDENTIAL, meaning, remedy)


def _bad_token(step: Step, meaning: str, remedy: str) -> ReasonInfo:
    return ReasonInfo(401, Challenge.INVALID_TOKEN, step, meaning, remedy)


def _forbidden(meaning: str, remedy: str) -> ReasonInfo:
    return ReasonInfo(403, Challenge.INSUFFICIENT_SCOPE, Step.POLICY, meaning, remedy)


def _unavailable(step: Step | None, meaning: str, remedy: str) -> ReasonInfo:
    return ReasonInfo(503, Challenge.NONE, step, meaning, remedy)


_TABLE: Final = {
    Reason.AUTHENTICATED: ReasonInfo(
        200, Challenge.NONE, None, "the token is valid and the policy allows the request", ""
    ),
    Reason.ANONYMOUS: ReasonInfo(
        200, Challenge.NONE, None, "the policy allows this path, or this CORS preflight, without a token", ""
    ),
    Reason.NO_CREDENTIAL: ReasonInfo(
        401,
        Challenge.NONE,
        Step.CREDENTIAL,
        "the request has no token",
        "send 'Authorization: Bearer <token>', or the token in one of credential.sources",
    ),
    Reason.MULTIPLE_CREDENTIALS: _bad_request(
        "the request has more than one credential",
        "send one token in one place; if Authorization belongs to the app, set credential.authorization: ignore",
    ),
    Reason.CREDENTIAL_AMBIGUOUS: _bad_request(
        "the request is ambiguous: the app may read a different credential from it than authgate",
        "send one token under the exact name of its source; remove cookies, parameters and headers with similar names",
    ),
    Reason.SCHEME_NOT_BEARER: _bad_request(
        "the authorization scheme is not Bearer", "send 'Authorization: Bearer <token>'"
    ),
    Reason.CREDENTIAL_MALFORMED: _bad_request(
        "the credential is not exactly one bearer token",
        "send only the token (in Authorization: after 'Bearer '), without quotes, spaces or control characters",
    ),
    Reason.CREDENTIAL_TOO_LARGE: _bad_request(
        "the token is longer than limits.maxTokenBytes",
        "request a smaller token (for example with fewer groups), or raise limits.maxTokenBytes",
    ),
    Reason.TOKEN_MALFORMED: _bad_token(
        Step.STRUCTURE,
        "the token is not a well-formed signed JWT",
        "check that the token was not cut off; 'authgate inspect' shows what is wrong",
    ),
    Reason.TOKEN_ENCRYPTED: _bad_token(
        Step.STRUCTURE,
        "the token is an encrypted JWT",
        "request a signed token: an access token for your own API (with Auth0, name its audience), not a refresh token",
    ),
    Reason.TOKEN_OPAQUE: _bad_token(
        Step.STRUCTURE,
        "the token is not a JWT, and no introspection or TokenReview is configured for it",
        "send a JWT, or configure introspection for such tokens (for a cluster: tokenReview.legacyAudiences)",
    ),
    Reason.DUPLICATE_MEMBER: _bad_token(
        Step.STRUCTURE,
        "a JSON object in the token has a duplicate member",
        "fix the issuer: member names must be unique (RFC 7519, section 4)",
    ),
    Reason.CRITICAL_HEADER: _bad_token(
        Step.STRUCTURE,
        "the token's 'crit' header requires an extension that authgate does not support",
        "configure the issuer not to set 'crit' (RFC 7515, section 4.1.11)",
    ),
    Reason.TYPE_NOT_ACCEPTED: _bad_token(
        Step.STRUCTURE,
        "the token's 'typ' is not accepted",
        "send an access token or ID token, or add the type to gate.types",
    ),
    Reason.TOKEN_SENDER_CONSTRAINED: _bad_token(
        Step.STRUCTURE,
        "the token is bound to its sender's key or certificate ('cnf'), which authgate cannot verify",
        "request a bearer token without 'cnf', or accept the risk with gate.unsafeIgnoreConfirmation",
    ),
    Reason.CLAIM_MALFORMED: _bad_token(
        Step.STRUCTURE,
        "a registered claim is missing or has the wrong JSON type",
        "fix the issuer: RFC 7519, section 4.1 defines the claim",
    ),
    Reason.ISSUER_UNKNOWN: _bad_token(
        Step.ISSUER,
        "the token's issuer is not configured",
        "compare the token's 'iss' with the configured issuer URLs; they must be identical, including a trailing slash",
    ),
    Reason.ALGORITHM_NOT_ALLOWED: _bad_token(
        Step.KEY,
        "the token's signing algorithm is not allowed for its issuer",
        "sign with one of gate.algorithms, or add the algorithm there; 'none' and HMAC are never allowed",
    ),
    Reason.KEY_UNKNOWN: _bad_token(
        Step.KEY,
        "no published key of the issuer matches the token",
        "request a new token if the issuer rotated its keys; if it never publishes this key, use introspection",
    ),
    Reason.SIGNATURE_INVALID: _bad_token(
        Step.SIGNATURE,
        "the token's signature is invalid",
        "request a new token: this one was changed, or was signed with a different key",
    ),
    Reason.TOKEN_EXPIRED: _bad_token(Step.TIME, "the token has expired", "request a new token"),
    Reason.TOKEN_NOT_YET_VALID: _bad_token(
        Step.TIME, "the token is not valid yet", "compare the clocks of the issuer and of authgate's host"
    ),
    Reason.TOKEN_LIFETIME_TOO_LONG: _bad_token(
        Step.TIME,
        "the token's lifetime is longer than gate.maxTokenLifetime",
        "request a token with a shorter lifetime, or raise gate.maxTokenLifetime",
    ),
    Reason.AUDIENCE_MISMATCH: _bad_token(
        Step.AUDIENCE,
        "the token is for a different audience",
        "request a token for one of the accepted audiences",
    ),
    Reason.CLAIM_RULE_FAILED: _bad_token(
        Step.IDENTITY,
        "the token's claims do not satisfy a validation rule of the issuer",
        "compare the token's claims with the issuer's claimValidationRules",
    ),
    Reason.USER_RULE_FAILED: _bad_token(
        Step.IDENTITY,
        "the user built from the claims does not satisfy a validation rule of the issuer",
        "compare the token's claims and the issuer's claimMappings with its userValidationRules",
    ),
    Reason.IDENTITY_INVALID: _bad_token(
        Step.IDENTITY,
        "the token's claims do not form a valid identity",
        "compare the token's claims with the issuer's claimMappings",
    ),
    Reason.REVIEW_REJECTED: _bad_token(
        Step.SIGNATURE,
        "the cluster's TokenReview API rejected the token",
        "request a new token: its service account, pod or secret may have been deleted;"
        " if all static and legacy tokens are rejected, check legacyAudiences with 'authgate doctor'",
    ),
    Reason.OBJECT_DELETED: _bad_token(
        Step.IDENTITY,
        "the pod, service account, node or secret that the token is bound to was deleted",
        "request a new token for an object that exists",
    ),
    Reason.INTROSPECTION_INACTIVE: _bad_token(
        Step.SIGNATURE,
        "the authorization server reports that the token is not active",
        "request a new token: this one has expired, was revoked, or is unknown to the server",
    ),
    Reason.NOT_ALLOWED: _forbidden(
        "no allow entry of the policy matches the identity", "add the identity to the policy's allow list"
    ),
    Reason.DENIED: _forbidden(
        "a deny entry of the policy matches the identity", "remove the identity from the policy's deny list"
    ),
    Reason.ACCESS_DENIED: _forbidden(
        "the cluster's RBAC does not grant the identity the access that the policy requires",
        "bind a Role or ClusterRole that grants it; the audit log shows the API server's reason",
    ),
    Reason.REQUEST_UNKNOWN: _forbidden(
        "the proxy did not send the original method, host or path, which this policy needs",
        "configure the proxy to send the original method, path and host in the headers of server.proxy",
    ),
    Reason.PATH_AMBIGUOUS: _forbidden(
        "the path is ambiguous: the app may read it differently from authgate",
        "request the plain path: no empty or dot segments, semicolons or backslashes, escaped or not",
    ),
    Reason.EXPRESSION_FAILED: _forbidden(
        "a CEL expression of the policy failed for this request",
        "find the expression in the audit log; use has() or .? for fields that may be missing",
    ),
    Reason.IDENTITY_UNSENDABLE: _forbidden(
        "an identity value cannot be sent in a header unchanged",
        "remove leading and trailing white space from the name at the issuer",
    ),
    Reason.IDENTITY_TOO_LARGE: _forbidden(
        "the identity headers are longer than headers.maxBytes",
        "reduce the number of groups, or raise headers.maxBytes and the proxy's buffer sizes",
    ),
    Reason.NO_SUCH_ENDPOINT: ReasonInfo(
        404,
        Challenge.NONE,
        None,
        "the path is not an authgate endpoint, or the policy does not exist",
        "configure the proxy to send the subrequest to /verify or /policies/<name>/verify",
    ),
    Reason.KEYS_UNAVAILABLE: _unavailable(
        Step.KEY,
        "the issuer's keys are not available now",
        "open /readyz?verbose on the admin port to see which fetch fails and why",
    ),
    Reason.KEY_PENDING: _unavailable(
        Step.KEY,
        "the token's key was missing in the last fetch seconds ago, and the next fetch may include it",
        "retry after the time in Retry-After; not an outage: the issuer is rotating keys, or the token is forged",
    ),
    Reason.REVIEW_UNAVAILABLE: _unavailable(
        Step.SIGNATURE,
        "the cluster's TokenReview API is unreachable or returns errors",
        "read the API server's error in the log",
    ),
    Reason.REVIEW_FORBIDDEN: _unavailable(
        Step.SIGNATURE,
        "authgate is not allowed to create TokenReviews",
        "bind the ClusterRole system:auth-delegator to authgate's ServiceAccount",
    ),
    Reason.REVIEW_THROTTLED: _unavailable(
        Step.SIGNATURE,
        "more tokens need a TokenReview than the budget allows",
        "raise cluster.tokenReview.qps and burst, or give authgate access to the cluster's keys",
    ),
    Reason.INTROSPECTION_UNAVAILABLE: _unavailable(
        Step.SIGNATURE,
        "the introspection endpoint is unreachable, returns errors, or refuses authgate's client credentials",
        "read the endpoint's error in the log, or run 'authgate doctor'",
    ),
    Reason.INTROSPECTION_THROTTLED: _unavailable(
        Step.SIGNATURE,
        "more tokens need introspection than the budget allows",
        "raise qps and burst of the introspection entry, or its cache.ttl",
    ),
    Reason.ACCESS_REVIEW_UNAVAILABLE: _unavailable(
        Step.POLICY,
        "the cluster's SubjectAccessReview API is unreachable or returns errors",
        "read the API server's error in the log",
    ),
    Reason.ACCESS_REVIEW_FORBIDDEN: _unavailable(
        Step.POLICY,
        "authgate is not allowed to create SubjectAccessReviews",
        "bind the ClusterRole system:auth-delegator to authgate's ServiceAccount with a ClusterRoleBinding",
    ),
    Reason.ACCESS_REVIEW_THROTTLED: _unavailable(
        Step.POLICY,
        "more requests need a SubjectAccessReview than the budget allows",
        "raise cluster.tokenReview.qps and burst, or the policy's allowedTTL",
    ),
    Reason.INTERNAL_ERROR: _unavailable(
        None, "an unexpected error occurred in authgate", "report the traceback from the log as a bug"
    ),
}

REASONS: Final[Mapping[Reason, ReasonInfo]] = MappingProxyType(_TABLE)
"""The meaning of every :class:`Reason`."""
