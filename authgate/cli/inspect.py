"""`authgate inspect`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from authgate.cli.settings import OutputOption, TokenArgument
from authgate.cli.terminal import Output, console, print_data, print_rows
from authgate.cli.token_source import read_token
from authgate.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from authgate.errors import Reason
    from authgate.tools.explain.decode import Decoded

WARNING: Final = "NOT VERIFIED: these are the token's own statements; anybody could have written them."
_MAX_SHOWN: Final = 2000


def inspect(file: TokenArgument = None, output: OutputOption = Output.TEXT) -> None:
    """Decode a token without verifying it.

    Prints neither the token nor its signature. `authgate explain` shows how a gate decides about the token.
    """
    from authgate.tools.explain.decode import decode

    decoded = decode(read_token(file), time.time())
    if output is not Output.TEXT:
        print_data(_as_json(decoded), output)
    else:
        _print(decoded)


def _print(decoded: Decoded) -> None:
    from authgate.errors import REASONS
    from authgate.tools.explain.decode import Kind

    out = console()
    out.print(WARNING, style="bold yellow")
    out.print()
    out.print(f"Form: {decoded.kind}, {decoded.size} characters")
    if decoded.kind is Kind.OPAQUE:
        out.print("Not a JWT, so there is nothing to decode: only its issuer knows what it means.")
        return
    for title, members in (("Header", decoded.header), ("Claims", decoded.claims)):
        if members is not None:
            out.print(f"\n{title}", style="bold")
            print_rows(out, _rows(members, decoded))
        elif decoded.kind is Kind.MALFORMED:
            out.print(f"\n{title}: cannot be decoded", style="bold")
    if decoded.kubernetes:
        out.print("\nKubernetes", style="bold")
        print_rows(out, decoded.kubernetes)
    out.print("\nStructure", style="bold")
    if decoded.refusal is None:
        out.print("  a well-formed signed JWT", style="green")
        return
    detail = f": {decoded.refusal.detail}" if decoded.refusal.detail else ""
    out.print(f"  {visible(REASONS[decoded.refusal.reason].meaning + detail)}", style="red")
    out.print(f"  {_remedy(decoded.refusal.reason)}")


def _remedy(reason: Reason) -> str:
    from authgate.errors import REASONS, Reason

    # The usual remedy is to run this command.
    return (
        "check that the token was not cut off" if reason is Reason.TOKEN_MALFORMED else REASONS[reason].remedy
    )


def _rows(members: Mapping[str, object], decoded: Decoded) -> Iterator[tuple[str, str]]:
    for name, value in members.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > _MAX_SHOWN:
            text = f"{text[:_MAX_SHOWN]}… ({len(text) - _MAX_SHOWN} more characters, see --output json)"
        moment = decoded.moment(name) if members is decoded.claims else None
        yield name, f"{text}  {moment.date}, {moment.relation}" if moment else text


def _as_json(decoded: Decoded) -> dict[str, Any]:
    from authgate.errors import REASONS
    from authgate.tools.explain.decode import Kind

    refusal = decoded.refusal
    return {
        "verified": False,
        "warning": WARNING,
        "kind": decoded.kind.value,
        "size": decoded.size,
        "header": decoded.header,
        "claims": decoded.claims,
        "times": {
            moment.claim: {"timestamp": moment.timestamp, "date": moment.date, "relation": moment.relation}
            for moment in decoded.moments
        },
        "kubernetes": dict(decoded.kubernetes),
        "structure": {
            "well_formed": refusal is None,
            "reason": refusal.reason.value if refusal else None,
            "meaning": REASONS[refusal.reason].meaning if refusal else None,
            "detail": refusal.detail if refusal else "",
            "remedy": _remedy(refusal.reason) if refusal and decoded.kind is not Kind.OPAQUE else "",
        },
    }
