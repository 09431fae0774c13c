"""Record the results of fetches and reviews in metrics and log; a lasting state is logged once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from authgate.cluster.api import ApiErrorKind
from authgate.observability.log import Transitions, event

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.keys.remote import FetchReport
    from authgate.observability.metrics import LabelledCounter, Metrics


def fetch_recorder(name: str, metrics: Metrics) -> Callable[[FetchReport], None]:
    """Return a callback that records the key fetches of one issuer under its configured name."""
    transitions = Transitions()
    metrics.jwks_fetches.start((name, "success"), (name, "failure"))

    def record(report: FetchReport) -> None:
        if not report.shared:
            metrics.jwks_fetches[name, "failure" if report.error else "success"] += 1
        if report.error is None:
            metrics.jwks_last_success[name] = report.at
            metrics.jwks_keys[name] = report.keys
            metrics.jwks_skipped[name] = len(report.skipped)
        if not transitions.changed(name, (report.error, report.skipped)):
            return
        if report.error is not None:
            event(
                logging.WARNING,
                "keys could not be fetched; the last good keys stay in use"
                if report.keys
                else "keys could not be fetched",
                issuer=name,
                error_message=report.error,
            )
        else:
            skipped = "; ".join(report.skipped)
            event(logging.INFO, "keys fetched", issuer=name, keys=report.keys, skipped=skipped)

    return record


def start_results(counter: LabelledCounter[tuple[str, str]], name: str, *answers: str) -> None:
    """Let every result of a server count from 0: its answers, its failures, and requests that are not sent."""
    counter.start(*((name, result) for result in (*answers, "throttled", *ApiErrorKind)))


def review_recorder(name: str) -> Callable[[str | None], None]:
    """Return a callback for the error of each TokenReview of one cluster, None if it was answered."""
    return _state_recorder("TokenReview", name)


def access_recorder(name: str) -> Callable[[str | None], None]:
    """Return a callback for the error of each SubjectAccessReview of one cluster, None if it was answered."""
    return _state_recorder("SubjectAccessReview", name)


def introspection_recorder(name: str) -> Callable[[str | None], None]:
    """Return a callback for the error of each request to one introspection endpoint, None if it was answered."""
    return _state_recorder("introspection", name, "issuer")


def _state_recorder(what: str, name: str, label: str = "cluster") -> Callable[[str | None], None]:
    transitions = Transitions()

    def record(error: str | None) -> None:
        if not transitions.changed(name, error):
            return
        if error is not None:
            event(logging.ERROR, f"{what} fails", error_message=error, **{label: name})
        else:
            event(logging.INFO, f"{what} answers", **{label: name})

    return record
