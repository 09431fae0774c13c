"""Differences between a live policy and its shadow, which is evaluated without affecting requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authgate.errors import Reason
    from authgate.model import Identity


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that one version of a policy allows and the other denies, with both reasons.

    Access reviews are not compared: `live` is the result before the review. `private` names the rule or expression of
    the shadow that denied; `identity` is None if the request had no credential.
    """

    policy: str
    live: Reason
    shadow: Reason
    private: str = ""
    identity: Identity | None = None
