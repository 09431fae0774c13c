"""How much memory a remembered verdict takes, closely enough to bound a cache by it. Pure."""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, Final

from authgate.model import Authenticated

if TYPE_CHECKING:
    from authgate.model import JSONValue, Rejected

_VERDICT: Final = 1200
"""Bytes of a verdict without what its token wrote: the objects, its place in the cache, an answer's head."""
_GROUP: Final = 96
"""Bytes of one more group, without its text."""
_EXTRA: Final = 240
"""Bytes of one more value of `extra`, without its text."""


def weight_of(verdict: Authenticated | Rejected) -> int:
    """Return the bytes of a verdict and of one policy's answer, estimated; the same for the verdict's whole life.

    What several verdicts may share is counted for each of them, and text twice: it stands in the answer once more.
    Each further policy that is asked about the token adds an answer that is not counted.
    """
    if not isinstance(verdict, Authenticated):
        return _VERDICT + 2 * getsizeof(verdict.detail)
    identity = verdict.identity
    texts = [identity.username, identity.uid, identity.email, identity.preferred_username, *identity.groups]
    weight = _VERDICT + _GROUP * len(identity.groups)
    for _, values in identity.extra:
        texts += values
        weight += _EXTRA * len(values)
    weight += 2 * getsizeof("".join(texts))  # the widest character tells how many bytes each of them takes
    return weight if verdict.claims is None else weight + _deep_size(dict(verdict.claims.members))


def _deep_size(value: JSONValue) -> int:
    size = getsizeof(value)
    if isinstance(value, dict):
        return size + sum(getsizeof(name) + _deep_size(member) for name, member in value.items())
    if isinstance(value, list):
        return size + sum(map(_deep_size, value))
    return size
