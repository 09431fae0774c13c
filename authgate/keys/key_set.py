"""What a verifier asks of an issuer's keys, and the set that never changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Protocol

from authgate.keys.algorithms import KEY_TYPES
from authgate.model import RevocationHandle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.keys.jwk import VerificationKey

_MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class KeysFound:
    """The keys to try, at least one; `lease` ends when the set they stand in changes."""

    keys: tuple[VerificationKey, ...]
    handle: RevocationHandle


@dataclass(frozen=True, slots=True)
class KeyMismatch:
    """The kid is known, but its key may not verify this algorithm (an algorithm confusion, or a broken issuer)."""

    kid: str
    handle: RevocationHandle = field(compare=False)


@dataclass(frozen=True, slots=True)
class KeyUnknown:
    """The issuer publishes no such key, as far as could be seen just now."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class KeysUnavailable:
    """The issuer's keys cannot be had; `retry_after` is in seconds."""

    detail: str
    retry_after: int = 1


@dataclass(frozen=True, slots=True)
class KeyPending:
    """The keys in memory do not include the key, and the next fetch may bring it; `retry_after` is in seconds."""

    detail: str
    retry_after: int = 1


LocalLookup = KeysFound | KeyMismatch | None
Lookup = KeysFound | KeyMismatch | KeyUnknown | KeyPending | KeysUnavailable


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Whether a set can decide now, and in words since when or why not."""

    usable: bool
    detail: str


class KeySet(Protocol):
    """The public keys of one issuer."""

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the keys that fit, from memory alone; None where only `resolve` can tell."""
        ...

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the keys that fit, after a fetch where one is due; a `patient` caller also waits for a near one."""
        ...

    def recheck_at(self) -> float:
        """Return when `recheck` may next find replaced keys, by the monotonic clock; infinity for never."""
        ...

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the keys that fit, fetched again because those in memory did not verify a signature."""
        ...

    def status(self) -> KeyStatus:
        """Tell whether the set can decide now."""
        ...


class KeyIndex:
    """Keys by kid and algorithm, in memory; immutable, replaced as a whole."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        self.handle = RevocationHandle()
        self.kids = frozenset(key.info.kid for key in self.keys if not key.any_kid)
        self._fitting: dict[tuple[str | None, str], LocalLookup] = {}

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the keys that fit: with a kid those that carry it or none at all, without one any (at most 8)."""
        # Only what the set itself names is remembered, so that a stranger's kids and algorithms cannot make this grow.
        if (kid is None or kid in self.kids) and algorithm in KEY_TYPES:
            question = (kid, algorithm)
            if question not in self._fitting:
                self._fitting[question] = self._select(kid, algorithm)
            return self._fitting[question]
        return self._select(kid, algorithm)

    def _select(self, kid: str | None, algorithm: str) -> LocalLookup:
        fitting = [
            key
            for key in self.keys
            if algorithm in key.algorithms and (kid is None or key.any_kid or key.info.kid == kid)
        ]
        if fitting:
            return KeysFound(tuple(fitting[:_MAX_CANDIDATES]), self.handle)
        return KeyMismatch(kid, self.handle) if kid in self.kids and kid is not None else None


class StaticKeySet:
    """Keys given in the configuration; they never change."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._index = KeyIndex(keys)

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the keys that fit; None for an unknown kid."""
        return self._index.find(kid, algorithm)

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the keys that fit, or that there are none."""
        return self.find(kid, algorithm) or KeyUnknown()

    def recheck_at(self) -> float:
        """Return infinity: these keys are never replaced."""
        return inf

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the same keys as before."""
        return await self.resolve(kid, algorithm)

    def status(self) -> KeyStatus:
        """Static keys can always decide."""
        return KeyStatus(usable=True, detail=f"{len(self._index.keys)} static keys")
