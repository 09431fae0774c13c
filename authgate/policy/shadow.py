"""A second version of a policy beside the live one: what it would have decided otherwise, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authgate.errors import Reason
    from authgate.model import Identity


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that one version of a policy lets pass and the other does not, with the reason of each.

    Access reviews are not compared: `live` is what the policy said before the cluster was asked. `private` says which
    rule or expression of the shadow refused; `identity` is None where no credential was sent.
    """

    policy: str
    live: Reason
    shadow: Reason
    private: str = ""
    identity: Identity | None = None
