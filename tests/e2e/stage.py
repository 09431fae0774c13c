"""What every part of a run has: the cluster, the images, a caller in a pod, and the list of what was shown."""

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
    """What was answered, from the gate itself or through nginx."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def outcome(self) -> str:
        """Status and reason."""
        return f"{self.status} {self.headers.get('x-auth-reason', '')}".strip()

    @property
    def identity(self) -> dict[str, str]:
        """The identity headers that say something."""
        prefixes = ("x-auth-request-", "x-remote-")
        return {name: value for name, value in self.headers.items() if name.startswith(prefixes) and value}


@dataclass(slots=True)
class Report:
    """Writes a line for each thing as it is shown, and counts."""

    shown: int = 0
    wrong: int = 0
    _started: float = field(default_factory=time.monotonic)

    def check(self, what: str, good: bool, seen: object = "") -> None:
        """One thing that must be so, and what was seen."""
        self.shown += good
        self.wrong += not good
        self._line("ok   " if good else "WRONG", f"{what}: {seen}" if seen != "" else what)

    def note(self, text: str) -> None:
        """Something that is worth knowing, and neither right nor wrong."""
        self._line("note ", text)

    def part(self, title: str) -> None:
        """A heading."""
        sys.stdout.write(f"\n== {title}\n")

    def _line(self, mark: str, text: str) -> None:
        sys.stdout.write(f"{mark} {time.monotonic() - self._started:6.1f}s  {text}\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Stage:
    """A namespace in which gates, apps and a caller are played."""

    cluster: Cluster
    report: Report
    image: str
    nginx: str
    minor: int
    """Of the API server's version, 1.36 being 36."""
    issuer: str
    """Of the cluster's tokens, and the API server's own audience."""

    def gate_image(self) -> dict[str, Any]:
        """The chart's values that name the image."""
        repository, _, tag = self.image.rpartition(":")
        return {"repository": repository, "tag": tag}

    def token_of(self, pod: str) -> str:
        """Return the token that the kubelet gave a caller's pod."""
        return self.cluster.python(pod, f"print(open({TOKEN_FILE!r}).read())").strip()

    def ask(self, url: str, token: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Return what the caller's pod is answered."""
        asked = [{"url": url, "token": token, "headers": dict(headers or {})}]
        source = (HERE / "asking.py").read_text()
        (answer,) = json.loads(self.cluster.python(CALLER, source, stdin=json.dumps(asked)))
        return Answer(**answer)

    def load(self, url: str, token: str, *, keep: bool) -> Load:
        """Start asking, from the caller's pod."""
        return Load(self.cluster.namespace, url, token, keep=keep)


class Load:
    """Requests that go on until they are ended, or their `with` is left."""

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
        """Return how often each token was answered how."""
        written, _ = self._process.communicate(timeout=60)
        counts: dict[str, int] = json.loads(written)
        return dict(sorted(counts.items()))


def claims(token: str) -> Any:
    """Return what a token says of itself, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
