"""A JWS in compact serialization (RFC 7515 section 7.1), made piece by piece so that each can also be wrong."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

JsonObject: TypeAlias = dict[str, object]
Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch; what is minted and judged takes its time from one of these."""


class Omit(enum.Enum):
    """The type of `OMIT`."""

    OMIT = "omit"


OMIT: Final = Omit.OMIT
"""Given as a member's value, leaves the member out; None would write a JSON null."""


def changed(members: Mapping[str, object], changes: Mapping[str, object] | None) -> JsonObject:
    """The members with the changes applied: others replaced or added, those that are `OMIT` left out."""
    together = {**members, **(changes or {})}
    return {name: value for name, value in together.items() if value is not OMIT}


def json_bytes(value: Mapping[str, object]) -> bytes:
    """The object as a kube-apiserver writes one: sorted members, no spaces; NaN and lone surrogates pass."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")


def segment(data: bytes) -> str:
    """The bytes in base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def compact(header: bytes, payload: bytes, signature: bytes) -> str:
    """A compact JWS of these three pieces, whatever they hold."""
    return f"{segment(header)}.{segment(payload)}.{segment(signature)}"
