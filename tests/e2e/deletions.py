"""Delete a pod, and measure when each kind of gate and the API server reject its token."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.cluster import PYTHON, CommandError, eventually
from tests.e2e.installing import MAX_AGE, install
from tests.e2e.objects import AUDIENCE, caller, token_review
from tests.e2e.stage import CALLER, HERE, SHARED, STRICT, WATCHING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.stage import Stage

WATCHING_GATE: Final = (
    "app.kubernetes.io/name=authgate,app.kubernetes.io/component=gate,app.kubernetes.io/instance=watching"
)
API_SERVER_CACHE: Final = 10
PODS: Final = 3
_REVIEWS: Final = "authgate_tokenreview_requests_total"


def watched(stage: Stage) -> None:
    """Install a gate that watches for deletions, and check which objects it knows."""
    report, cluster = stage.report, stage.cluster
    report.part("a gate that watches (revocation: watch)")
    values = {
        "image": stage.gate_image(),
        "replicas": 1,
        "config": {"cluster": {"audiences": [AUDIENCE], "revocation": "watch"}},
    }
    report.check("helm install --wait", True, f"{install(stage, 'watching', values):.1f} s")
    known = {
        resource: cluster.metric(WATCHING_GATE, "authgate_watch_objects", resource=resource)
        for resource in ("serviceaccounts", "pods", "nodes")
    }
    report.check("its watches list accounts, pods and nodes", all(known.values()), known)


def a_deleted_pod(stage: Stage) -> None:
    """Delete pods, and compare when three gates and the API server reject their tokens, and the reviews they sent."""
    report = stage.report
    report.part("a deleted pod")
    before = stage.cluster.metric(WATCHING_GATE, _REVIEWS)
    rows = [_deletion(stage, f"doomed-{number}") for number in range(PODS)]
    reviews = stage.cluster.metric(WATCHING_GATE, _REVIEWS) - before
    title = ("revocation: watch", f"mode: always, maxAge: {MAX_AGE}s", "the API server's TokenReview")
    for name, times in zip(title, zip(*rows, strict=True), strict=True):
        report.note(f"{name:<30} rejects after {', '.join(f'{seconds:6.2f} s' for seconds in times)}")
    watching, strict, _ = zip(*rows, strict=True)
    report.check("the watch rejects within a second", max(watching) < 1, f"{max(watching):.3f} s at most")
    report.check("it sent no review of these tokens", reviews == 0, f"{reviews:.0f} TokenReviews")
    report.check(
        f"mode always keeps to maxAge ({MAX_AGE} s) and {API_SERVER_CACHE} s",
        max(strict) <= MAX_AGE + API_SERVER_CACHE,
        f"{max(strict):.1f} s at most",
    )


def _deletion(stage: Stage, name: str) -> tuple[float, float, float]:
    """Return the seconds from the deletion event to the rejection by the watch, by maxAge and by the API server."""
    cluster = stage.cluster
    cluster.apply(caller(name, CALLER, stage.image))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout", "60s")
    token = stage.token_of(name)
    eventually("the watch knows the pod", 10, lambda: stage.ask(WATCHING, token).status == 200)
    stage.report.check(
        f"{name}: its token is accepted before the deletion", stage.ask(STRICT, token).status == 200
    )
    if not _reviewed(stage, token):
        raise CommandError(f"{name}: the API server rejects the token of an existing pod")
    with _asking(stage, token) as asking, _events(stage, name) as events:
        cluster.kubectl("delete", "pod", name, "--now", "--wait=false")
        deleted = _deletion_time(events)
        server = _until_refused(stage, token) - deleted
        written, _ = asking.communicate(timeout=120)
    seen = json.loads(written)
    left = stage.ask(SHARED, token)
    stage.report.note(f"{name}: a gate without watch and reviews answers {left.outcome}")
    wrong = {url: got["statuses"] for url, got in seen.items() if not set(got["statuses"]) <= {200, 401}}
    stage.report.check(f"{name}: no other answer in between", not wrong, wrong or "200, then 401")
    return seen[WATCHING]["refused"] - deleted, seen[STRICT]["refused"] - deleted, server


@contextmanager
def _asking(stage: Stage, token: str) -> Iterator[subprocess.Popen[str]]:
    words = ["kubectl", "--namespace", stage.cluster.namespace, "exec", "--stdin", CALLER, "--"]
    words += [PYTHON, "-I", "-c", (HERE / "refusing.py").read_text(), WATCHING, STRICT]
    with _process(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{token}\n")
        process.stdin.flush()
        if process.stdout.readline() != "started\n":
            raise CommandError("the requests did not start")
        yield process


@contextmanager
def _events(stage: Stage, pod: str) -> Iterator[subprocess.Popen[str]]:
    words = ["kubectl", "--namespace", stage.cluster.namespace, "get", "pod", pod, "--watch"]
    words += ["--output-watch-events", "--output", "jsonpath={.type}{'\\n'}"]
    with _process(words) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the existing pod: the watch has started
        yield process


@contextmanager
def _process(words: list[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **streams)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _deletion_time(events: subprocess.Popen[str]) -> float:
    """Return when kubectl's own watch saw the deletion of the pod, in POSIX seconds."""
    assert events.stdout is not None
    for line in events.stdout:
        if line.strip() == "DELETED":
            return time.time()
    raise CommandError("kubectl's watch ended before the deletion of the pod")


def _until_refused(stage: Stage, token: str) -> float:
    while _reviewed(stage, token):
        time.sleep(0.1)
    return time.time()


def _reviewed(stage: Stage, token: str) -> bool:
    """Return whether the API server accepts the token."""
    return bool(stage.cluster.create(token_review(token))["status"].get("authenticated"))
