"""Count the exec plugins that run now. A gate without a cluster loads no other module about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class RunningPrograms:
    """How many exec plugins run now; each one's exit status belongs to the event loop until it is counted off."""

    count: int = 0
