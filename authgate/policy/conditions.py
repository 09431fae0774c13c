"""Conditions on who asks, what their token claims, what they ask for and when; and entries, which join them. Pure."""

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
    """What is decided about.

    `claims` is None where the token's are not known, as after a TokenReview; `request` has its path and host as
    `paths` normalises them; `now` is in POSIX seconds. What no condition looks at may be left out.
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
        """Return the case with its path as the most eager server reads it, None where all read it alike."""
        if self.request.eager is None:
            return None
        request = replace(self.request, path=self.request.eager, eager=None)
        return PolicyInput(self.identity, self.claims, request, self.now)

    def variables(self) -> Variables:
        """Return what expressions see, made for the first that looks; one that asks for unknown claims fails."""
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
    """A condition on a case; further kinds of conditions join an `Entry` by implementing it."""

    @property
    def reads_request(self) -> bool:
        """Whether the original request makes a difference."""
        ...

    @property
    def reads_claims(self) -> bool:
        """Whether the token's claims make a difference, beyond the identity."""
        ...

    @property
    def reads_now(self) -> bool:
        """Whether the time makes a difference."""
        ...

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Tell whether the case fulfils the condition, or that it cannot be told, which denies."""
        ...


class _OfIdentity:
    """A condition that the identity alone fulfils or not."""

    __slots__ = ()
    reads_request = False
    reads_claims = False
    reads_now = False


class IssuerIn(_OfIdentity):
    """The identity comes from one of these configured issuers or clusters."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def matches(self, case: PolicyInput) -> bool:
        """Tell whether it does."""
        return case.identity.issuer_name in self._names


class UserIn(_OfIdentity):
    """The username fits one of these globs."""

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = Globs(globs)

    def matches(self, case: PolicyInput) -> bool:
        """Tell whether it does."""
        return self._globs.match(case.identity.username)


class GroupIn(_OfIdentity):
    """One of the groups fits one of these globs."""

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = Globs(globs)

    def matches(self, case: PolicyInput) -> bool:
        """Tell whether one does."""
        return self._globs.match_any(case.identity.groups)


class ServiceAccountIn(_OfIdentity):
    """The identity is a cluster's ServiceAccount whose `namespace/name` fits one of these globs.

    `*` stands for any characters but the slash. Whatever another issuer calls its users, none of them matches.
    """

    __slots__ = ("_globs",)

    def __init__(self, globs: Iterable[str]) -> None:
        pairs = [glob.split("/") for glob in globs]
        self._globs = tuple((Glob(pair[0]), Glob(pair[1])) for pair in pairs if len(pair) == 2)

    def matches(self, case: PolicyInput) -> bool:
        """Tell whether it is one."""
        account = case.identity.service_account
        if case.identity.cluster is None or account is None or "/" in account.namespace + account.name:
            return False
        return any(
            namespace.matches(account.namespace) and name.matches(account.name)
            for namespace, name in self._globs
        )


class ExpressionHolds:
    """An expression is true. `place` says where it stands, for whoever has to mend it."""

    __slots__ = ("_expression", "_place", "reads_claims", "reads_now", "reads_request")

    def __init__(self, expression: Expression, place: str) -> None:
        self._expression = expression
        self._place = place
        self.reads_request = Sees.REQUEST in expression.reads
        self.reads_claims = Sees.CLAIMS in expression.reads
        self.reads_now = Sees.NOW in expression.reads

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Tell whether it is, or which expression failed."""
        held = self._expression.holds(case.variables())
        return Failed(f"{self._place}: {held.detail}") if isinstance(held, Failed) else held


class Entry:
    """An entry of an allow or deny list: all of its conditions must hold."""

    __slots__ = ("conditions",)

    def __init__(self, conditions: Iterable[Condition]) -> None:
        self.conditions = tuple(conditions)
        if not self.conditions:
            raise ValueError("an entry without conditions would match everybody")

    def matches(self, case: PolicyInput) -> bool | Failed:
        """Tell whether every condition holds; the first that does not, or that cannot be told, says it."""
        for condition in self.conditions:
            held = condition.matches(case)
            if held is not True:
                return held
        return True
