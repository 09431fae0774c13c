"""What an explanation is made of: steps, facts, and what the configuration wants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authgate.errors import Step


class Outcome(StrEnum):
    """What became of one step; `skipped` is one that did not have to decide, `not reached` one after a failure."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot tell"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step of the pipeline, what became of it, and by what."""

    step: Step
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the token says or the configuration wants, so that the two can be compared."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownIssuer:
    """What the configuration wants of one issuer's tokens; empty where it leaves that to the gate.

    `urls` are the issuer's names as far as they are configured: a cluster's discovery may tell another one.
    `expressions` are those of its claim rules and mappings, and `claims` what mappings read, each with its place.
    """

    name: str
    urls: tuple[str, ...]
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    claim_rules: tuple[str, ...] = ()
    expressions: tuple[tuple[str, str], ...] = ()
    is_cluster: bool = False
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class KnownPolicy:
    """What the configuration wants of who passes: its entries, each as one line; None where anybody may."""

    name: str
    audiences: tuple[str, ...] | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    access_review: str | None = None
    rule: str | None = None
    """The rule that the request falls under, which says what the lists and the review are; None for none."""
