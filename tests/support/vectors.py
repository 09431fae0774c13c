"""Published test vectors: Wycheproof's, from a folder next to the checkout, and the examples of RFCs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class WycheproofVector:
    """One test of a Wycheproof file. `group` has the key and other members that its tests share."""

    group_number: int
    group: Mapping[str, Any]
    test: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Its `tcId`, unique within the file."""
        return int(self.test["tcId"])

    @property
    def valid(self) -> bool:
        """Whether Wycheproof expects it to be accepted. These files have only the results valid and invalid."""
        return {"valid": True, "invalid": False}[self.test["result"]]

    def __str__(self) -> str:
        return f"{self.number}-{self.group.get('comment', '')}-{self.test['comment']}"


def wycheproof_folder() -> Path | None:
    """Return the folder with `testvectors_v1`: $AUTHGATE_WYCHEPROOF, shared/wycheproof next to the checkout, or None.

    Call it while tests are collected. Later, the environment has no AUTHGATE_ variables.
    """
    named = os.environ.get("AUTHGATE_WYCHEPROOF")
    folder = Path(named) if named else _CHECKOUT.parent / "shared" / "wycheproof"
    return folder if named or folder.is_dir() else None


def load_wycheproof(folder: Path, name: str) -> tuple[WycheproofVector, ...]:
    """Return all tests of `testvectors_v1/<name>.json`; raise ValueError if their number is not the announced one."""
    document = json.loads((folder / "testvectors_v1" / f"{name}.json").read_text())
    vectors = tuple(
        WycheproofVector(number, group, test)
        for number, group in enumerate(document["testGroups"])
        for test in group["tests"]
    )
    if len(vectors) != document["numberOfTests"]:
        raise ValueError(f"{name}: {len(vectors)} tests, it announces {document['numberOfTests']}")
    return vectors


def rfc_example(name: str) -> Mapping[str, Any]:
    """Return an example of an RFC from `tests/conformance/rfc_examples.json`, such as "RFC 7515 A.2"."""
    examples = json.loads((_CHECKOUT / "tests" / "conformance" / "rfc_examples.json").read_text())
    example: Mapping[str, Any] = examples[name]
    return example
