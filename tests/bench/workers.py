"""The benefit of a second worker on two cores."""

from __future__ import annotations

from functools import partial

from tests.bench.report import Row
from tests.bench.server import BOTH_CORES
from tests.bench.stage import Stage
from tests.bench.tokens import TokenFile
from tests.bench.wrk import wrk

_BOUND = 100  # seconds


def workers(stage: Stage) -> None:
    """Compare two workers with one. Server and client share both cores, so the ratio includes the client's CPU time."""

    def once(count: int, tokens: TokenFile) -> float:
        warming, measured = tokens.split(500)
        with stage.gate(workers=count, cores=BOTH_CORES) as gate:
            wrk(gate.url, warming, _BOUND, once=True, cores=BOTH_CORES)
            return wrk(gate.url, measured, _BOUND, once=True, cores=BOTH_CORES).rate

    def again(count: int) -> float:
        with stage.gate(workers=count, cores=BOTH_CORES) as gate:
            wrk(gate.url, stage.one, 1, cores=BOTH_CORES)
            return wrk(gate.url, stage.one, stage.effort.seconds, cores=BOTH_CORES).rate

    new = stage.store.good("RS256", stage.effort.new_tokens)
    for case, measure in (
        ("two workers, every token new", lambda count: once(count, new)),
        ("two workers, cached verdict", again),
    ):
        stage.say(case)
        seen = stage.alternating(
            {"authgate": partial(measure, 2), "one worker, both cores free": partial(measure, 1)}
        )
        stage.report.rows.append(Row(case, seen["authgate"], seen["one worker, both cores free"], 1.6))
