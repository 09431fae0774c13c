"""`python -m tests.bench`: compare authgate with other programs, and print tables. See docs/performance.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from authgate import __version__
from tests.bench import cases, peers
from tests.bench.machine import cache_folder, load, machine_facts, program, python_facts
from tests.bench.report import Report
from tests.bench.server import CLIENT_CORE, SERVER_CORE, ServerError
from tests.bench.stage import FULL, QUICK, Stage
from tests.bench.tokens import TokenStore
from tests.bench.wrk import CONNECTIONS, LoadError


def main() -> None:
    """Run the benchmarks."""
    arguments = _parser().parse_args()
    if arguments.install_peers:
        peers.install()
    for needed in ("wrk", "taskset"):
        if program(needed) is None:
            sys.exit(
                f"{needed} is not installed: Debian has it in the package {'wrk' if needed == 'wrk' else 'util-linux'}"
            )
    found = peers.Peers.found()
    effort = QUICK if arguments.quick else FULL
    started = time.monotonic()
    facts: dict[str, object] = {
        "authgate": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "python": python_facts(arguments.python),
        "versions": found.versions(),
        "pinning": {"server": SERVER_CORE, "client": CLIENT_CORE},
        "connections": CONNECTIONS,
        "quick": arguments.quick,
    }
    report = Report(
        facts, left_out=[f"{name}: not installed (try --install-peers)" for name in found.missing()]
    )
    with tempfile.TemporaryDirectory(prefix="authgate-bench-") as folder:
        store = TokenStore(cache_folder() / "bench" / "tokens")
        stage = Stage(effort, store, found, arguments.python, Path(folder), report, _progress)
        for name in arguments.only or cases.CASES:
            began = time.monotonic()
            _run(stage, name)
            _progress(f"{name}: {time.monotonic() - began:.0f} s")
    facts["load_afterwards"] = load()
    facts["seconds"] = round(time.monotonic() - started)
    arguments.output.write_text(json.dumps(report.document(), indent=2) + "\n")
    print(*report.blocks().values(), sep="\n\n")
    print(f"\n{arguments.output} contains every round; {facts['seconds']} s")


def _run(stage: Stage, name: str) -> None:
    """Run a case. One that fails, as on a busy machine, is repeated once and then left out."""
    rows = stage.report.rows
    done = len(rows)
    for last in (False, True):
        try:
            cases.CASES[name](stage)
        except (LoadError, ServerError, subprocess.CalledProcessError) as error:
            _progress(f"{name} failed: {error}")
            del rows[done:]
            stage.costs()
            if last:
                stage.report.left_out.append(f"{name}: failed")
        else:
            return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.bench", description="the gate against other programs")
    parser.add_argument(
        "--quick", action="store_true", help="one short round each: under a minute, for a first look"
    )
    parser.add_argument(
        "--only", action="append", choices=tuple(cases.CASES), help="this case only; may be repeated"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench.json"), help="where every round is written"
    )
    parser.add_argument(
        "--install-peers", action="store_true", help="install Envoy and build the Go programs first"
    )
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the interpreter of the gate"
    )
    return parser


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
