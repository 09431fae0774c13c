"""`make chaos`: inject faults into real gates, and print which promises were kept (docs/reliability.md)."""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.chaos.scenarios import SCENARIOS
from tests.chaos.stage import Row, played


def main() -> None:
    """Run scenarios; exit with 1 if a promise was not kept."""
    arguments = _parser().parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # idle clients need descriptors, too
    chosen = [scenario for scenario in SCENARIOS if not arguments.only or scenario.name in arguments.only]
    began = time.monotonic()
    rows: list[Row] = []
    for scenario in chosen:
        print(f"{scenario.name}: {scenario.promise}", file=sys.stderr, flush=True)
        row = asyncio.run(played(scenario, arguments.seconds))
        print(f"  {row.verdict} ({row.seconds:.0f} s)", file=sys.stderr, flush=True)
        rows.append(row)
    show(rows)
    broken = [row.name for row in rows if not row.good]
    print(
        f"{len(rows)} scenarios in {time.monotonic() - began:.0f} s; not kept: {', '.join(broken) or 'none'}"
    )
    sys.exit(1 if broken else 0)


def show(rows: list[Row]) -> None:
    """Print the table, the measurements and the errors."""
    table = Table()
    for heading in ("scenario", "requests", "wrong", "503", "no answer", "longest gap", "verdict"):
        table.add_column(heading, justify="left" if heading in ("scenario", "verdict") else "right")
    for row in rows:
        tally = row.tally
        counts = (tally.sent, tally.wrong, tally.unavailable, tally.lost)
        table.add_row(row.name, *map(str, counts), f"{tally.longest:.1f} s", row.verdict)
    Console(width=max(130, Console().width)).print(table)
    for row in rows:
        for figure in row.figures:
            print(f"{row.name}: {figure}")
        for what, count in row.tally.examples.most_common():
            print(f"{row.name}: WRONG {count} times: {what}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.chaos", description="faults against real gates")
    parser.add_argument(
        "--only",
        action="append",
        choices=[scenario.name for scenario in SCENARIOS],
        metavar="NAME",
        help="play this scenario only; may be repeated",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long a fault lasts where it can be chosen"
    )
    return parser


if __name__ == "__main__":
    main()
