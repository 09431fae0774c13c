"""Which issuer's tokens are which cluster's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ClusterIssuers:
    """The issuer names of one cluster: configured ones, and those that its discovery or the gate's own token tell.

    `among` holds those of all clusters in the configuration's order, and is added to. A name belongs to one cluster:
    to the one that it is configured for, whatever others say of themselves, else to the first that has it.
    """

    def __init__(
        self, configured: Iterable[str], cluster: str = "", among: list[ClusterIssuers] | None = None
    ) -> None:
        self.cluster = cluster
        self.configured = frozenset(configured)
        self.names = set(self.configured)
        self.discovered = False
        self._all = [] if among is None else among
        self._all.append(self)

    def learn(self, issuer: str, *, discovered: bool = True) -> None:
        """Add an issuer's name; `discovered` tells that it is the one the cluster signs with now."""
        self.names.add(issuer)
        self.discovered |= discovered

    def inherit(self, other: ClusterIssuers) -> None:
        """Take over what the same cluster told before, where it has told nothing yet."""
        if not self.discovered:
            self.names |= other.names - other.configured
            self.discovered = other.discovered

    def conflict(self) -> str | None:
        """Return what is wrong where a name that the cluster gives itself is another's; None where all is well."""
        for issuer in sorted(self.names):
            other = self._owner(issuer)
            if other is not self:
                return (
                    f"its issuer {issuer} is that of cluster '{other.cluster}', too, which has the tokens that name "
                    "it: give each cluster an issuer of its own (--service-account-issuer)"
                )
        return None

    def __contains__(self, issuer: str) -> bool:
        return issuer in self.names and self._owner(issuer) is self

    def __bool__(self) -> bool:
        return bool(self.names)

    def _owner(self, issuer: str) -> ClusterIssuers:
        configured = (one for one in self._all if issuer in one.configured)
        return next(configured, None) or next(one for one in self._all if issuer in one.names)
