"""The estimated memory of a cached verdict, precise enough to limit a cache. Pure."""

from __future__ import annotations

from functools import lru_cache
from sys import getsizeof
from typing import TYPE_CHECKING, Final

from authgate.model import Authenticated, SenderVerdict

if TYPE_CHECKING:
    from authgate.model import JSONValue, Rejected

_VERDICT: Final = 1200
"""Bytes of a verdict without the text of its token: the objects, the cache entry, a response head."""
_GROUP: Final = 96
"""Bytes of one more group, without its text."""
_EXTRA: Final = 240
"""Bytes of one more value of `extra`, without its text."""


def weight_of(verdict: Authenticated | Rejected) -> int:
    """Return the estimated bytes of a verdict with one policy's answer. The result never changes for a verdict.

    Objects that several verdicts share are counted for each of them, and text is counted twice, because the answer
    contains it, too. Answers of further policies are not counted.
    """
    if not isinstance(verdict, Authenticated):
        return _rejection(verdict.detail, verdict.private)
    if isinstance(verdict, SenderVerdict):
        return verdict.sender.weight + len(verdict.personal)
    identity = verdict.identity
    texts = [identity.username, identity.uid, identity.email, identity.preferred_username, *identity.groups]
    weight = _VERDICT + _GROUP * len(identity.groups)
    for _, values in identity.extra:
        texts += values
        weight += _EXTRA * len(values)
    weight += 2 * getsizeof("".join(texts))  # the widest character determines the bytes of each
    return weight if verdict.claims is None else weight + _deep_size(dict(verdict.claims.members))


@lru_cache(64)  # few texts are frequent
def _rejection(detail: str, private: str) -> int:
    return _VERDICT + 2 * getsizeof(detail) + getsizeof(private)


def _deep_size(value: JSONValue) -> int:
    size = getsizeof(value)
    if isinstance(value, dict):
        return size + sum(getsizeof(name) + _deep_size(member) for name, member in value.items())
    if isinstance(value, list):
        return size + sum(map(_deep_size, value))
    return size
