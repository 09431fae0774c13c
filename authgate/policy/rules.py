"""Policies: who may pass, by what was verified and, where rules say so, by what is asked. Pure; deny wins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authgate.errors import Reason
from authgate.expressions import Failed
from authgate.model import AnswerKey, OriginalRequest
from authgate.policy.conditions import NO_REQUEST
from authgate.policy.paths import is_plain, plain_host, plain_path, readings
from authgate.policy.routes import Routes, is_plain_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from authgate.policy.access_review import AccessRule
    from authgate.policy.conditions import Condition, Entry, PolicyInput
    from authgate.policy.role import Role
    from authgate.policy.routes import RequestMatch


class OpenPaths:
    """The paths of the original request that pass without a token: exact ones, and prefixes written `/prefix/*`.

    A path is matched only as it stands, and only where every server reads it alike: one with an escape is never open.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in patterns if not pattern.endswith("/*"))
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("/*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes)

    def contain(self, path: str | None) -> bool:
        """Tell whether a request for `path` (without its query) passes without a token; None never does."""
        if path is None or not is_plain(path):
            return False
        return path in self._exact or path.startswith(self._prefixes)


NO_OPEN_PATHS = OpenPaths(())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody who is known may not pass; `private` is for the audit log and explanations only."""

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
    """Whether an entry looks at the request."""
    reads_claims: bool = field(init=False)
    """Whether an entry looks at what the token claims."""
    reads_now: bool = field(init=False)
    """Whether an entry looks at the time."""
    cacheable: bool = field(init=False)
    """Whether its answer holds as long as the verdict: neither the request nor the time makes a difference."""

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

    def check(self, case: PolicyInput) -> Refusal | None:
        """Return why the case may not pass, or None where it may."""
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
    """What holds for the requests that fit `match`, in place of what the policy says by itself.

    One of `allow`, `access` and `anonymous` decides who may pass instead of the policy's; without any, the policy's own
    stays. `deny` replaces the policy's; None leaves it in force, as its audiences are in any case.
    """

    match: RequestMatch
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] | None = None
    access: AccessRule | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may pass at one endpoint.

    `audiences` None accepts a token for any accepted audience; `allow` None lets every authenticated identity pass.
    Whom the lists let pass, `access` asks the cluster about. The first of the `rules` that fits a request replaces
    them; a `role` holds for all requests. With `preflights` a CORS preflight needs no credential. `shadow` is another
    version of the policy that decides nothing: only differences from it are reported.
    """

    name: str
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
    """What holds for requests that no rule fits."""
    clauses: tuple[Clause, ...] = field(init=False, compare=False)
    """Those of the rules in their order, and its own."""
    reads_request: bool = field(init=False, compare=False)
    """Whether a decision may depend on the original request."""
    reviews_access: bool = field(init=False, compare=False)
    """Whether the cluster is asked about some requests."""
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
        """Return what the policy says about a request, and the request as the clause's conditions see it."""
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

    def admits_anonymous(self, request: OriginalRequest) -> bool:
        """Tell whether a request without any credential may pass."""
        clause, _ = self.clause_for(request)
        if self.preflights and request.preflight and clause.refusal is None:
            return True
        return clause.anonymous or (clause is self.own and self.open_paths.contain(request.path))


def _seen(request: OriginalRequest, *, raw: bool) -> OriginalRequest | Reason:
    """Return the request as expressions see it: all of it known, the method in capitals, host and path normalised."""
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
