"""Conditions on identity, claims, request and time; and entries of allow and deny lists, which combine them. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from authgate.expressions import Failed, Sees, Variables
from authgate.globs import Glob, Globs
from authgate.model import OriginalRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.expressions import Expression
    from authgate.model import Identity, VerifiedClaims

NO_REQUEST = OriginalRequest()


class PolicyInput:
    """The input of a policy decision.

    `claims` is None if the token's claims are unknown, as after a TokenReview. `request` has the path and host that
    `paths` normalized. `now` is in POSIX seconds. Parts that no condition reads may be omitted.
    """

    __slots__ = ("_variables", "claims", "identity", "now", "request")

    def __init__(
        self,
        identity: Identity,
        claims: VerifiedClaims | None = None,
        request: OriginalRequest = NO_REQUEST,
        now: float | None = None,
    ) -> None:
        self.identity = identity
        self.claims = claims
        self.request = request
        self.now = now
        self._variables: Variables | None = None

    def read_eagerly(self) -> PolicyInput | None:
        """Return the input with the path fully decoded, or None if the path is not ambiguous."""
        if self.request.eager is None:
            return None
        request = replace(self.request, path=self.request.eager, eager=None)
        return PolicyInput(self.identity, self.claims, request, self.now)

    def variables(self) -> Variables:
        """Return the variables of expressions, created on first use. Reading unknown claims fails the expression."""
        if self._variables is None:
            path = self.request.path
            self._variables = Variables(
                claims=None if self.claims is None else self.claims.members,
                user=self.identity,
                request=self.request,
                segments=tuple(path.strip("/").split("/")) if path is not None and path != "/" else (),
                now=self.now,
            )
        return self._variables


class Condition(Protocol):
    """A condition on a policy input. Every kind of condition in an `Entry` implements this protocol."""

    @property
    def reads_request(self) -> bool:
        """Whether the result depends on the original request."""
        ...

    @property
    def reads_claims(self) -> bool:
        """Whether the result depends on the token's claims, beyond the identity."""
        ...

    @property
    def same_for_sender(self) -> bool:
        """Whether the result is the same for all tokens of a `Sender`: it reads neither the uid nor `extra`."""
        ...

    @property
    def reads_now(self) -> bool:
        """Whether the result depends on the current time."""
        ...

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Return whether the condition holds. `Failed` means that it could not be evaluated, which denies."""
        ...


class _OfIdentity:
    """A condition that depends only on the identity."""

    __slots__ = ()
    reads_request = False
    reads_claims = False
    reads_now = False
    same_for_sender = True


class IssuerIn(_OfIdentity):
    """Whether the identity comes from one of these configured issuers or clusters."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def matches(self, case: PolicyInput) -> bool:
        """Return whether the condition holds."""
        return case.identity.issuer_name in self._names


class UserIn(_OfIdentity):
    """Whether the username matches one of these globs."""

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = Globs(globs)

    def matches(self, case: PolicyInput) -> bool:
        """Return whether the condition holds."""
        return self._globs.match(case.identity.username)


class GroupIn(_OfIdentity):
    """Whether one of the groups matches one of these globs."""

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = Globs(globs)

    def matches(self, case: PolicyInput) -> bool:
        """Return whether the condition holds."""
        return self._globs.match_any(case.identity.groups)


class ServiceAccountIn(_OfIdentity):
    """Whether the identity is a cluster's ServiceAccount whose `namespace/name` matches one of these globs.

    `*` does not match a slash. Identities of `jwt` issuers never match, whatever their names are.
    """

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        pairs = [glob.split("/") for glob in globs]
        self._globs = tuple((Glob(pair[0]), Glob(pair[1])) for pair in pairs if len(pair) == 2)

    def matches(self, case: PolicyInput) -> bool:
        """Return whether the condition holds."""
        account = case.identity.service_account
        if case.identity.cluster is None or account is None or "/" in account.namespace + account.name:
            return False
        return any(
            namespace.matches(account.namespace) and name.matches(account.name)
            for namespace, name in self._globs
        )


class ExpressionHolds:
    """Whether an expression is true. `place` is its path in the configuration, for error messages."""

    __slots__ = ("_expression", "_place", "reads_claims", "reads_now", "reads_request")
    same_for_sender = False

    def __init__(self, expression: Expression, place: str) -> None:
        self._expression = expression
        self._place = place
        self.reads_request = Sees.REQUEST in expression.reads
        self.reads_claims = Sees.CLAIMS in expression.reads
        self.reads_now = Sees.NOW in expression.reads

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Return whether the expression is true, or its place and why it failed."""
        held = self._expression.holds(case.variables())
        return Failed(f"{self._place}: {held.detail}") if isinstance(held, Failed) else held


class Entry:
    """An entry of an allow or deny list. All of its conditions must hold."""

    __slots__ = ("conditions",)

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self.conditions = tuple(conditions)
        if not self.conditions:
            raise ValueError("an entry without conditions would match every identity")

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Return whether every condition holds, or the first failure before a condition that does not hold."""
        for condition in self.conditions:
            held = condition.matches(case)
            if held is not True:
                return held
        return True
