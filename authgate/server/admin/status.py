"""The state of a gate, as the admin port shows it. Every process fills in its part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from authgate.keys.key_set import KeySetDetails
    from authgate.server.admin.history import ReasonHour
    from authgate.server.recent import RecentDecision


@dataclass(frozen=True, slots=True)
class Check:
    """One readiness check: its name, whether it passes, and the reason or state for operators."""

    name: str
    good: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the gate can decide requests, and the checks. A ready gate may have failed checks of single issuers."""

    ready: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierDetails:
    """An issuer, cluster or introspection endpoint in one process; `keys` is None if it has no keys.

    `name` is that of its check, such as `issuer/corp`.
    """

    name: str
    usable: bool
    detail: str
    keys: KeySetDetails | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What one process that decides requests shows besides its checks and metrics."""

    verifiers: tuple[VerifierDetails, ...]
    more: int = 0
    """How many verifiers are left out."""
    decisions: tuple[RecentDecision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key, and how many processes have it. Ages are in seconds; that of a key is the longest."""

    kid: str
    algorithms: tuple[str, ...]
    age: float | None
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierRow:
    """An issuer, cluster or introspection endpoint in all processes.

    `detail` is that of a process in which it is not usable, if there is one. The last fetch is the oldest of all
    processes, and the next fetch the earliest, in seconds.
    """

    name: str
    usable: int
    processes: int
    detail: str
    has_keys: bool
    keys: tuple[KeyRow, ...]
    more_keys: int
    fetched_ago: float | None
    next_fetch_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule of a policy: the requests that it matches, how it decides, and how many it decided since the start."""

    index: int
    matches: str
    decides: str
    decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy: its endpoints, how it decides requests without a rule, its rules, and its decisions since the start."""

    name: str
    endpoints: tuple[str, ...]
    decides: str
    rules: tuple[RuleRow, ...]
    more_rules: int
    allowed: int
    denied: int
    unavailable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationDetails:
    """The configuration in use: its file ("" without one), the file's SHA-256, and when it was applied.

    `rejected` is why a newer file is not in use, without any value from it; "" if it is in use.
    """

    path: str = ""
    sha256: str = ""
    applied_at: float = 0.0
    rejected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """A cache in all processes: what is in it now, and what it was used for since the start. `size` is in bytes."""

    name: str
    entries: int
    size: int | None
    hits: int
    misses: int
    evictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatus:
    """Everything that the page shows. Times are POSIX timestamps.

    `inspected` processes of `processes` answered in time; `verifiers` are in those. `recent` are the latest decisions,
    newest first, or None if they are not shown.
    """

    now: float
    started_at: float
    readiness: Readiness
    configuration: ConfigurationDetails
    workers: int
    restarts: int
    processes: int
    inspected: int
    verifiers: tuple[VerifierRow, ...]
    more_verifiers: int
    policies: tuple[PolicyRow, ...]
    more_policies: int
    reasons: tuple[ReasonHour, ...]
    recent: tuple[RecentDecision, ...] | None
    caches: tuple[CacheRow, ...]


def verifier_rows(inspections: Sequence[Inspection]) -> tuple[VerifierRow, ...]:
    """Return the verifiers of several processes, in the order of the first process that has each."""
    found: dict[str, list[VerifierDetails]] = {}
    for inspection in inspections:
        for verifier in inspection.verifiers:
            found.setdefault(verifier.name, []).append(verifier)
    return tuple(_row(name, verifiers) for name, verifiers in found.items())


def _row(name: str, verifiers: Sequence[VerifierDetails]) -> VerifierRow:
    worst = next((verifier for verifier in verifiers if not verifier.usable), verifiers[0])
    sets = [verifier.keys for verifier in verifiers if verifier.keys is not None]
    keys: dict[tuple[str, tuple[str, ...]], list[float | None]] = {}
    for one in sets:
        own: dict[tuple[str, tuple[str, ...]], float | None] = {}
        for key in one.keys:
            own.setdefault((key.kid, key.algorithms), key.age)
        for place, age in own.items():
            keys.setdefault(place, []).append(age)
    return VerifierRow(
        name=name,
        usable=sum(verifier.usable for verifier in verifiers),
        processes=len(verifiers),
        detail=worst.detail,
        has_keys=bool(sets),
        keys=tuple(
            KeyRow(kid=kid, algorithms=algorithms, age=_most(ages), processes=len(ages))
            for (kid, algorithms), ages in keys.items()
        ),
        more_keys=max((one.more for one in sets), default=0),
        fetched_ago=_most(one.fetched_ago for one in sets),
        next_fetch_in=min((one.next_fetch_in for one in sets if one.next_fetch_in is not None), default=None),
    )


def _most(numbers: Iterable[float | None]) -> float | None:
    return max((number for number in numbers if number is not None), default=None)
