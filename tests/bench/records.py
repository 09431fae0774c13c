"""The cost of request ids and of the audit log, which records denials, for requests that are allowed from the cache."""

from __future__ import annotations

import json
from functools import partial

from tests.bench.report import Row
from tests.bench.stage import Stage
from tests.bench.tokens import gate_document
from tests.bench.wrk import wrk

_OFF = "log.audit: none, server.requestID: null"


def records(stage: Stage) -> None:
    """Compare the default settings with neither ids nor an audit log, with ids of the proxy and without."""
    document = json.loads(gate_document(stage.jwks, listen="127.0.0.1:1", admin="127.0.0.1:2"))
    without = {
        **document,
        "server": {**document["server"], "requestID": None},
        "log": {"audit": "none"},
    }
    with stage.gate() as default, stage.gate(document=json.dumps(without)) as off:
        targets = {"authgate": default, _OFF: off}
        for ids, whose in ((False, "generated"), (True, "the proxy's")):
            case = f"cached verdict, audit: deny, {whose} request ids"
            stage.say(case)
            for server in targets.values():
                wrk(server.url, stage.one, 1, ids=ids)
            seen = stage.alternating(
                {
                    name: partial(stage.load, name, server, stage.one, ids=ids)
                    for name, server in targets.items()
                }
            )
            costs = stage.costs()
            stage.report.rows += [
                Row(case, seen["authgate"], seen[_OFF], 0.9),
                Row(f"{case}: CPU time", costs["authgate"], costs[_OFF], 1.1, at_most=True),
            ]
