"""Every kind of token that a cluster issues, with keys and with reviews."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.e2e.cluster import eventually
from tests.e2e.installing import GATE, MAX_AGE, STRICT_GATE, install, strict_values
from tests.e2e.objects import AUDIENCE, legacy_secret, token_review
from tests.e2e.stage import CALLER, SHARED, STRICT, claims

if TYPE_CHECKING:
    from tests.e2e.stage import Stage

REVIEWS = "authgate_tokenreview_requests_total"
_OWN_TOKEN = "print(open('/var/run/secrets/kubernetes.io/serviceaccount/token').read())"
_EXTRA = "authentication.kubernetes.io/"


def every_kind(stage: Stage) -> None:
    """Check tokens of a pod, of `kubectl create token` and of a Secret, with keys and with TokenReview."""
    report = stage.report
    report.part("tokens")
    _of_a_pod(stage)
    made = stage.cluster.kubectl(
        "create", "token", CALLER, "--audience", AUDIENCE, "--duration", "10m"
    ).strip()
    both = [stage.ask(url, made) for url in (SHARED, STRICT)]
    report.check(
        "kubectl create token, by keys and by TokenReview",
        [a.status for a in both] == [200, 200],
        _seen(both),
    )
    report.check("the same identity, without a pod", both[0].identity == both[1].identity, both[0].identity)
    other = stage.cluster.kubectl("create", "token", CALLER, "--audience", "somebody-else").strip()
    both = [stage.ask(url, other) for url in (SHARED, STRICT)]
    report.check("for another audience", [a.status for a in both] == [401, 401], _seen(both))
    _of_a_secret(stage)


def _of_a_pod(stage: Stage) -> None:
    report, token = stage.report, stage.token_of(CALLER)
    local, reviewed = stage.ask(SHARED, token), stage.ask(STRICT, token)
    # The text that is not a JWT was reviewed and rejected. It could have been a static token.
    asked = stage.cluster.metric(GATE, REVIEWS, result="authenticated")
    decided = stage.cluster.metric(GATE, "authgate_verify_requests_total", decision="allow", source="jwks")
    report.check(
        "a pod's projected token, by the cluster's keys",
        local.status == 200 and asked == 0 and decided > 0,
        f"{local.outcome}; {decided:.0f} decided by keys, {asked:.0f} TokenReviews that accepted",
    )
    decided = stage.cluster.metric(
        STRICT_GATE, "authgate_verify_requests_total", decision="allow", source="tokenreview"
    )
    report.check(
        "the same by TokenReview",
        reviewed.status == 200 and decided > 0,
        f"{reviewed.outcome}; {decided:.0f} decided by it",
    )
    report.check("the same identity headers", local.identity == reviewed.identity != {}, local.identity)
    user = stage.cluster.create(token_review(token))["status"]["user"]
    report.check(
        "as the API server's own TokenReview says",
        (local.identity["x-auth-request-user"], local.identity["x-auth-request-uid"])
        == (user["username"], user["uid"])
        and local.identity["x-auth-request-pod"] == user["extra"][f"{_EXTRA}pod-name"][0],
        f"{user['username']}, {user['uid']}, {user['extra'][f'{_EXTRA}pod-name'][0]}",
    )


def _of_a_secret(stage: Stage) -> None:
    stage.cluster.apply(legacy_secret("legacy", CALLER))
    eventually("the Secret has its token", 30, lambda: bool(_secret(stage)))
    token = base64.b64decode(_secret(stage)["token"]).decode()
    both = [stage.ask(url, token) for url in (SHARED, STRICT)]
    good = [answer.status for answer in both] == [200, 200]
    stage.report.check(
        f"a legacy Secret's token (iss {claims(token)['iss']}), with legacyAudiences", good, _seen(both)
    )
    stage.report.check("it names the account", both[0].identity == both[1].identity, both[0].identity)
    refused = stage.ask("http://app/", token)
    stage.report.check("the same without legacyAudiences", refused.status == 401, refused.outcome)


def _secret(stage: Stage) -> Any:
    return stage.cluster.get("secret", "legacy").get("data") or {}


def _seen(answers: list[Any]) -> str:
    return ", ".join(answer.outcome for answer in answers)


def every_extra(stage: Stage) -> None:
    """Change the configuration so that authgate restarts and also sends the pod's uid and node."""
    report = stage.report
    report.part("another header preset")
    pods = {pod["metadata"]["uid"] for pod in stage.cluster.pods(STRICT_GATE)}
    took = install(stage, "strict", strict_values(stage, "kubernetes"))
    eventually(
        "the old gate ends",
        60,
        lambda: not pods & {p["metadata"]["uid"] for p in stage.cluster.pods(STRICT_GATE)},
    )
    report.check("helm upgrade with another configuration rolls the gate", True, f"{took:.1f} s")
    token = stage.token_of(CALLER)
    eventually("the new gate answers", 60, lambda: "x-remote-user" in stage.ask(STRICT, token).headers)
    seen = stage.ask(STRICT, token).identity
    pod = stage.cluster.get("pod", CALLER)
    for name, wanted in (
        ("pod-name", CALLER),
        ("pod-uid", pod["metadata"]["uid"]),
        ("node-name", pod["spec"]["nodeName"]),
    ):
        header = f"x-remote-extra-authentication.kubernetes.io%2f{name}"
        report.check(
            f"headers.preset: kubernetes sends the {name}", seen.get(header) == wanted, seen.get(header)
        )


def its_own_token(stage: Stage) -> None:
    """Check that the kubelet renews the gate's own token, and that reviews work after the first one has expired."""
    report = stage.report
    report.part("the gate's own token")
    if os.environ.get("SLOW") != "1":
        report.note(
            "left out: the shortest token lives 10 minutes, so this takes as long; SLOW=1 waits for it"
        )
        return
    (gate,) = [pod["metadata"]["name"] for pod in stage.cluster.pods(STRICT_GATE)]
    first = claims(stage.cluster.python(gate, _OWN_TOKEN))
    token = stage.token_of(CALLER)
    seen: Counter[str] = Counter()
    while time.time() < first["exp"] + 30:
        seen[stage.ask(STRICT, token).outcome] += 1
        time.sleep(MAX_AGE)
    later = claims(stage.cluster.python(gate, _OWN_TOKEN))
    report.check(
        "the kubelet renewed it", later["exp"] > first["exp"], f"{later['iat'] - first['iat']:.0f} s after it"
    )
    report.check("every answer was 200, also after the first token's end", set(seen) == {"200"}, dict(seen))
    report.check("by the same process", _restarts(stage) == 0, f"{_restarts(stage)} restarts")


def _restarts(stage: Stage) -> int:
    return sum(
        container["restartCount"]
        for pod in stage.cluster.pods(STRICT_GATE)
        for container in pod["status"]["containerStatuses"]
    )
