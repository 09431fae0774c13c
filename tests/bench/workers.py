"""The benefit of a second worker on two cores."""

from __future__ import annotations

from functools import partial
from statistics import median

from tests.bench.report import Row
from tests.bench.server import BOTH_CORES
from tests.bench.stage import Stage
from tests.bench.tokens import TokenFile
from tests.bench.wrk import Round, wrk

_BOUND = 100  # seconds
_ONE = "one worker, both cores free"


def workers(stage: Stage) -> None:
    """Compare two workers with one. Server and client share both cores, so the ratio includes the client's CPU time.

    The CPU times of a cached verdict in authgate and in the client give the highest ratio that is possible here.
    """
    spent: list[tuple[float, float]] = []  # microseconds of a request in one worker and in the client

    def once(count: int, tokens: TokenFile) -> float:
        warming, measured = tokens.split(500)
        with stage.gate(workers=count, cores=BOTH_CORES) as gate:
            wrk(gate.url, warming, _BOUND, once=True, cores=BOTH_CORES)
            return wrk(gate.url, measured, _BOUND, once=True, cores=BOTH_CORES).rate

    def again(count: int) -> float:
        with stage.gate(workers=count, cores=BOTH_CORES) as gate:
            wrk(gate.url, stage.one, 1, cores=BOTH_CORES)
            before = gate.cpu_seconds()
            done: Round = wrk(gate.url, stage.one, stage.effort.seconds, cores=BOTH_CORES)
            if count == 1:
                spent.append(((gate.cpu_seconds() - before) / done.requests * 1e6, done.client_us))
            return done.rate

    new = stage.store.good("RS256", stage.effort.new_tokens)
    for case, measure, wanted in (
        ("two workers, every token new", lambda count: once(count, new), 1.6),
        ("two workers, cached verdict", again, None),
    ):
        stage.say(case)
        seen = stage.alternating({"authgate": partial(measure, 2), _ONE: partial(measure, 1)})
        stage.report.rows.append(Row(case, seen["authgate"], seen[_ONE], wanted))
    stage.add_figure("CPU time of a cached verdict, one worker", "µs", tuple(worker for worker, _ in spent))
    stage.add_figure("CPU time of the same request in wrk", "µs", tuple(client for _, client in spent))
    worker, client = (median(column) for column in zip(*spent, strict=True))
    highest = 2 * max(worker, client) / (worker + client)
    stage.add_figure("two workers, cached verdict: highest possible ratio beside wrk", "times", (highest,))
