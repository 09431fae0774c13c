"""The requests to an API server about tokens and keys, from its audit log."""

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
    """One TokenReview in the audit log: the caller, the HTTP status and the token."""

    user: str
    status: int
    token: str


class AuditLog:
    """The audit log of one API server. Restarts append to it. A line is written before its response."""

    def __init__(self, folder: Path) -> None:
        self._policy = folder / "audit-policy.yaml"
        self._log = folder / "audit.log"
        self._policy.write_text(_POLICY)

    def arguments(self) -> list[str]:
        """Return the arguments for kube-apiserver."""
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"]

    def reviews(self) -> list[AskedReview]:
        """Return the TokenReviews so far. A rejected one has no token, because its body is not read."""
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
        """Return the tokens that this user has reviewed so far, in order."""
        return [review.token for review in self.reviews() if review.user == user]

    def key_readers(self) -> list[str]:
        """Return the users who have read the key set so far, in order."""
        return [
            entry["user"].get("username", "")
            for entry in self._entries()
            if entry["requestURI"] == "/openid/v1/jwks" and entry["responseStatus"]["code"] == 200
        ]

    def text(self) -> str:
        """Return all complete lines so far."""
        return self._log.read_text().rpartition("\n")[0] if self._log.exists() else ""

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._log.exists():
            return
        for line in self._log.read_text().split("\n")[:-1]:  # the rest is an incomplete line
            yield json.loads(line)
