"""Policies: who is allowed, depending on the verified identity and, with rules, on the request. Pure; deny wins."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.expressions import Failed
from authgate.model import AnswerKey, OriginalRequest
from authgate.policy.conditions import NO_REQUEST
from authgate.policy.paths import is_plain, plain_host, plain_path, readings
from authgate.policy.routes import Routes, is_plain_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from authgate.model import Identity
    from authgate.policy.access_review import AccessRule
    from authgate.policy.conditions import Condition, Entry, PolicyInput
    from authgate.policy.role import Role
    from authgate.policy.routes import RequestMatch


class OpenPaths:
    """Paths of the original request that need no token: exact ones, and prefixes such as `/public/*`.

    A path with escapes, or one that servers could read differently, never matches.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in patterns if not pattern.endswith("/*"))
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("/*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes)

    def contain(self, path: str | None) -> bool:
        """Return whether a request for `path` (without query) needs no token. An unknown path (None) needs one."""
        if path is None or not is_plain(path):
            return False
        return path in self._exact or path.startswith(self._prefixes)


NO_OPEN_PATHS = OpenPaths(())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an identity is denied. `private` is only for the audit log and explanations."""

    reason: Reason
    private: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """The part of a policy that applies to some of its requests.

    A verdict keeps the clause's answer under `key`. All clauses of a policy send the same headers for an identity that
    they allow; a verdict keeps that answer under `allowed_key`. `rule` is the index of the rule that the clause comes
    from, or None for the policy's own clause. A clause with a `refusal` allows nobody.
    """

    policy: str
    key: AnswerKey = field(default_factory=AnswerKey)
    allowed_key: AnswerKey
    audiences: frozenset[str] | None = None
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()
    access: AccessRule | None = None
    anonymous: bool = False
    refusal: Reason | None = None
    raw: bool = False
    rule: int | None = None
    role: Role | None = None
    reads_request: bool = field(init=False)
    """Whether an entry depends on the request."""
    reads_claims: bool = field(init=False)
    """Whether an entry depends on the token's claims."""
    reads_now: bool = field(init=False)
    """Whether an entry depends on the current time."""
    cacheable: bool = field(init=False)
    """Whether its answer can be cached with the verdict: it depends neither on the request nor on the time."""
    same_for_sender: bool = field(init=False)
    """Whether its answer is the same for all tokens of a `Sender`."""

    def __post_init__(self) -> None:
        conditions = list(_conditions((*(self.allow or ()), *self.deny)))
        reads_request = any(condition.reads_request for condition in conditions)
        reads_claims = self.role is not None or any(condition.reads_claims for condition in conditions)
        object.__setattr__(self, "reads_request", reads_request)
        object.__setattr__(self, "reads_claims", reads_claims)
        aging = self.role is not None and self.role.leeways is not None
        reads_now = aging or any(condition.reads_now for condition in conditions)
        object.__setattr__(self, "reads_now", reads_now)
        object.__setattr__(self, "cacheable", not reads_request and not reads_now)
        same = self.role is None and all(condition.same_for_sender for condition in conditions)
        object.__setattr__(self, "same_for_sender", same)

    def check(self, case: PolicyInput) -> Refusal | None:
        """Return why the input is denied, or None if it is allowed."""
        if self.audiences is not None and self.audiences.isdisjoint(case.identity.audiences):
            return Refusal(Reason.AUDIENCE_MISMATCH)
        if self.refusal is not None:
            return Refusal(self.refusal)
        lacking = self.role.refuses(case) if self.role is not None else None
        if lacking is not None:
            return Refusal(*lacking)
        other = case.read_eagerly() if self.deny else None
        for entry in self.deny:
            held = entry.matches(case)
            if held is False and other is not None:
                held = entry.matches(other)
            if held is not False:
                return self._failed(held) if isinstance(held, Failed) else self._refused(Reason.DENIED)
        if self.allow is None:
            return None
        failed: Failed | None = None
        for entry in self.allow:
            held = entry.matches(case)
            if held is True:
                return None
            if isinstance(held, Failed):
                failed = failed or held
        return self._refused(Reason.NOT_ALLOWED) if failed is None else self._failed(failed)

    def _refused(self, reason: Reason) -> Refusal:
        return Refusal(reason, "" if self.rule is None else f"rules[{self.rule}]")

    def _failed(self, failed: Failed) -> Refusal:
        return Refusal(Reason.EXPRESSION_FAILED, failed.detail)


@dataclass(frozen=True, slots=True)
class Rule:
    """Settings that replace those of the policy for requests that match.

    One of `allow`, `access` and `anonymous` replaces the policy's `allow` and `access`; without any of them, those
    apply. `deny` replaces the policy's `deny` unless it is None. The policy's audiences always apply.
    """

    match: RequestMatch
    _: KW_ONLY
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] | None = None
    access: AccessRule | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is allowed at one endpoint.

    If `audiences` is None, every audience that the issuers accept is enough; if `allow` is None, every authenticated
    identity is allowed. `access` then has the cluster review identities that the lists allow. The first rule that
    matches a request replaces these settings; `role` applies to all requests. With `preflights`, a CORS preflight needs
    no credential. `shadow` is another version that decides nothing; only decisions that differ are reported.
    """

    name: str
    _: KW_ONLY
    audiences: frozenset[str] | None = None
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()
    open_paths: OpenPaths = NO_OPEN_PATHS
    access: AccessRule | None = None
    rules: tuple[Rule, ...] = ()
    shadow: Policy | None = None
    role: Role | None = None
    preflights: bool = False
    own: Clause = field(init=False, compare=False)
    """The clause for requests that match no rule."""
    clauses: tuple[Clause, ...] = field(init=False, compare=False)
    """The clauses of the rules in order, and its own."""
    reads_request: bool = field(init=False, compare=False)
    """Whether a decision may depend on the original request."""
    reviews_access: bool = field(init=False, compare=False)
    """Whether some requests need an access review."""
    only: Clause | None = field(init=False, compare=False)
    """The clause for every request, if there is only one and it does not depend on the request."""
    _routes: Routes[Clause] | None = field(init=False, compare=False, repr=False)
    _refusals: dict[Reason, Clause] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        allowed_key = AnswerKey()
        own = Clause(
            policy=self.name,
            key=AnswerKey() if self.rules else allowed_key,  # one key saves memory
            allowed_key=allowed_key,
            audiences=self.audiences,
            allow=self.allow,
            deny=self.deny,
            access=self.access,
            role=self.role,
        )
        ruled = tuple(self._of_rule(index, rule, allowed_key) for index, rule in enumerate(self.rules))
        routes = Routes([(rule.match, clause) for rule, clause in zip(self.rules, ruled, strict=True)])
        refusals = {
            reason: Clause(
                policy=self.name, allowed_key=allowed_key, audiences=self.audiences, refusal=reason
            )
            for reason in (Reason.REQUEST_UNKNOWN, Reason.PATH_AMBIGUOUS)
        }
        reads_request = (
            self.preflights
            or bool(self.open_paths)
            or bool(ruled)
            or own.reads_request
            or (self.access is not None and self.access.rule.reads_request)
            or (self.shadow is not None and self.shadow.reads_request)
        )
        reviews_access = any(clause.access is not None for clause in (*ruled, own))
        object.__setattr__(self, "reads_request", reads_request)
        object.__setattr__(self, "reviews_access", reviews_access)
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "clauses", (*ruled, own))
        object.__setattr__(self, "only", None if ruled or own.reads_request else own)
        object.__setattr__(self, "_routes", routes if ruled else None)
        object.__setattr__(self, "_refusals", refusals)

    def _of_rule(self, index: int, rule: Rule, allowed_key: AnswerKey) -> Clause:
        decides = rule.anonymous or rule.allow is not None or rule.access is not None
        return Clause(
            policy=self.name,
            allowed_key=allowed_key,
            audiences=self.audiences,
            allow=rule.allow if decides else self.allow,
            deny=self.deny if rule.deny is None else rule.deny,
            access=rule.access if decides else self.access,
            anonymous=rule.anonymous,
            raw=rule.match.raw,
            rule=index,
            role=self.role,
        )

    def clause_for(self, request: OriginalRequest) -> tuple[Clause, OriginalRequest]:
        """Return the clause for a request, and the normalized request for the clause's conditions."""
        clause = self.own
        if self._routes is not None:
            found = self._routes.find(request)
            if isinstance(found, Reason):
                return self._refusals[found], NO_REQUEST
            clause = found or clause
        if not clause.reads_request:
            return clause, NO_REQUEST
        seen = _seen(request, raw=clause.raw)
        return (self._refusals[seen], NO_REQUEST) if isinstance(seen, Reason) else (clause, seen)

    def pattern_for(self, request: OriginalRequest) -> str | None:
        """Return the path pattern of the rule that matches a request, or None without such a rule or paths."""
        index = self.clause_for(request)[0].rule
        paths = None if index is None else self.rules[index].match.paths
        if paths is None or request.path is None:
            return None
        path = plain_path(request.path) or (readings(request.path) or ("",))[0]
        return next((pattern.text for pattern in paths if pattern.matches(path)), None)

    def admits_anonymous(self, request: OriginalRequest) -> bool:
        """Return whether a request without any credential is allowed."""
        clause, _ = self.clause_for(request)
        if self.preflights and request.preflight and clause.refusal is None:
            return True
        return clause.anonymous or (clause is self.own and self.open_paths.contain(request.path))


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that one version of a policy allows and the other denies, with both reasons.

    Access reviews are not compared: `live` is the result before the review. `private` names the rule or expression of
    the shadow that denied; `identity` is None if the request had no credential.
    """

    policy: str
    live: Reason
    shadow: Reason
    private: str = ""
    identity: Identity | None = None


def _seen(request: OriginalRequest, *, raw: bool) -> OriginalRequest | Reason:
    """Return the request for expressions: complete, with a method in capitals and a normalized host and path."""
    host = None if request.host is None else plain_host(request.host)
    if not is_plain_method(request.method) or request.path is None or host is None:
        return Reason.REQUEST_UNKNOWN
    path = plain_path(request.path)
    if path is not None:
        return OriginalRequest(request.method, path, host, request.query)
    both = readings(request.path) if raw else None
    if both is None:
        return Reason.PATH_AMBIGUOUS
    return OriginalRequest(request.method, both[0], host, request.query, eager=both[1])


def _conditions(entries: Iterable[Entry]) -> Iterator[Condition]:
    for entry in entries:
        yield from entry.conditions
