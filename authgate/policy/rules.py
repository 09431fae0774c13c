"""Policies: who may pass, by what was verified alone. Pure; empty means deny, and deny wins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from authgate.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.model import Identity
    from authgate.policy.access_review import AccessRule


class IdentityMatcher(Protocol):
    """A condition on an identity; further kinds of conditions join an `Entry` by implementing it."""

    def matches(self, identity: Identity) -> bool:
        """Tell whether the identity fulfils the condition."""
        ...


@dataclass(frozen=True, slots=True)
class IssuerIn:
    """The identity comes from one of these configured issuers or clusters."""

    names: frozenset[str]

    def matches(self, identity: Identity) -> bool:
        """Tell whether it does."""
        return identity.issuer_name in self.names


@dataclass(frozen=True, slots=True)
class UserIn:
    """The username is one of these, compared exactly."""

    names: frozenset[str]

    def matches(self, identity: Identity) -> bool:
        """Tell whether it is."""
        return identity.username in self.names


@dataclass(frozen=True, slots=True)
class GroupIn:
    """One of the groups is one of these, compared exactly."""

    names: frozenset[str]

    def matches(self, identity: Identity) -> bool:
        """Tell whether one is."""
        return not self.names.isdisjoint(identity.groups)


class ServiceAccountIn:
    """The identity is a cluster's ServiceAccount whose `namespace/name` fits one of these globs.

    `*` stands for any characters but the slash. Whatever another issuer calls its users, none of them matches.
    """

    __slots__ = ("_pattern",)

    def __init__(self, globs: Iterable[str]) -> None:
        alternatives = (
            "".join("[^/]*" if char == "*" else re.escape(char) for char in glob) for glob in globs
        )
        self._pattern = re.compile("|".join(alternatives))

    def matches(self, identity: Identity) -> bool:
        """Tell whether it is one."""
        account = identity.service_account
        if identity.cluster is None or account is None:
            return False
        return self._pattern.fullmatch(f"{account.namespace}/{account.name}") is not None


class Entry:
    """An entry of an allow or deny list: all of its conditions must hold."""

    __slots__ = ("_conditions",)

    def __init__(self, conditions: Iterable[IdentityMatcher]) -> None:
        self._conditions = tuple(conditions)
        if not self._conditions:
            raise ValueError("an entry without conditions would match everybody")

    def matches(self, identity: Identity) -> bool:
        """Tell whether every condition holds."""
        return all(condition.matches(identity) for condition in self._conditions)


class OpenPaths:
    """The paths of the original request that pass without a token: exact ones, and prefixes written `/prefix/*`.

    A path is matched only where every server reads it alike; one with an escape, a dot segment, an empty segment, a
    parameter, a backslash or anything but printable ASCII is never open.
    """

    __slots__ = ("_exact", "_prefixes")

    _PLAIN = re.compile(r"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@.]+)*/?")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in patterns if not pattern.endswith("/*"))
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("/*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes)

    def contain(self, path: str | None) -> bool:
        """Tell whether a request for `path` (without its query) passes without a token; None never does."""
        if not path or self._PLAIN.fullmatch(path) is None:
            return False
        if any(segment in (".", "..") for segment in path.split("/")):
            return False
        return path in self._exact or path.startswith(self._prefixes)


NO_OPEN_PATHS = OpenPaths(())


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may pass at one endpoint.

    `audiences` None accepts a token for any accepted audience; `allow` None lets every authenticated identity pass.
    Whom the lists let pass, `access` asks the cluster about.
    """

    name: str
    audiences: frozenset[str] | None = None
    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()
    open_paths: OpenPaths = NO_OPEN_PATHS
    access: AccessRule | None = None

    def refuses(self, identity: Identity) -> Reason | None:
        """Return why the identity may not pass, or None where it may."""
        if self.audiences is not None and self.audiences.isdisjoint(identity.audiences):
            return Reason.AUDIENCE_MISMATCH
        if any(entry.matches(identity) for entry in self.deny):
            return Reason.DENIED
        if self.allow is not None and not any(entry.matches(identity) for entry in self.allow):
            return Reason.NOT_ALLOWED
        return None
