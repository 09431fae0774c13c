"""Conditions on who asks, what their token claims, what they ask for and when; and entries, which join them. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from authgate.expressions import Failed, Sees, Variables
from authgate.model import OriginalRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.expressions import Expression
    from authgate.model import Identity, VerifiedClaims

NO_REQUEST = OriginalRequest()


class Case:
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

    def read_eagerly(self) -> Case | None:
        """Return the case with its path as the most eager server reads it, None where all read it alike."""
        if self.request.eager is None:
            return None
        request = replace(self.request, path=self.request.eager, eager=None)
        return Case(self.identity, self.claims, request, self.now)

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

    def matches(self, case: Case) -> bool | Failed:
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

    def matches(self, case: Case) -> bool:
        """Tell whether it does."""
        return case.identity.issuer_name in self._names


class UserIn(_OfIdentity):
    """The username is one of these, compared exactly."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def matches(self, case: Case) -> bool:
        """Tell whether it is."""
        return case.identity.username in self._names


class GroupIn(_OfIdentity):
    """One of the groups is one of these, compared exactly."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def matches(self, case: Case) -> bool:
        """Tell whether one is."""
        return not self._names.isdisjoint(case.identity.groups)


def glob_pattern(glob: str, letter: str) -> str:
    """Return the regular expression of a glob whose `*` stands for any number of what `letter` matches.

    Between two stars the first place that fits is as good as any other. So nothing is tried twice (the groups are
    atomic), and no text takes longer than its length times the glob's.
    """
    first, *others = map(re.escape, glob.split("*"))
    if not others:
        return first
    between = "".join(f"(?>{letter}*?{part})" for part in others[:-1])
    return f"{first}{between}{letter}*{others[-1]}"


class ServiceAccountIn(_OfIdentity):
    """The identity is a cluster's ServiceAccount whose `namespace/name` fits one of these globs.

    `*` stands for any characters but the slash. Whatever another issuer calls its users, none of them matches.
    """

    __slots__ = ("_pattern",)

    def __init__(self, globs: Iterable[str]) -> None:
        self._pattern = re.compile("|".join(glob_pattern(glob, "[^/]") for glob in globs))

    def matches(self, case: Case) -> bool:
        """Tell whether it is one."""
        account = case.identity.service_account
        if case.identity.cluster is None or account is None:
            return False
        return self._pattern.fullmatch(f"{account.namespace}/{account.name}") is not None


class ExpressionHolds:
    """An expression is true. `place` says where it stands, for whoever has to mend it."""

    __slots__ = ("_expression", "_place", "reads_claims", "reads_now", "reads_request")

    def __init__(self, expression: Expression, place: str) -> None:
        self._expression = expression
        self._place = place
        self.reads_request = Sees.REQUEST in expression.reads
        self.reads_claims = Sees.CLAIMS in expression.reads
        self.reads_now = Sees.NOW in expression.reads

    def matches(self, case: Case) -> bool | Failed:
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

    def matches(self, case: Case) -> bool | Failed:
        """Tell whether every condition holds; the first that does not, or that cannot be told, says it."""
        for condition in self.conditions:
            held = condition.matches(case)
            if held is not True:
                return held
        return True
