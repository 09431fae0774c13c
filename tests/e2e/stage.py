"""The parts of a run: the cluster, the images, a client in a pod, and the report."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.e2e.cluster import PYTHON, Cluster, CommandError
from tests.e2e.objects import TOKEN_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE: Final = Path(__file__).parent
CALLER: Final = "caller"
SHARED: Final = "http://authgate:8080/verify"
STRICT: Final = "http://strict-authgate:8080/verify"
WATCHING: Final = "http://watching-authgate:8080/verify"
BEHIND_SHARED: Final = "http://shared/"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer from authgate itself or through nginx."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def outcome(self) -> str:
        """Status and reason."""
        return f"{self.status} {self.headers.get('x-auth-reason', '')}".strip()

    @property
    def identity(self) -> dict[str, str]:
        """The identity headers with a value."""
        prefixes = ("x-auth-request-", "x-remote-")
        return {name: value for name, value in self.headers.items() if name.startswith(prefixes) and value}


@dataclass(slots=True)
class Report:
    """Writes a line for each check, and counts them."""

    shown: int = 0
    wrong: int = 0
    _started: float = field(default_factory=time.monotonic)

    def check(self, what: str, good: bool, seen: object = "") -> None:
        """Report a condition, and the observed value."""
        self.shown += good
        self.wrong += not good
        self._line("ok   " if good else "WRONG", f"{what}: {seen}" if seen != "" else what)

    def note(self, text: str) -> None:
        """Report a measurement that is not a condition."""
        self._line("note ", text)

    def part(self, title: str) -> None:
        """Print a heading."""
        sys.stdout.write(f"\n== {title}\n")

    def _line(self, mark: str, text: str) -> None:
        sys.stdout.write(f"{mark} {time.monotonic() - self._started:6.1f}s  {text}\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Stage:
    """The namespace of a run, with gates, apps and a client."""

    cluster: Cluster
    report: Report
    image: str
    nginx: str
    minor: int
    """The minor version of the API server: 36 for 1.36."""
    issuer: str
    """The issuer of the cluster's tokens, which is also the API server's own audience."""

    def gate_image(self) -> dict[str, Any]:
        """Return the chart's values for the image."""
        repository, _, tag = self.image.rpartition(":")
        return {"repository": repository, "tag": tag}

    def token_of(self, pod: str) -> str:
        """Return the token that the kubelet mounted into a pod."""
        return self.cluster.python(pod, f"print(open({TOKEN_FILE!r}).read())").strip()

    def ask(self, url: str, token: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a request from the client's pod."""
        asked = [{"url": url, "token": token, "headers": dict(headers or {})}]
        source = (HERE / "asking.py").read_text()
        (answer,) = json.loads(self.cluster.python(CALLER, source, stdin=json.dumps(asked)))
        return Answer(**answer)

    def load(self, url: str, token: str, *, keep: bool) -> Load:
        """Start sending requests from the client's pod."""
        return Load(self.cluster.namespace, url, token, keep=keep)


class Load:
    """Requests that run until `end`, or until its `with` ends."""

    def __init__(self, namespace: str, url: str, token: str, *, keep: bool) -> None:
        source = (HERE / "load.py").read_text()
        words = ["kubectl", "--namespace", namespace, "exec", "--stdin", CALLER, "--"]
        words += [PYTHON, "-I", "-c", source, url, "keep" if keep else "fresh"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{token}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "started\n":
            self._process.kill()
            raise CommandError("the load did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def end(self) -> dict[str, int]:
        """Return the number of answers by token and status."""
        written, _ = self._process.communicate(timeout=60)
        counts: dict[str, int] = json.loads(written)
        return dict(sorted(counts.items()))


def claims(token: str) -> Any:
    """Return a token's claims, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
