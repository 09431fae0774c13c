"""kubectl and helm with the cluster of KUBECONFIG, in one namespace."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PYTHON = "/opt/authgate/bin/python"
"""The interpreter in authgate's image."""


class CommandError(Exception):
    """A command failed. The text contains the command and its output."""


def run(words: Sequence[str], stdin: str | None = None, timeout: float = 240.0) -> str:
    """Return a command's output. Errors never contain the command's input, because it may contain a token."""
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise CommandError(f"{words[0]} is not installed, and these tests need it") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{_spoken(words)} did not end within {timeout:g} s") from None
    if done.returncode:
        raise CommandError(f"{_spoken(words)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _spoken(words: Sequence[str]) -> str:
    return " ".join(word if len(word) < 80 else "…" for word in words)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The namespace of a run."""

    namespace: str

    def kubectl(self, *words: str, stdin: str | None = None, timeout: float = 240.0) -> str:
        """Return kubectl's output."""
        return run(["kubectl", "--namespace", self.namespace, *words], stdin, timeout)

    def helm(self, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Return helm's output. The values are sent to its standard input."""
        if values is None:
            return run(["helm", "--namespace", self.namespace, *words])
        return run(["helm", "--namespace", self.namespace, *words, "--values", "-"], json.dumps(values))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or update the objects."""
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(_listed(objects)))

    def get(self, *words: str) -> Any:
        """Return an object or a list of them."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def create(self, thing: Mapping[str, Any]) -> Any:
        """Return the object that the API server created from this one, such as a review with its answer."""
        return json.loads(
            self.kubectl("create", "--filename", "-", "--output", "json", stdin=json.dumps(thing))
        )

    def pods(self, selector: str) -> list[Any]:
        """Return the pods of a label selector that are not being deleted."""
        found = self.get("pods", "--selector", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def python(self, pod: str, source: str, *words: str, stdin: str = "", container: str = "") -> str:
        """Run Python source in a pod with authgate's image, and return its output."""
        chosen = ["--container", container] if container else []
        return self.kubectl(
            "exec", "--stdin", pod, *chosen, "--", PYTHON, "-I", "-c", source, *words, stdin=stdin
        )

    def metric(self, selector: str, name: str, **labels: str) -> float:
        """Return the sum of a metric over the pods of a selector. Only samples with these labels count."""
        total = 0.0
        for pod in self.pods(selector):
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}:9090/proxy/metrics"
            for line in self.kubectl("get", "--raw", path).splitlines():
                sample, _, value = line.rpartition(" ")
                if sample.partition("{")[0] == name and all(
                    f'{label}="{wanted}"' in sample for label, wanted in labels.items()
                ):
                    total += float(value)
        return total


def _listed(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def eventually(what: str, seconds: float, found: Callable[[], bool]) -> float:
    """Wait until `found` is true, checked twice a second, and return the seconds it took.

    Raises CommandError after `seconds`.
    """
    started = time.monotonic()
    while not found():
        if time.monotonic() - started > seconds:
            raise CommandError(f"{what}: not within {seconds:g} s")
        time.sleep(0.5)
    return time.monotonic() - started
