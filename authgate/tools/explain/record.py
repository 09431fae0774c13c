"""Explain an audit line: what it records, what it means, and whether a configuration would decide otherwise now. Pure.

A line has neither the token nor the groups of its user. So the answer to the last question can be that it is not known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from authgate.compose.policies import policy_of
from authgate.errors import REASONS, Reason, Step
from authgate.model import Identity, OriginalRequest, ServiceAccount
from authgate.observability.audit import DECISION
from authgate.observability.log import AUDIT
from authgate.policy.conditions import ExpressionHolds, GroupIn, PolicyInput
from authgate.text import visible
from authgate.tools.explain.remedies import remedy_for_record
from authgate.verify.claims import GROUPS_OMITTED
from authgate.vocabulary import AUTHENTICATED_GROUP, SERVICE_ACCOUNT_USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.config import Config, EntryConfig
    from authgate.policy.conditions import Condition, Entry
    from authgate.policy.rules import Clause, Policy

MAX_BYTES: Final = 65536
"""The longest line that is read. The longest that authgate writes is shorter."""
_CUT: Final = "…"
"""The end of a text that was too long for the log."""


class RecordError(Exception):
    """A text that is not the audit line of a decision. The message has the reason, and does not quote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The audit line of a decision; empty texts, None and empty lists for what it does not have."""

    time: str
    outcome: str
    reason: Reason
    policy: str
    rule: str
    source: str
    issuer: str
    detail: str
    user: str
    request_id: str
    trace_id: str
    client: str
    request: OriginalRequest
    route: str
    audiences: tuple[str, ...]
    claimed_issuer: str
    claimed_audiences: tuple[str, ...]


class Now(StrEnum):
    """Whether a configuration decides a recorded request as recorded."""

    SAME = "same"
    OTHER = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordExplanation:
    """A record in words. `now` compares it with a configuration, for the reason `why`.

    `remedy` is empty if the request was allowed, or if the configuration decides otherwise.
    """

    record: Record
    status: int
    meaning: str
    remedy: str
    now: Now
    why: str
    summary: str


def read_record(text: str) -> Record:
    """Return the record in a line; raise `RecordError`.

    Text before the JSON, such as the prefix of a log viewer, is ignored. A line in Docker's JSON format is unpacked.
    """
    line = _parsed(text)
    if isinstance(line.get("log"), str) and "scope" not in line:
        line = _parsed(line["log"])
    scope, body, attributes = line.get("scope"), line.get("body"), line.get("attributes")
    if scope != AUDIT:
        raise RecordError(f"it is not an audit line: its scope is not {AUDIT}")
    if body != DECISION or not isinstance(attributes, dict):
        raise RecordError("it is an audit line, but not that of one decision: its body is not 'decision'")
    return _record(line, attributes)


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise RecordError(f"it is longer than {MAX_BYTES} characters")
    start = text.find("{")
    if start < 0 and "authgate.decision=" in text:
        raise RecordError(
            "it was written with log.format: text; only lines with log.format: json can be explained"
        )
    try:
        line = json.loads(text[max(start, 0) :])
    except (ValueError, RecursionError):
        raise RecordError("it is not JSON; copy the whole line from the log") from None
    if not isinstance(line, dict):
        raise RecordError("it is not a JSON object")
    return line


def _record(line: Mapping[str, Any], attributes: Mapping[str, Any]) -> Record:
    def text(name: str, holder: Mapping[str, Any] = attributes) -> str:
        value = holder.get(name, "")
        if not isinstance(value, str):
            raise RecordError(f"{name} must be a text")
        return value

    def texts(name: str) -> tuple[str, ...]:
        value = attributes.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RecordError(f"{name} must be a list of texts")
        return tuple(value)

    outcome, code = text("authgate.decision"), text("authgate.reason")
    if outcome not in ("allow", "deny", "unavailable"):
        raise RecordError("authgate.decision must be allow, deny or unavailable")
    if code not in set(Reason):
        raise RecordError(f"its reason {visible(code[:64])!r} is not one that this version of authgate knows")
    return Record(
        time=text("timestamp", line),
        outcome=outcome,
        reason=Reason(code),
        policy=text("authgate.policy"),
        rule=text("authgate.rule"),
        source=text("authgate.source"),
        issuer=text("authgate.issuer"),
        detail=text("authgate.detail"),
        user=text("user.name"),
        request_id=text("http.request.id"),
        trace_id=text("trace_id", line),
        client=text("client.address"),
        request=OriginalRequest(
            text("http.request.method") or None, text("url.path") or None, text("server.address") or None, ""
        ),
        route=text("http.route"),
        audiences=texts("authgate.audiences"),
        claimed_issuer=text("authgate.unverified.issuer"),
        claimed_audiences=texts("authgate.unverified.audiences"),
    )


def explain_record(record: Record, config: Config) -> RecordExplanation:
    """Explain a record and compare it with a configuration; raise `CompositionError` for an invalid expression."""
    info = REASONS[record.reason]
    now, why = _Comparison(record, config).result()
    settled = record.reason in _ALLOWED or now is Now.OTHER
    remedy = "" if settled else _remedy_in(config, record) or remedy_for_record(record.reason, record.detail)
    return RecordExplanation(
        record=record,
        status=info.status,
        meaning=info.meaning,
        remedy=remedy,
        now=now,
        why=why,
        summary=_summary(record, info.status, info.meaning),
    )


def _remedy_in(config: Config, record: Record) -> str:
    """Return a remedy that names a field of the configuration, or "" if another remedy fits."""
    policy = config.policies.get(record.policy)
    if policy is None or GROUPS_OMITTED in record.detail:
        return ""
    place = f"policies.{record.policy}"
    rules = {f"rules[{number}]": rule for number, rule in enumerate(policy.rules)}
    rule = rules.get(record.rule)
    match record.reason:
        case Reason.NOT_ALLOWED if rule is not None and rule.allow is not None:
            return _addition(f"{place}.{record.rule}.allow", rule.allow)
        case Reason.NOT_ALLOWED if policy.allow is not None:
            return _addition(f"{place}.allow", policy.allow)
        case Reason.DENIED if rule is not None and rule.deny is not None:
            return f"remove the identity from {place}.{record.rule}.deny"
        case Reason.DENIED if policy.deny is not None:
            return f"remove the identity from {place}.deny"
        case Reason.NO_CREDENTIAL if record.request.method == "OPTIONS":
            return (
                f"if it is a CORS preflight, which browsers send without a token, set {place}.corsPreflight: allow;"
                " otherwise send a token"
            )
    return ""


def _addition(place: str, entries: Iterable[EntryConfig]) -> str:
    if any(entry.groups for entry in entries):
        return f"give the user a group that {place} names, or add the identity to it"
    return f"add the identity to {place}"


def _summary(record: Record, status: int, meaning: str) -> str:
    """Return the record as one sentence."""
    where = (
        f"policy '{record.policy}'" + (f", {record.rule}" if record.rule else "")
        if record.policy
        else "no policy"
    )
    named = f" (request {record.request_id})" if record.request_id else ""
    result = f"{record.outcome} for {caller_of(record)} under {where}: {status} {record.reason}, {meaning}"
    return f"{record.time}{named}: {result}."


def caller_of(record: Record) -> str:
    """Return the verified user, or what the token claims, marked as not verified."""
    if record.user:
        return record.user
    if record.reason is Reason.ANONYMOUS:
        return "an anonymous request"
    if record.claimed_issuer:
        return f"a token with iss {record.claimed_issuer} (not verified)"
    return "a request without a verified user"


_ALLOWED: Final = frozenset({Reason.AUTHENTICATED, Reason.ANONYMOUS})
_BY_LISTS: Final = frozenset({Reason.AUTHENTICATED, Reason.NOT_ALLOWED, Reason.DENIED})
_Result = tuple[Now, str]


class _Comparison:
    """What a configuration decides about a recorded request, as far as the record shows it."""

    def __init__(self, record: Record, config: Config) -> None:
        self._record = record
        self._config = config
        self._issuers = {
            *(item.name for item in config.jwt),
            *(item.name for item in config.introspection),
            *(item.name for item in config.clusters),
        }

    def result(self) -> _Result:
        """Return whether the decision would be another one, and why, or why this is not known."""
        record, config = self._record, self._config
        if not record.policy:
            return Now.UNKNOWN, "the record does not name the path that the proxy requested from authgate"
        if record.policy not in config.policies:
            return Now.OTHER, f"no policy '{record.policy}' is configured: 404 no_such_endpoint"
        if record.reason is Reason.ISSUER_UNKNOWN:
            return self._by_issuer()
        if record.issuer and record.issuer not in self._issuers:
            return Now.OTHER, f"no issuer or cluster '{record.issuer}' is configured"
        if record.reason is Reason.AUDIENCE_MISMATCH:
            return self._by_audience()
        if record.reason in (Reason.ANONYMOUS, Reason.NO_CREDENTIAL):
            return self._by_open_paths()
        if REASONS[record.reason].step is Step.POLICY or record.reason in _ALLOWED:
            return self._by_policy()
        return Now.UNKNOWN, "it depends on the token, which is not in the record"

    @property
    def _policy(self) -> Policy:
        return policy_of(self._record.policy, self._config.policies[self._record.policy])

    def _by_issuer(self) -> _Result:
        claimed = self._record.claimed_issuer
        if not claimed or claimed.endswith(_CUT):
            return Now.UNKNOWN, "the record does not have the whole issuer of the token"
        for item in self._config.jwt:
            if claimed in item.issuer_names:
                return Now.OTHER, f"the issuer {claimed} is configured, as '{item.name}'"
        if any(claimed in cluster.issuers for cluster in self._config.clusters) or any(
            claimed == server.issuer for server in self._config.introspection
        ):
            return Now.OTHER, f"the issuer {claimed} is configured"
        if self._config.clusters:
            return Now.UNKNOWN, "the issuer of a cluster is only known from its API server"
        return Now.SAME, f"the issuer {claimed} is not configured"

    def _by_audience(self) -> _Result:
        record, policy = self._record, self._config.policies[self._record.policy]
        if record.user:
            if policy.audiences is None or set(policy.audiences) & set(record.audiences):
                return Now.OTHER, f"policy '{record.policy}' accepts an audience of the token"
            return Now.SAME, f"policy '{record.policy}' accepts only {', '.join(policy.audiences)}"
        accepted = self._accepted(record.issuer)
        if accepted is None or not record.claimed_audiences:
            return Now.UNKNOWN, "the record does not show the audience that was compared"
        if accepted & set(record.claimed_audiences):
            return Now.OTHER, f"'{record.issuer}' accepts an audience that the token claims"
        if any(audience.endswith(_CUT) for audience in record.claimed_audiences):
            return Now.UNKNOWN, "the record does not have all audiences of the token"
        return Now.SAME, f"'{record.issuer}' accepts only {', '.join(sorted(accepted))}"

    def _accepted(self, issuer: str) -> set[str] | None:
        """Return the audiences that an issuer accepts in `aud`, or None if it reads others."""
        for item in self._config.jwt:
            if item.name == issuer and item.gate.alb is None and tuple(item.gate.audience_claims) == ("aud",):
                return set(item.issuer.audiences)
        for cluster in self._config.clusters:
            if cluster.name == issuer:
                return set(cluster.audiences)
        return None

    def _by_open_paths(self) -> _Result:
        policy, request = self._policy, self._record.request
        open_now = policy.admits_anonymous(request)
        if policy.reads_request and (request.path is None or request.path.endswith(_CUT)):
            return Now.UNKNOWN, "the record does not have the path of the request"
        same = open_now == (self._record.reason is Reason.ANONYMOUS)
        state = "may be anonymous" if open_now else "needs a token"
        return (Now.SAME if same else Now.OTHER), f"such a request {state} under policy '{policy.name}'"

    def _by_policy(self) -> _Result:
        record, policy = self._record, self._policy
        request = record.request
        if record.reason is Reason.REQUEST_UNKNOWN:
            return Now.UNKNOWN, "the record does not have what the proxy did not send"
        if policy.reads_request and (request.path is None or request.path.endswith(_CUT)):
            return Now.UNKNOWN, "the decision depends on the path, which is not in the record"
        clause, _ = policy.clause_for(request)
        if record.reason is clause.refusal:
            return Now.SAME, f"policy '{policy.name}' accepts no ambiguous path here"
        where = (
            f"policy '{policy.name}'"
            if clause.rule is None
            else f"rules[{clause.rule}] of policy '{policy.name}'"
        )
        moved = f"the request meets {where}, not {record.rule or 'the policy itself'}"
        differs = record.rule != ("" if clause.rule is None else f"rules[{clause.rule}]")
        decided = self._by_lists(clause)
        if decided is None or record.reason not in _BY_LISTS:
            why = "groups, claims, roles and access reviews are not in the record"
            return Now.UNKNOWN, f"{moved}; {why}" if differs else why
        does = {
            Reason.AUTHENTICATED: "allows",
            Reason.DENIED: "denies",
            Reason.NOT_ALLOWED: "does not allow",
        }[decided]
        if decided is record.reason:
            return Now.SAME, f"{where} {does} {record.user}"
        return Now.OTHER, f"{where} {does} {record.user}: {REASONS[decided].status} {decided}"

    def _by_lists(self, clause: Clause) -> Reason | None:
        """Return the result of the lists, or None if it depends on what the record does not have."""
        record, policy = self._record, self._config.policies[self._record.policy]
        if (
            clause.refusal is not None
            or clause.role is not None
            or policy.audiences is not None
            or not record.user
        ):
            return None
        case = PolicyInput(self._identity())
        denied = _any_of(clause.deny, case)
        if denied is not False:
            return Reason.DENIED if denied else None
        if clause.access is not None:
            return None
        allowed = True if clause.allow is None else _any_of(clause.allow, case)
        if allowed is None:
            return None
        return Reason.AUTHENTICATED if allowed else Reason.NOT_ALLOWED

    def _identity(self) -> Identity:
        """Return the recorded user, with the only group that everyone has."""
        record = self._record
        cluster = record.issuer if record.issuer in {item.name for item in self._config.clusters} else None
        account = SERVICE_ACCOUNT_USER.fullmatch(record.user) if cluster is not None else None
        return Identity(
            record.user,
            groups=(AUTHENTICATED_GROUP,),
            issuer_name=record.issuer,
            cluster=cluster,
            service_account=None if account is None else ServiceAccount(account[1], account[2]),
        )


def _any_of(entries: Iterable[Entry], case: PolicyInput) -> bool | None:
    """Return whether an entry matches, or None if that depends on something else than the user and the issuer."""
    results = [_all_of(entry.conditions, case) for entry in entries]
    return True if True in results else None if None in results else False


def _all_of(conditions: Iterable[Condition], case: PolicyInput) -> bool | None:
    results = [_of(condition, case) for condition in conditions]
    return False if False in results else None if None in results else True


def _of(condition: Condition, case: PolicyInput) -> bool | None:
    if isinstance(condition, ExpressionHolds):
        return None
    held = condition.matches(case) is True
    return None if isinstance(condition, GroupIn) and not held else held
