"""The values of an explanation: steps, facts, and what the configuration expects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authgate.errors import Step


class Outcome(StrEnum):
    """The outcome of one step; a skipped step was not needed, a step after a failure is not reached."""

    PASS = "pass"
    FAIL = "fail"
    UNAVAILABLE = "unavailable"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step of the pipeline with its outcome and the details."""

    step: Step
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something in the token or the configuration, to compare the two."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIssuer:
    """What the configuration expects of one issuer's tokens; empty fields are left to the gate's defaults.

    `urls` are the configured issuer URLs; a cluster's discovery may return another one. `expressions` are those of the
    claim rules and mappings, and `claims` those that mappings read, each with its path. `kids` are the ids of the keys
    that were just fetched.
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
    audience_claims: tuple[str, ...] = ("aud",)
    kids: tuple[str, ...] = ()
    by_load_balancer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPolicy:
    """What the configuration expects of an identity: one line per entry; None for a list that is not configured."""

    name: str
    audiences: tuple[str, ...] | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    access_review: str | None = None
    rule: str | None = None
    """The rule that matches the request and determines the lists and the review; None if no rule matches."""
    headers: tuple[tuple[str, str], ...] = ()
    """The headers of `headers.set` and of the role, each with its claim, or "" if it has an expression."""
