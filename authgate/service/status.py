"""The status of a gate for the page of the admin port, from its configuration, its metrics and its processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authgate.observability.figures import figures_of
from authgate.server.admin.history import INTERVAL, DecisionHistory
from authgate.server.admin.page import MAX_ROWS, MAX_RULES
from authgate.server.admin.status import (
    CacheRow,
    ConfigurationDetails,
    GateStatus,
    PolicyRow,
    RuleRow,
    verifier_rows,
)
from authgate.server.recent import merged
from authgate.text import counted
from authgate.vocabulary import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from authgate.config import Config, PolicyConfig, RuleConfig
    from authgate.model import Clock
    from authgate.observability.counter_store import CounterStore, Labels
    from authgate.observability.figures import Figures
    from authgate.server.admin.history import Kind
    from authgate.server.admin.status import Inspection, Readiness

_ANSWERS: Final = "authgate_verify_requests"
_RULES: Final = "authgate_rule_requests"
_DECISIONS: Final = ("allow", "deny", "unavailable")
_MAX_NAMES: Final = 10
"""Hosts, methods and paths of a rule that are listed."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """The inspections of the processes that answered, and how many were asked."""

    inspections: Sequence[Inspection]
    asked: int


class StatusBoard:
    """Assembles the status of a gate. Call `observe` every second or so for the numbers per minute.

    The flag beside each store is False if it has no live writer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_at = clock.now()
        self._history = DecisionHistory(clock.monotonic)

    def observe(self, stores: Iterable[tuple[CounterStore, bool]]) -> None:
        """Read the counters of decisions if the last time was ten seconds ago."""
        if self._history.elapsed >= INTERVAL:
            self._history.observe(_by_reason(stores))

    def status(
        self,
        config: Config,
        stores: Sequence[tuple[CounterStore, bool]],
        *,
        readiness: Readiness,
        configuration: ConfigurationDetails,
        inspected: Inspected,
        named: bool,
    ) -> GateStatus:
        """Return the status now, with the latest decisions if `named`."""
        self._history.observe(_by_reason(stores))
        figures = figures_of(stores)
        counts = _by_policy(figures)
        policies = sorted(
            config.policies.items(),
            key=lambda item: -sum(counts.get((item[0], decision), 0) for decision in _DECISIONS),
        )
        rows = verifier_rows(inspected.inspections)
        return GateStatus(
            now=self._clock.now(),
            started_at=self._started_at,
            readiness=readiness,
            configuration=configuration,
            workers=int(_sum(figures, "authgate_workers")),
            restarts=int(_sum(figures, "authgate_worker_restarts")),
            processes=inspected.asked,
            inspected=len(inspected.inspections),
            verifiers=rows,
            more_verifiers=max((one.more for one in inspected.inspections), default=0),
            policies=tuple(
                _policy(config, name, policy, counts, figures.get(_RULES, {}))
                for name, policy in policies[:MAX_ROWS]
            ),
            more_policies=max(0, len(policies) - MAX_ROWS),
            reasons=self._history.last_hour(),
            recent=merged((one.decisions for one in inspected.inspections), config.kept_decisions)
            if named and config.kept_decisions
            else None,
            caches=tuple(_caches(figures)),
        )


def _by_reason(stores: Iterable[tuple[CounterStore, bool]]) -> Mapping[Kind, float]:
    """Return the number of decisions by decision and reason. It reads no other counters, because it runs often."""
    totals: dict[Kind, float] = {}
    for store, _ in stores:
        for (_family, (decision, reason, _source, _policy)), [number] in store.numbers(_ANSWERS):
            kind = decision, reason
            totals[kind] = totals.get(kind, 0.0) + number
    return totals


def _by_policy(figures: Figures) -> Mapping[tuple[str, str], int]:
    """Return the number of decisions by policy and decision."""
    totals: Counter[tuple[str, str]] = Counter()
    for (decision, _reason, _source, policy), numbers in figures.get(_ANSWERS, {}).items():
        totals[policy, decision] += int(numbers[0])
    return totals


def _sum(figures: Figures, family: str) -> float:
    return sum(numbers[0] for numbers in figures.get(family, {}).values())


def _policy(
    config: Config,
    name: str,
    policy: PolicyConfig,
    counts: Mapping[tuple[str, str], int],
    by_rule: Mapping[Labels, Sequence[float]],
) -> PolicyRow:
    prefix = "" if name == DEFAULT_POLICY else f"/policies/{name}"
    endpoints = [f"{prefix}/verify"]
    if config.exchange is not None and name in config.exchange.audiences:
        endpoints.append(f"{prefix}/token")
    shown = policy.rules[:MAX_RULES]
    return PolicyRow(
        name=name,
        endpoints=tuple(endpoints),
        decides=", ".join(_conditions(policy)),
        rules=tuple(
            RuleRow(
                index=index,
                matches=_matches(rule),
                decides=_decides(rule),
                decided=int(by_rule.get((name, str(index)), [0.0])[0]),
            )
            for index, rule in enumerate(shown)
        ),
        more_rules=len(policy.rules) - len(shown),
        allowed=counts.get((name, "allow"), 0),
        denied=counts.get((name, "deny"), 0),
        unavailable=counts.get((name, "unavailable"), 0),
    )


def _conditions(policy: PolicyConfig) -> Iterator[str]:
    """Yield how a policy decides. Entries are counted and not shown: they name users and groups."""
    if policy.allow is not None:
        yield f"allow: {_entries(policy.allow)}"
    elif policy.role is None and policy.access_review is None:
        yield "allow: every authenticated identity"
    if policy.deny is not None:
        yield f"deny: {_entries(policy.deny)}"
    if policy.audiences is not None:
        yield counted(len(policy.audiences), "audience")
    if policy.role is not None:
        yield "role"
    if policy.access_review is not None:
        yield "access review"
    if policy.anonymous:
        yield counted(len(policy.anonymous), "path") + " without a token"
    if policy.shadow is not None:
        yield "with a shadow"


def _matches(rule: RuleConfig) -> str:
    parts = (_listed(rule.methods), _listed(rule.paths), _listed(rule.hosts))
    methods, paths, hosts = parts
    return " ".join(part for part in (methods, paths or "every path", f"on {hosts}" if hosts else "") if part)


def _decides(rule: RuleConfig) -> str:
    if rule.anonymous:
        return "without a token"
    if rule.access_review is not None:
        return "access review"
    if rule.expression is not None:
        return "expression"
    lists = (("allow", rule.allow), ("deny", rule.deny))
    return ", ".join(f"{name}: {_entries(entries)}" for name, entries in lists if entries is not None)


def _entries(entries: Sequence[object]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _listed(names: Sequence[str] | None) -> str:
    if names is None:
        return ""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _caches(figures: Figures) -> Iterator[CacheRow]:
    entries = figures.get("authgate_cache_entries", {})
    sizes = figures.get("authgate_cache_bytes", {})
    requests = figures.get("authgate_cache_requests", {})
    evictions = figures.get("authgate_cache_evictions", {})
    for (name,), numbers in sorted(entries.items()):
        size = sizes.get((name,))
        yield CacheRow(
            name=name,
            entries=int(numbers[0]),
            size=None if size is None else int(size[0]),
            hits=int(requests.get((name, "hit"), [0.0])[0]),
            misses=int(requests.get((name, "miss"), [0.0])[0]),
            evictions=int(evictions.get((name,), [0.0])[0]),
        )
