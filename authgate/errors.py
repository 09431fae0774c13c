"""Why a request was refused: the closed set of reason codes and what each means on the wire.

The same code stands in the ``X-Auth-Reason`` header, the audit log and the ``reason`` label of the metrics.
``docs/reasons.md`` explains each on one page; a test holds that page and this table together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Step(StrEnum):
    """A step of the gate's pipeline, in the order in which a request passes them."""

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
    """Why a decision is what it is; closed, so that headers, logs and metrics stay countable."""

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
    ACCESS_REVIEW_UNAVAILABLE = "access_review_unavailable"
    ACCESS_REVIEW_FORBIDDEN = "access_review_forbidden"
    ACCESS_REVIEW_THROTTLED = "access_review_throttled"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """What one reason means: its HTTP status, its RFC 6750 error, the step that gave it, and words for people."""

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
        200, Challenge.NONE, None, "the token was verified and the policy lets it pass", ""
    ),
    Reason.ANONYMOUS: ReasonInfo(
        200, Challenge.NONE, None, "the path, or a CORS preflight, is open to requests without a token", ""
    ),
    Reason.NO_CREDENTIAL: ReasonInfo(
        401,
        Challenge.NONE,
        Step.CREDENTIAL,
        "the request has no Authorization header",
        "send 'Authorization: Bearer <token>'",
    ),
    Reason.MULTIPLE_CREDENTIALS: _bad_request(
        "the request has more than one credential", "send exactly one Authorization header with one token"
    ),
    Reason.CREDENTIAL_AMBIGUOUS: _bad_request(
        "the app could read another credential in the request than authgate",
        "send one token under the exact name of its source, and no cookie, parameter or header that resembles it",
    ),
    Reason.SCHEME_NOT_BEARER: _bad_request(
        "the authorization scheme is not Bearer", "send 'Authorization: Bearer <token>'"
    ),
    Reason.CREDENTIAL_MALFORMED: _bad_request(
        "the Authorization header is not one Bearer token",
        "send the token alone: no quotes, spaces or control characters",
    ),
    Reason.CREDENTIAL_TOO_LARGE: _bad_request(
        "the token is longer than the limit", "request a smaller token, or raise limits.maxTokenBytes"
    ),
    Reason.TOKEN_MALFORMED: _bad_token(
        Step.STRUCTURE,
        "the token is not a well-formed signed JWT",
        "check that the whole token arrived; 'authgate inspect' shows what is wrong",
    ),
    Reason.TOKEN_ENCRYPTED: _bad_token(
        Step.STRUCTURE,
        "the token is an encrypted JWT",
        "request a signed token (JWS); encrypted ones (JWE) are not accepted",
    ),
    Reason.TOKEN_OPAQUE: _bad_token(
        Step.STRUCTURE,
        "the token is no JWT and nothing is configured that could review it",
        "send a JWT, or name cluster.tokenReview.legacyAudiences to have such tokens reviewed",
    ),
    Reason.DUPLICATE_MEMBER: _bad_token(
        Step.STRUCTURE,
        "a JSON object of the token names a member twice",
        "the issuer must not repeat member names (RFC 7519, section 4)",
    ),
    Reason.CRITICAL_HEADER: _bad_token(
        Step.STRUCTURE,
        "the token demands a critical extension that is not understood",
        "the issuer must not set 'crit' (RFC 7515, section 4.1.11)",
    ),
    Reason.TYPE_NOT_ACCEPTED: _bad_token(
        Step.STRUCTURE,
        "the token's 'typ' is not one that is accepted",
        "send an access or identity token, or add its type to gate.types",
    ),
    Reason.TOKEN_SENDER_CONSTRAINED: _bad_token(
        Step.STRUCTURE,
        "the token is bound to a key or certificate of its sender (cnf), and authgate cannot verify the proof",
        "request a bearer token without 'cnf', or accept the risk with gate.unsafeIgnoreConfirmation",
    ),
    Reason.CLAIM_MALFORMED: _bad_token(
        Step.STRUCTURE,
        "a registered claim is missing or has the wrong JSON type",
        "the issuer must write it as RFC 7519, section 4.1 says",
    ),
    Reason.ISSUER_UNKNOWN: _bad_token(
        Step.ISSUER,
        "the token's issuer is not configured",
        "compare the token's 'iss' with the configured issuers, character by character",
    ),
    Reason.ALGORITHM_NOT_ALLOWED: _bad_token(
        Step.KEY,
        "the token's algorithm is not allowed for its issuer",
        "sign with one of gate.algorithms; 'none' and HMAC can never be allowed",
    ),
    Reason.KEY_UNKNOWN: _bad_token(
        Step.KEY,
        "the issuer publishes no key that fits the token",
        "request a new token; the issuer may have rotated its keys",
    ),
    Reason.SIGNATURE_INVALID: _bad_token(
        Step.SIGNATURE,
        "the token's signature does not verify",
        "the token was changed or signed by another key; request a new one",
    ),
    Reason.TOKEN_EXPIRED: _bad_token(Step.TIME, "the token has expired", "request a new token"),
    Reason.TOKEN_NOT_YET_VALID: _bad_token(
        Step.TIME, "the token is not valid yet", "compare the clocks of the issuer and of this host"
    ),
    Reason.TOKEN_LIFETIME_TOO_LONG: _bad_token(
        Step.TIME,
        "the token lives longer than its issuer may grant",
        "request a token with a shorter lifetime, or raise gate.maxTokenLifetime",
    ),
    Reason.AUDIENCE_MISMATCH: _bad_token(
        Step.AUDIENCE,
        "the token is meant for another audience",
        "request a token for an audience that is accepted here",
    ),
    Reason.CLAIM_RULE_FAILED: _bad_token(
        Step.IDENTITY,
        "the claims break a validation rule of their issuer",
        "compare the token's claims with claimValidationRules",
    ),
    Reason.USER_RULE_FAILED: _bad_token(
        Step.IDENTITY,
        "the user that the claims name breaks a validation rule of their issuer",
        "compare the token's claims and claimMappings with userValidationRules",
    ),
    Reason.IDENTITY_INVALID: _bad_token(
        Step.IDENTITY,
        "the token's claims give no valid identity",
        "compare the token's claims with claimMappings",
    ),
    Reason.REVIEW_REJECTED: _bad_token(
        Step.SIGNATURE,
        "the cluster's TokenReview refused the token",
        "request a new token; its account, pod or secret may be gone",
    ),
    Reason.OBJECT_DELETED: _bad_token(
        Step.IDENTITY,
        "the pod, account, node or secret that the token is bound to is gone",
        "request a new token for one that exists",
    ),
    Reason.NOT_ALLOWED: _forbidden(
        "no allow entry of the policy matches the identity", "add the identity to the policy's allow list"
    ),
    Reason.DENIED: _forbidden(
        "a deny entry of the policy matches the identity", "remove the identity from the policy's deny list"
    ),
    Reason.ACCESS_DENIED: _forbidden(
        "the cluster does not allow the identity what the policy asks for",
        "bind a Role or ClusterRole that allows it; the audit log has the API server's words",
    ),
    Reason.REQUEST_UNKNOWN: _forbidden(
        "the proxy did not tell what the policy asks about of the original request",
        "have the proxy send method, path and host in the headers that server.proxy stands for",
    ),
    Reason.PATH_AMBIGUOUS: _forbidden(
        "the path could mean another one to the app than to the gate",
        "request the plain path, without empty or dot segments, semicolons, backslashes or escaped ones of these",
    ),
    Reason.EXPRESSION_FAILED: _forbidden(
        "an expression of the policy cannot be evaluated for this request",
        "see the audit log for the expression; have it ask with has() or ?. for what may be missing",
    ),
    Reason.IDENTITY_UNSENDABLE: _forbidden(
        "a header cannot carry a value of the identity unchanged",
        "the issuer must not use names that begin or end with white space",
    ),
    Reason.IDENTITY_TOO_LARGE: _forbidden(
        "the identity headers would be longer than the limit",
        "put the account into fewer groups, or raise headers.maxBytes and the proxy's buffers",
    ),
    Reason.NO_SUCH_ENDPOINT: ReasonInfo(
        404,
        Challenge.NONE,
        None,
        "the path names no endpoint or policy of the gate",
        "send the subrequest to /verify or /policies/<name>/verify",
    ),
    Reason.KEYS_UNAVAILABLE: _unavailable(
        Step.KEY,
        "the issuer's keys cannot be had at the moment",
        "see /readyz?verbose for the fetch that fails",
    ),
    Reason.KEY_PENDING: _unavailable(
        Step.KEY,
        "keys were fetched a moment ago without the key of this token, and the next fetch may bring it",
        "retry after Retry-After; no outage: the issuer rotates its keys, or the token is not the issuer's",
    ),
    Reason.REVIEW_UNAVAILABLE: _unavailable(
        Step.SIGNATURE,
        "the cluster's TokenReview API cannot be reached or answers with an error",
        "see the log for what the API server said",
    ),
    Reason.REVIEW_FORBIDDEN: _unavailable(
        Step.SIGNATURE,
        "the gate is not allowed to create tokenreviews",
        "bind the ClusterRole system:auth-delegator to the gate's ServiceAccount",
    ),
    Reason.REVIEW_THROTTLED: _unavailable(
        Step.SIGNATURE,
        "more tokens need a TokenReview than its budget allows",
        "raise cluster.tokenReview.qps and burst, or make local keys available",
    ),
    Reason.ACCESS_REVIEW_UNAVAILABLE: _unavailable(
        Step.POLICY,
        "the cluster's SubjectAccessReview API cannot be reached or answers with an error",
        "see the log for what the API server said",
    ),
    Reason.ACCESS_REVIEW_FORBIDDEN: _unavailable(
        Step.POLICY,
        "the gate is not allowed to create subjectaccessreviews",
        "bind the ClusterRole system:auth-delegator to the gate's ServiceAccount with a ClusterRoleBinding",
    ),
    Reason.ACCESS_REVIEW_THROTTLED: _unavailable(
        Step.POLICY,
        "more requests need a SubjectAccessReview than its budget allows",
        "raise cluster.tokenReview.qps and burst, or the policy's allowedTTL",
    ),
    Reason.INTERNAL_ERROR: _unavailable(
        None, "the gate met an error that it did not expect", "see the log; please report it"
    ),
}

REASONS: Final[Mapping[Reason, ReasonInfo]] = MappingProxyType(_TABLE)
"""Every reason's meaning; total over :class:`Reason`."""
