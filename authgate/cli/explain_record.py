"""`authgate explain --record`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from authgate.cli.settings import load_or_fail
from authgate.cli.terminal import (
    DENIED,
    FAILED,
    USAGE,
    Output,
    console,
    fail,
    print_data,
    print_rows,
)
from authgate.cli.token_source import TOKEN_IN_ARGUMENTS, looks_like_token
from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from authgate.tools.explain.record import Record, RecordExplanation

_STATUS: Final = {"allow": 0, "deny": DENIED, "unavailable": FAILED}
_STYLES: Final = {"allow": "bold green", "deny": "bold red", "unavailable": "bold yellow"}
_NOW: Final = {
    "same": "The configuration decides the same now",
    "different": "The configuration decides otherwise now",
    "unknown": "The record does not show how the configuration decides now",
}


def explain_line(line: str, config: Path | None, output: Output) -> NoReturn:
    """Explain an audit line, or the one on standard input if it is `-`, and end the command."""
    from authgate.compose import CompositionError
    from authgate.tools.explain.record import RecordError, explain_record, read_record

    if line == "-" and str(config) == "-":
        fail("the audit line and the configuration cannot both be standard input", USAGE)
    if line != "-" and looks_like_token(line):
        fail(TOKEN_IN_ARGUMENTS, USAGE)
    try:
        record = read_record(_only_line() if line == "-" else line)
    except RecordError as error:
        fail(f"cannot explain this line: {error}", USAGE)
    loaded = load_or_fail(config)
    try:
        explanation = explain_record(record, loaded.config)
    except CompositionError as error:
        fail(str(error))
    if output is not Output.TEXT:
        print_data(_as_data(explanation), output)
    else:
        _print(explanation)
    raise typer.Exit(_STATUS[record.outcome])


def _only_line() -> str:
    from authgate.observability.audit import SHADOW_DIFFERS
    from authgate.tools.explain.record import MAX_BYTES

    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        fail(f"standard input has more than {MAX_BYTES} bytes: give one audit line", USAGE)
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        fail(
            "standard input is empty: the log has no such line, or the proxy got no answer from authgate",
            USAGE,
        )
    decisions = [line for line in lines if SHADOW_DIFFERS not in line] or lines
    if len(decisions) != 1:
        fail(
            f"standard input has {len(decisions)} lines: give one audit line, for example with grep and a"
            " request id",
            USAGE,
        )
    return decisions[0]


def _rows(record: Record) -> Iterator[tuple[str, str]]:
    request = record.request
    target = f"{request.host or ''}{request.path or record.route}"
    rule = f", {record.rule}" if record.rule else ""
    yield "time", record.time
    yield "request id", record.request_id
    yield "trace id", record.trace_id
    yield "client", record.client
    yield "request", " ".join(part for part in (request.method, target) if part)
    yield "policy", f"{record.policy}{rule}"
    yield "issuer", record.issuer
    yield "user", record.user
    yield "audiences", ", ".join(record.audiences)
    yield "claimed issuer (not verified)", record.claimed_issuer
    yield "claimed audiences (not verified)", ", ".join(record.claimed_audiences)
    yield "decided by", record.source
    yield "detail", record.detail


def _print(explanation: RecordExplanation) -> None:
    from rich.text import Text

    out, record = console(), explanation.record
    print_rows(out, [row for row in _rows(record) if row[1]])
    out.print()
    outcome = (record.outcome, _STYLES[record.outcome])
    out.print(Text.assemble(outcome, f": {explanation.status} {record.reason}"))
    out.print(f"  {explanation.meaning}")
    out.print()
    out.print(f"{_NOW[explanation.now]}: {visible(explanation.why)}.")
    if explanation.remedy:
        out.print()
        out.print(f"to change this: {explanation.remedy}", style="bold")
    out.print()
    out.print(f"for a ticket: {visible(explanation.summary)}")


def _as_data(explanation: RecordExplanation) -> dict[str, Any]:
    record = explanation.record
    return {
        "verdict": record.outcome,
        "status": explanation.status,
        "reason": record.reason.value,
        "meaning": explanation.meaning,
        "detail": record.detail,
        "remedy": explanation.remedy,
        "summary": explanation.summary,
        "now": explanation.now.value,
        "why": explanation.why,
        "record": dict(_rows(record)),
    }
