"""Every scenario, with the promise in docs/reliability.md."""

from __future__ import annotations

from typing import Final

from tests.chaos import apis, introspection, issuers, processes, reloads, resources
from tests.chaos.stage import Scenario

SCENARIOS: Final = (
    Scenario(
        "workers-killed",
        "the other workers answer, and only requests of a killed worker are lost",
        processes.workers_killed,
        longest=1,
    ),
    Scenario(
        "worker-hangs",
        "the other workers answer, and the hanging one is replaced",
        processes.worker_hangs,
        longest=1,
    ),
    Scenario(
        "supervisor-killed",
        "no worker is left, and the port is free again",
        processes.supervisor_killed,
        longest=10,
    ),
    Scenario(
        "orphan-hangs",
        "a hanging worker whose supervisor died does not keep the port",
        processes.orphan_hangs,
        longest=10,
    ),
    Scenario("rolling-restart", "SIGTERM costs no request", processes.rolling_restart, longest=1),
    Scenario(
        "early-signals", "process 1 ends on a SIGTERM in its first second", processes.early_signals, longest=5
    ),
    Scenario(
        "reload-storm",
        "the last good file is in use, and no request notices",
        reloads.reload_storm,
        longest=1,
    ),
    Scenario(
        "late-file", "a file is applied once the files that it names exist", reloads.late_file, longest=1
    ),
    Scenario(
        "no-worker-left",
        "a bad file that no worker could try is refused, and the one before serves",
        reloads.no_worker_left,
        longest=30,
    ),
    Scenario(
        "issuer-down",
        "tokens of known keys pass, a new key is 503 and never 401",
        issuers.issuer_down,
        longest=1,
    ),
    Scenario(
        "cold-start",
        "503 until the issuer is back, and a few seconds more",
        issuers.cold_start,
        longest=8,
        throughout=True,
    ),
    Scenario("key-rotation", "a new key costs no 401", issuers.key_rotation, longest=8),
    Scenario(
        "same-key-id", "a key that is replaced under its key id costs no 401", issuers.same_key_id, longest=2
    ),
    Scenario("api-down", "signed tokens pass, opaque ones are 503 and never 401", apis.api_down, longest=1),
    Scenario("api-hangs", "signed tokens pass, opaque ones are 503 and never 401", apis.api_hangs, longest=1),
    Scenario(
        "introspection-down",
        "JWTs pass, opaque tokens are 503 and never 401, and a revoked one does not pass again",
        introspection.introspection_down,
        longest=1,
    ),
    Scenario(
        "watch-broken",
        "a deleted pod's token never passes again, and the others pass throughout",
        apis.watch_broken,
        longest=1,
    ),
    Scenario(
        "idle-connections",
        "more idle connections than the soft limit disturb nobody",
        resources.idle_connections,
        longest=1,
    ),
    Scenario(
        "no-descriptors",
        "connections over the limit are closed, and probes are answered",
        resources.no_descriptors,
        longest=2,
        throughout=True,
    ),
    Scenario(
        "no-memory",
        "no wrong answer, and all is well afterwards",
        resources.no_memory,
        longest=10,
        throughout=True,
    ),
)
