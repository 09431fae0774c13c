"""The protocol of an issuer's key set, an index of keys, and static keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Protocol

from authgate.keys.algorithms import KEY_TYPES
from authgate.model import RevocationHandle
from authgate.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.keys.jwk import VerificationKey

_MAX_CANDIDATES = 8
_MAX_DETAILS = 20


@dataclass(frozen=True, slots=True)
class KeysFound:
    """The keys to try, at least one; `handle` is revoked when the key set changes."""

    keys: tuple[VerificationKey, ...]
    handle: RevocationHandle


@dataclass(frozen=True, slots=True)
class KeyMismatch:
    """The kid is known, but its key is not for this algorithm (algorithm confusion, or a broken issuer)."""

    kid: str
    handle: RevocationHandle = field(compare=False)


@dataclass(frozen=True, slots=True)
class KeyUnknown:
    """The issuer does not publish this key, as of a recent fetch."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class KeysUnavailable:
    """The issuer's keys are not available; `retry_after` is in seconds."""

    detail: str
    retry_after: int = 1


@dataclass(frozen=True, slots=True)
class KeyPending:
    """The key is not in memory, but the next fetch may return it; `retry_after` is in seconds."""

    detail: str
    retry_after: int = 1


LocalLookup = KeysFound | KeyMismatch | None
Lookup = KeysFound | KeyMismatch | KeyUnknown | KeyPending | KeysUnavailable


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Whether a key set can be used now, and its age or the error."""

    usable: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDetails:
    """A key for people: `age` is how many seconds the process has had it, None for a key of the configuration."""

    kid: str
    algorithms: tuple[str, ...]
    age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetDetails:
    """A key set for people: its first 20 keys, how many more there are, and when it is fetched, in seconds.

    The times are None for keys that are not fetched, not yet, or only when a token needs them.
    """

    keys: tuple[KeyDetails, ...] = ()
    more: int = 0
    fetched_ago: float | None = None
    next_fetch_in: float | None = None


class KeySet(Protocol):
    """The public keys of one issuer."""

    @property
    def kids(self) -> frozenset[str]:
        """The key ids in memory."""
        ...

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the matching keys in memory; None if only `resolve` can decide."""
        ...

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the matching keys, after a fetch if one is allowed; if `patient`, wait for one that is due soon."""
        ...

    def recheck_at(self) -> float:
        """Return the monotonic time from which `recheck` may fetch again; infinity for never."""
        ...

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the matching keys after another fetch, because those in memory did not verify a signature."""
        ...

    def status(self) -> KeyStatus:
        """Return whether the key set can be used now."""
        ...

    def details(self) -> KeySetDetails:
        """Return the keys and the times of fetches."""
        ...

    async def close(self) -> None:
        """End the fetches under way."""
        ...


class KeyIndex:
    """Keys by kid and algorithm. It never changes; a new key set gets a new index."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self.keys = tuple(keys)
        self.handle = RevocationHandle()
        self.kids = frozenset(key.info.kid for key in self.keys if not key.any_kid)
        self._fitting: dict[tuple[str | None, str], LocalLookup] = {}

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return at most 8 matching keys: with this kid or without one; if `kid` is None, with any."""
        # Only kids and algorithms of this set are cached, so that a client's inventions cannot fill the memory.
        if (kid is None or kid in self.kids) and algorithm in KEY_TYPES:
            question = (kid, algorithm)
            if question not in self._fitting:
                self._fitting[question] = self._select(kid, algorithm)
            return self._fitting[question]
        return self._select(kid, algorithm)

    def details(
        self,
        age_of: Callable[[VerificationKey], float | None],
        *,
        fetched_ago: float | None = None,
        next_fetch_in: float | None = None,
    ) -> KeySetDetails:
        """Return these keys with their ages."""
        shown = tuple(
            KeyDetails(kid=key.info.kid, algorithms=tuple(sorted(key.algorithms)), age=age_of(key))
            for key in self.keys[:_MAX_DETAILS]
        )
        return KeySetDetails(
            keys=shown,
            more=len(self.keys) - len(shown),
            fetched_ago=fetched_ago,
            next_fetch_in=next_fetch_in,
        )

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
    """Keys in the configuration; they never change."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._index = KeyIndex(keys)

    @property
    def kids(self) -> frozenset[str]:
        """The key ids."""
        return self._index.kids

    def find(self, kid: str | None, algorithm: str) -> LocalLookup:
        """Return the matching keys; None for an unknown kid."""
        return self._index.find(kid, algorithm)

    async def resolve(self, kid: str | None, algorithm: str, *, patient: bool = True) -> Lookup:
        """Return the matching keys, or `KeyUnknown`."""
        return self.find(kid, algorithm) or KeyUnknown()

    def recheck_at(self) -> float:
        """Return infinity: static keys are never replaced."""
        return inf

    async def recheck(self, kid: str | None, algorithm: str) -> Lookup:
        """Return the same keys as before."""
        return await self.resolve(kid, algorithm)

    def status(self) -> KeyStatus:
        """Return that static keys can always be used."""
        return KeyStatus(usable=True, detail=f"{counted(len(self._index.keys), 'static key')}")

    def details(self) -> KeySetDetails:
        """Return the keys. They are never fetched."""
        return self._index.details(lambda _: None)

    async def close(self) -> None:
        """Do nothing: static keys are never fetched."""
