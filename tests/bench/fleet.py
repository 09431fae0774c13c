"""`make bench-fleet`: real gates with a real API server that counts requests, and a model for larger fleets.

Needs kube-apiserver and etcd (make cluster-tools). The gates run in this process. Their requests are counted in the API
server's audit log. Key refresh and maxAge are short, so that a minute has many of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.bench.fleet_model import MODES, Asked, Fleet, Mode, expected
from tests.support.gate import AUDIENCE, Gate, write_configuration
from tests.support.kube import ControlPlane, PlaneOptions
from tests.support.watching import comes_to_see, let_watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NAMESPACE = "fleet"
_USER = f"system:serviceaccount:{_NAMESPACE}:gate"
_EVERYTHING = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts:fleet"]}
- {level: None}
"""
SCALES = (10, 30, 100, 300, 1000)
TOKENS = 100_000
ASKED_EVERY = 60.0


def _log_of(plane: ControlPlane, start: int) -> tuple[Counter[str], int]:
    """Return the gates' requests since a position in the audit log, by kind, and the log's end."""
    lines = plane.audit.text().splitlines()
    seen: Counter[str] = Counter()
    for line in lines[start:]:
        entry = json.loads(line)
        if entry["user"].get("username") == _USER:
            seen[_kind(entry)] += 1
    return seen, len(lines)


def _kind(entry: dict[str, Any]) -> str:
    resource = entry.get("objectRef", {}).get("resource", "")
    if resource == "tokenreviews":
        return "reviews"
    if entry["requestURI"].startswith(("/openid/", "/.well-known/")):
        return "keys"
    return "watches" if entry.get("verb") == "watch" else "lists" if entry.get("verb") == "list" else "others"


async def _counted(
    plane: ControlPlane, folder: Path, fleet: Fleet, mode: Mode, tokens: list[str], seconds: float
) -> Counter[str]:
    """Return the requests of a warm fleet while it gets random requests for this number of seconds."""
    own = await plane.admin.request_token(_NAMESPACE, "gate", [])
    cluster: dict[str, Any] = {"keys": {"refresh": f"{fleet.refresh:g}s"}}
    cluster["tokenReview"] = {
        "mode": "always" if mode == "always" else "fallback",
        "maxAge": f"{fleet.max_age:g}s",
    }
    if mode == "watch":
        cluster["revocation"] = "watch"
    chance = random.Random(mode)
    async with AsyncExitStack() as stack:
        gates = []
        for number in range(fleet.gates):
            file = write_configuration(folder / f"{mode}-{number}", plane, own, cluster=cluster)
            gates.append(await stack.enter_async_context(Gate(file)))
        for gate in gates:
            await gate.has_keys(within=20)
            if mode == "watch":
                await comes_to_see(gate, within=20)
        # With maxAge the first minute differs from the others, because every token is new to every gate.
        await _ask(gates, tokens, fleet, chance, fleet.max_age if mode == "always" else 2)
        _, start = _log_of(plane, 0)
        await _ask(gates, tokens, fleet, chance, seconds)
        return _log_of(plane, start)[0]


async def _ask(
    gates: list[Gate], tokens: list[str], fleet: Fleet, chance: random.Random, seconds: float
) -> None:
    """Send requests with any token to any gate in an open loop, at the fleet's average rate."""
    rate = fleet.tokens / fleet.asked_every
    due = time.monotonic()
    end = due + seconds
    async with asyncio.TaskGroup() as group:
        while (due := due + chance.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(_passes(chance.choice(gates), chance.choice(tokens)))


async def _passes(gate: Gate, token: str) -> None:
    verdict = await gate.verdict(token)
    if verdict != (200, ""):
        raise AssertionError(f"a good token was answered {verdict}")


@asynccontextmanager
async def _plane() -> AsyncIterator[tuple[ControlPlane, Path]]:
    """Run an API server that logs the gates' requests, with a folder for them."""
    with tempfile.TemporaryDirectory(prefix="authgate-fleet-") as scratch:
        folder = Path(scratch)
        policy = folder / "everything.yaml"
        policy.write_text(_EVERYTHING)
        options = PlaneOptions(extra_args=(f"--audit-policy-file={policy}",))
        async with ControlPlane(folder / "plane", options) as plane:
            await plane.admin.create_namespace(_NAMESPACE)
            await plane.gate_token(_NAMESPACE)
            await let_watch(plane, _NAMESPACE, ("serviceaccounts", "pods", "nodes"))
            yield plane, folder


async def _measured(gates: int, tokens: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return, by mode, the counted and the modelled requests a minute."""
    fleet = Fleet(gates, tokens, asked_every=10.0, max_age=10.0, refresh=20.0, quiet=True)
    table: dict[str, dict[str, float]] = {}
    async with _plane() as (plane, folder):
        await plane.admin.create_service_account(_NAMESPACE, "app")
        held = [await plane.admin.request_token(_NAMESPACE, "app", [AUDIENCE]) for _ in range(tokens)]
        for mode in MODES:
            seen = await _counted(plane, folder, fleet, mode, held, seconds)
            said = expected(fleet, mode)
            table[mode] = {name: 60 * count / seconds for name, count in sorted(seen.items())}
            table[mode] |= {f"model: {name}": getattr(said, name) for name in ("keys", "reviews", "watches")}
    return table


async def _quiet(seconds: float) -> Counter[str]:
    """Return the requests of one gate with `revocation: watch` in this time, by kind, while nothing changes."""
    async with _plane() as (plane, folder):
        own = await plane.admin.request_token(_NAMESPACE, "gate", [])
        file = write_configuration(folder / "quiet", plane, own, cluster={"revocation": "watch"})
        async with Gate(file) as gate:
            await comes_to_see(gate, within=20)
            _, start = _log_of(plane, 0)
            await asyncio.sleep(seconds)
            return _log_of(plane, start)[0]


def main() -> None:
    """Count requests, and print the model's table."""
    parser = argparse.ArgumentParser(
        prog="tests.bench.fleet", description="what many gates ask of one API server"
    )
    parser.add_argument("--gates", type=int, default=12, help="real gates")
    parser.add_argument("--tokens", type=int, default=200, help="tokens that they are asked about")
    parser.add_argument("--seconds", type=float, default=60, help="how long each mode is counted")
    parser.add_argument(
        "--output", type=Path, default=Path("fleet.json"), help="where the figures are written"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="count the requests of one gate that nobody asks"
    )
    arguments = parser.parse_args()
    if arguments.quiet:
        seen = asyncio.run(_quiet(arguments.seconds))
        each = ", ".join(f"{count} {kind}" for kind, count in sorted(seen.items()))
        hourly = 3600 * (seen["lists"] + seen["watches"]) / arguments.seconds
        print(f"{arguments.seconds:g} s: {each}; lists and watches {hourly:.0f} an hour")
        return
    counted = asyncio.run(_measured(arguments.gates, arguments.tokens, arguments.seconds))
    modelled = {
        mode: {gates: expected(Fleet(gates, TOKENS, ASKED_EVERY), mode) for gates in SCALES} for mode in MODES
    }
    console = Console(width=110)
    title = f"{arguments.gates} gates, {arguments.tokens} tokens asked about every 10 s, maxAge 10 s, refresh 20 s"
    table = Table("mode", "what", "counted a minute", "model", title=title)
    for mode, figures in counted.items():
        for name in ("keys", "reviews", "watches"):
            table.add_row(mode, name, f"{figures.get(name, 0):.1f}", f"{figures[f'model: {name}']:.1f}")
    console.print(table)
    console.print(_scaled(modelled))
    document = {
        "counted": counted,
        "model": {
            mode: {str(gates): asked.total for gates, asked in row.items()} for mode, row in modelled.items()
        },
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n")


def _scaled(modelled: dict[Mode, dict[int, Asked]]) -> Table:
    title = f"the model: requests a minute, {TOKENS:,} tokens, each asked about once a minute, defaults"
    table = Table(
        "gates", *MODES, "watch, nothing changes", "reviews a second for each gate (always)", title=title
    )
    for gates in SCALES:
        each = modelled["always"][gates].reviews / 60 / gates
        quiet = expected(Fleet(gates, TOKENS, ASKED_EVERY, quiet=True), "watch").total
        table.add_row(
            f"{gates:,}",
            *(f"{modelled[mode][gates].total:,.0f}" for mode in MODES),
            f"{quiet:,.0f}",
            f"{each:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
