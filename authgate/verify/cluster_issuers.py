"""The issuers of each cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ClusterIssuers:
    """The issuers of one cluster: configured, from its discovery document, and from authgate's own token.

    `among` lists the issuers of all clusters in the order of the configuration; this object appends itself. An issuer
    belongs to one cluster: to the one that it is configured for, else to the first one that has it.
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
        """Add an issuer; if `discovered`, it is the one that the cluster signs tokens with now."""
        self.names.add(issuer)
        self.discovered |= discovered

    def inherit(self, other: ClusterIssuers) -> None:
        """Adopt the issuers that the same cluster had before, if none has been discovered yet."""
        if not self.discovered:
            self.names |= other.names - other.configured
            self.discovered = other.discovered

    def conflict(self) -> str | None:
        """Return the error if an issuer of this cluster belongs to another one, else None."""
        for issuer in sorted(self.names):
            other = self._owner(issuer)
            if other is not self:
                return (
                    f"its issuer {issuer} is also the issuer of cluster '{other.cluster}', which verifies its tokens: "
                    "give each cluster its own issuer (--service-account-issuer)"
                )
        return None

    def __contains__(self, issuer: str) -> bool:
        return issuer in self.names and self._owner(issuer) is self

    def __bool__(self) -> bool:
        return bool(self.names)

    def _owner(self, issuer: str) -> ClusterIssuers:
        configured = (one for one in self._all if issuer in one.configured)
        return next(configured, None) or next(one for one in self._all if issuer in one.names)
