"""What an API server was asked about tokens and keys, by its own audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]}
- {level: Metadata, nonResourceURLs: ["/.well-known/*", "/openid/*"]}
- {level: None}
"""


@dataclass(frozen=True, slots=True)
class AskedReview:
    """One TokenReview that the API server answered: by whom, with which status, about which token."""

    user: str
    status: int
    token: str


class AuditLog:
    """The audit log of one API server, kept through its restarts; a line is there before its answer is."""

    def __init__(self, folder: Path) -> None:
        self._policy = folder / "audit-policy.yaml"
        self._log = folder / "audit.log"
        self._policy.write_text(_POLICY)

    def arguments(self) -> list[str]:
        """What kube-apiserver is started with."""
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"]

    def reviews(self) -> list[AskedReview]:
        """The TokenReviews so far. One that was refused has no token: the body of such a request is not read."""
        return [
            AskedReview(
                entry["user"].get("username", ""),
                entry["responseStatus"]["code"],
                entry.get("requestObject", {}).get("spec", {}).get("token", ""),
            )
            for entry in self._entries()
            if entry.get("objectRef", {}).get("resource") == "tokenreviews"
        ]

    def tokens_reviewed_by(self, user: str) -> list[str]:
        """The tokens that this user asked about so far, in order."""
        return [review.token for review in self.reviews() if review.user == user]

    def key_readers(self) -> list[str]:
        """The users who read the key set so far, in order."""
        return [
            entry["user"].get("username", "")
            for entry in self._entries()
            if entry["requestURI"] == "/openid/v1/jwks" and entry["responseStatus"]["code"] == 200
        ]

    def text(self) -> str:
        """All whole lines so far."""
        return self._log.read_text().rpartition("\n")[0] if self._log.exists() else ""

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._log.exists():
            return
        for line in self._log.read_text().split("\n")[:-1]:  # what follows the last newline is being written
            yield json.loads(line)
