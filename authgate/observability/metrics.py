"""Count events in a counter store. `exposition` renders the numbers as metric families at a scrape.

Label values come only from closed enums and configured names, never from a subject, a path or a kid.
"""

from __future__ import annotations

import math
import platform
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from authgate import __version__
from authgate.errors import REASONS, Reason
from authgate.observability.counter_store import CounterStore
from authgate.observability.families import BUCKETS, FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from authgate.observability.counter_store import Cells
    from authgate.observability.exposition import Exposition

_Key = TypeVar("_Key", bound="str | tuple[str, ...]")
_SUM: Final = len(BUCKETS) + 1
_WIDTH: Final = len(BUCKETS) + 2
_MAX_RULES: Final = 10_000
"""Rules that are counted, in the order of their first use. More would take the place of other counters."""


class Histogram:
    """A distribution of durations in seconds over `BUCKETS`. The last of its numbers is their sum."""

    __slots__ = ("_cells", "at")

    def __init__(self, cells: Cells | None = None, at: int = 0) -> None:
        self._cells: Cells = [0.0] * _WIDTH if cells is None else cells
        self.at: Final = at

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        cells, at = self._cells, self.at
        cells[at + bisect_left(BUCKETS, seconds)] += 1
        cells[at + _SUM] += seconds


class AnswerCell:
    """The count of answers with the same labels, and the histogram of all answers with the same source and policy."""

    __slots__ = ("_at", "_buckets", "_cells", "duration")

    def __init__(self, cells: Cells, at: int, duration: Histogram) -> None:
        self._cells = cells
        self._at = at
        self._buckets = duration.at
        self.duration = duration

    @property
    def count(self) -> int:
        """The number of answers."""
        return int(self._cells[self._at])

    def with_rule(self, rule_at: int) -> RuleAnswerCell:
        """Return a cell that also counts in the cell of a rule."""
        return RuleAnswerCell(self._cells, self._at, self.duration, rule_at)

    def add(self, seconds: float) -> None:
        """Count one answer and its duration."""
        cells, at = self._cells, self._buckets
        cells[self._at] += 1
        cells[at + bisect_left(BUCKETS, seconds)] += 1  # as `Histogram.observe`
        cells[at + _SUM] += seconds


class RuleAnswerCell(AnswerCell):
    """The same for answers that a rule decided, which are counted for the rule as well."""

    __slots__ = ("_rule_at",)

    def __init__(self, cells: Cells, at: int, duration: Histogram, rule_at: int) -> None:
        super().__init__(cells, at, duration)
        self._rule_at = rule_at

    def add(self, seconds: float) -> None:
        """Count one answer, its duration and its rule."""
        self._cells[self._rule_at] += 1
        AnswerCell.add(self, seconds)


class AnswerCells(dict[str, AnswerCell]):
    """The counters of answers by their source, all other labels being the same. Each is created at its first use.

    `under` returns those of answers that another rule of the policy decided.
    """

    def __init__(
        self,
        cell_of: Callable[[str], AnswerCell],
        rule: int | None,
        under: Callable[[int | None], AnswerCells],
    ) -> None:
        super().__init__()
        self._cell_of = cell_of
        self.rule = rule
        self.under = under

    def __missing__(self, source: str) -> AnswerCell:
        made = self[source] = self._cell_of(source)
        return made


class LabelledCounter(Generic[_Key]):
    """The numbers of one family by the values of its labels. Labels that were never counted have 0."""

    def __init__(self, store: CounterStore, family: str) -> None:
        self._store = store
        self._family = family
        self._places: dict[_Key, int] = {}

    def __getitem__(self, key: _Key) -> float:
        number = self._store.cells[self._place(key)]
        return 0.0 if math.isnan(number) else number

    def __setitem__(self, key: _Key, number: float) -> None:
        self._store.cells[self._place(key)] = number

    def counter(self, key: _Key) -> Callable[[], None]:
        """Return a function that adds 1 for these labels, for hot paths."""
        cells, place = self._store.cells, self._place(key)

        def count() -> None:
            cells[place] += 1

        return count

    def start(self, *keys: _Key) -> None:
        """Expose a counter for these labels now: Prometheus notices the first event only if there was a 0 before."""
        for key in keys:
            self._place(key)

    def keep_only(self, keys: Iterable[_Key]) -> None:
        """Stop exposing a gauge for all labels but these."""
        for key in self._places.keys() - set(keys):
            self._store.cells[self._places[key]] = math.nan

    def replace(self, numbers: Mapping[_Key, float]) -> None:
        """Set a gauge to these numbers and stop exposing all other labels."""
        for key, number in numbers.items():
            self[key] = number
        self.keep_only(numbers)

    def _place(self, key: _Key) -> int:
        place = self._places.get(key)
        if place is None:
            labels = (key,) if isinstance(key, str) else key
            place = self._places[key] = self._store.place(self._family, labels)
        return place


class Histograms(dict[_Key, Histogram]):
    """The histograms of one family by the values of its labels. Each is created at its first use."""

    def __init__(self, store: CounterStore, family: str) -> None:
        super().__init__()
        self._store = store
        self._family = family

    def __missing__(self, key: _Key) -> Histogram:
        labels = (key,) if isinstance(key, str) else key
        made = self[key] = Histogram(self._store.cells, self._store.place(self._family, labels, _WIDTH))
        return made


class _Number:
    """An attribute of `Metrics`: the number of a family without labels."""

    def __init__(self, family: str) -> None:
        self._family = family

    def __get__(self, metrics: Metrics, owner: type[Metrics]) -> float:
        return metrics.unlabelled(self._family)[()]

    def __set__(self, metrics: Metrics, number: float) -> None:
        metrics.unlabelled(self._family)[()] = number


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Numbers that are read at a scrape instead of being counted, by the labels of their families."""

    cache_entries: Mapping[str, float] = field(default_factory=dict)
    cache_bytes: Mapping[str, float] = field(default_factory=dict)
    saturation: Mapping[tuple[str, str], float] = field(default_factory=dict)
    introspection_saturation: Mapping[tuple[str, str], float] = field(default_factory=dict)
    watch_objects: Mapping[tuple[str, str], float] = field(default_factory=dict)
    watch_last_event: Mapping[tuple[str, str], float] = field(default_factory=dict)
    credentials: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """When a certificate or token expires, and its whole lifetime."""


class Metrics:
    """All metrics of one process. The code that observes an event counts it in an attribute directly.

    A `store` that an ended process left is continued, except for its gauges, which described that process.
    """

    config_last_success = _Number("authgate_config_last_reload_success_timestamp_seconds")
    config_rejected_since = _Number("authgate_config_rejected_since_timestamp_seconds")
    audit_suppressed = _Number("authgate_audit_suppressed")
    log_dropped = _Number("authgate_log_dropped")
    internal_errors = _Number("authgate_internal_errors")
    connections_refused = _Number("authgate_connections_refused")
    unfinished_heads_ended = _Number("authgate_unfinished_heads_ended")
    descriptors_exhausted = _Number("authgate_descriptors_exhausted")
    in_flight = _Number("authgate_in_flight_requests")
    workers = _Number("authgate_workers")

    def __init__(self, store: CounterStore | None = None) -> None:
        self.store = store = CounterStore() if store is None else store
        self._unlabelled: dict[str, LabelledCounter[tuple[()]]] = {}
        for (family, labels), _ in store.numbers():
            if FAMILIES[family].kind == "gauge":
                store.cells[store.place(family, labels)] = math.nan
        self.answers: dict[tuple[str, str, str, str], AnswerCell] = {}
        """Keys are decision, reason, source and policy."""
        self.unavailable = LabelledCounter[str](store, "authgate_unavailable")
        self.unavailable.start(*(reason for reason, info in REASONS.items() if info.status == 503))
        self.verify_duration = Histograms[tuple[str, str]](store, "authgate_verify_duration_seconds")
        self._cells_by_source: dict[tuple[str, str, str, int | None], AnswerCells] = {}
        self._rule_cells: dict[tuple[str, str, str, str, int], AnswerCell] = {}
        self._rule_places: dict[tuple[str, int], int] = {}
        self.shadow_differences = LabelledCounter[tuple[str, str, str]](store, "authgate_shadow_differences")
        self.cache_requests = LabelledCounter[tuple[str, str]](store, "authgate_cache_requests")
        self.cache_evictions = LabelledCounter[str](store, "authgate_cache_evictions")

        self.jwks_fetches = LabelledCounter[tuple[str, str]](store, "authgate_jwks_fetches")
        self.jwks_last_success = LabelledCounter[str](store, "authgate_jwks_last_success_timestamp_seconds")
        self.jwks_keys = LabelledCounter[str](store, "authgate_jwks_keys")
        self.jwks_skipped = LabelledCounter[str](store, "authgate_jwks_skipped_keys")
        self.tokenreview_requests = LabelledCounter[tuple[str, str]](store, "authgate_tokenreview_requests")
        self.tokenreview_duration = Histograms[str](store, "authgate_tokenreview_duration_seconds")
        self.introspection_requests = LabelledCounter[tuple[str, str]](
            store, "authgate_introspection_requests"
        )
        self.introspection_duration = Histograms[str](store, "authgate_introspection_duration_seconds")

        self.accessreview_requests = LabelledCounter[tuple[str, str]](store, "authgate_accessreview_requests")
        self.accessreview_duration = Histograms[str](store, "authgate_accessreview_duration_seconds")
        self.exchange_requests = LabelledCounter[str](store, "authgate_exchange_requests")
        self.watch_restarts = LabelledCounter[tuple[str, str, str]](store, "authgate_watch_restarts")

        self.config_reloads = LabelledCounter[str](store, "authgate_config_reloads")
        self.config_reloads.start("success", "failure")
        self.worker_restarts = LabelledCounter[str](store, "authgate_worker_restarts")
        self.worker_restarts.start("exited", "killed", "stuck")
        self.http_errors = LabelledCounter[str](store, "authgate_http_errors")
        self.http_errors.start("400", "408", "431", "503")
        self.gauges: Callable[[], Gauges] = Gauges
        """Returns the gauges of the configuration in use; the service sets it."""
        self._saturation = LabelledCounter[tuple[str, str]](store, "authgate_tokenreview_saturation")
        self._introspection_saturation = LabelledCounter[tuple[str, str]](
            store, "authgate_introspection_saturation"
        )
        self._cache_entries = LabelledCounter[str](store, "authgate_cache_entries")
        self._cache_bytes = LabelledCounter[str](store, "authgate_cache_bytes")
        self._watch_objects = LabelledCounter[tuple[str, str]](store, "authgate_watch_objects")
        self._watch_last = LabelledCounter[tuple[str, str]](
            store, "authgate_watch_last_event_timestamp_seconds"
        )
        self._credential_expiry = LabelledCounter[tuple[str, str]](
            store, "authgate_credential_expiry_timestamp_seconds"
        )
        self._credential_lifetime = LabelledCounter[tuple[str, str]](
            store, "authgate_credential_lifetime_seconds"
        )
        build = LabelledCounter[tuple[str, str]](store, "authgate_build_info")
        build[__version__, platform.python_version()] = 1.0

        self._exposition: Exposition | None = None

    def unlabelled(self, family: str) -> LabelledCounter[tuple[()]]:
        """Return the counter of a family without labels."""
        found = self._unlabelled.get(family)
        if found is None:
            found = self._unlabelled[family] = LabelledCounter(self.store, family)
        return found

    def count_reload(self, result: Literal["success", "failure"]) -> None:
        """Count that a configuration was applied or rejected now."""
        self.config_reloads[result] += 1
        if result == "success":
            self.config_last_success = time.time()
            self.config_rejected_since = 0.0

    def start_policy(self, name: str, *, shadowed: bool) -> None:
        """Expose a policy before its first request, so that dashboards list it."""
        self.store.place("authgate_verify_requests", ("deny", Reason.NO_CREDENTIAL.value, "none", name))
        if shadowed:
            allowed, denied = Reason.AUTHENTICATED.value, Reason.NOT_ALLOWED.value
            self.shadow_differences.start((name, allowed, denied), (name, denied, allowed))

    def answer_cell(
        self, decision: str, reason: str, source: str, policy: str, rule: int | None = None
    ) -> AnswerCell:
        """Return the cell that counts answers with these labels. It stays the same for the lifetime of the process."""
        if rule is not None:
            return self._rule_cell(decision, reason, source, policy, rule)
        labels = (decision, reason, source, policy)
        cell = self.answers.get(labels)
        if cell is None:
            at = self.store.place("authgate_verify_requests", labels)
            duration = self.verify_duration[source, policy]
            cell = self.answers[labels] = AnswerCell(self.store.cells, at, duration)
        return cell

    def answer_cells(self, decision: str, reason: str, policy: str, rule: int | None = None) -> AnswerCells:
        """Return the cells of answers with these labels, by source."""
        labels = (decision, reason, policy, rule)
        cells = self._cells_by_source.get(labels)
        if cells is None:
            cells = self._cells_by_source[labels] = AnswerCells(
                lambda source: self.answer_cell(decision, reason, source, policy, rule),
                rule,
                partial(self.answer_cells, decision, reason, policy),
            )
        return cells

    def _rule_cell(self, decision: str, reason: str, source: str, policy: str, rule: int) -> AnswerCell:
        labels = (decision, reason, source, policy, rule)
        cell = self._rule_cells.get(labels)
        if cell is not None:
            return cell
        cell = self.answer_cell(decision, reason, source, policy)
        at = self._rule_places.get((policy, rule))
        if at is None and len(self._rule_places) < _MAX_RULES:
            at = self.store.place("authgate_rule_requests", (policy, str(rule)))
            self._rule_places[policy, rule] = at
        if at is not None:
            cell = cell.with_rule(at)
            self._rule_cells[labels] = cell
        return cell

    def count_review(self, cluster: str, result: str, seconds: float) -> None:
        """Count one TokenReview of a cluster by its result. A throttled one was not sent and has no duration."""
        self.tokenreview_requests[cluster, result] += 1
        if result != "throttled":
            self.tokenreview_duration[cluster].observe(seconds)

    def count_introspection(self, issuer: str, result: str, seconds: float) -> None:
        """Count one introspection request to a server by its result. A throttled one has no duration."""
        self.introspection_requests[issuer, result] += 1
        if result != "throttled":
            self.introspection_duration[issuer].observe(seconds)

    def count_access_review(self, cluster: str, result: str, seconds: float) -> None:
        """Count one SubjectAccessReview of a cluster by its result. A throttled one has no duration."""
        self.accessreview_requests[cluster, result] += 1
        if result != "throttled":
            self.accessreview_duration[cluster].observe(seconds)

    def publish(self) -> None:
        """Update the gauges that are read at a scrape instead of being counted."""
        gauges = self.gauges()
        self._cache_entries.replace(gauges.cache_entries)
        self._cache_bytes.replace(gauges.cache_bytes)
        self._saturation.replace(gauges.saturation)
        self._introspection_saturation.replace(gauges.introspection_saturation)
        self._watch_objects.replace(gauges.watch_objects)
        self._watch_last.replace(gauges.watch_last_event)
        self._credential_expiry.replace({labels: at for labels, (at, _) in gauges.credentials.items()})
        self._credential_lifetime.replace({labels: span for labels, (_, span) in gauges.credentials.items()})

    def keep_only_issuers(self, names: Iterable[str]) -> None:
        """Stop exposing the gauges of issuers that are no longer configured."""
        kept = set(names)
        for gauge in (self.jwks_last_success, self.jwks_keys, self.jwks_skipped):
            gauge.keep_only(kept)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        from authgate.observability.exposition import Exposition
        from authgate.observability.figures import figures_of

        self.publish()
        if self._exposition is None:
            self._exposition = Exposition(lambda: figures_of([(self.store, True)]))
        return self._exposition.render()
