"""What an examination finds: what is right, and what to do about what is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a finding means for requests: nothing, something one day, or that some fail now."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: a sentence of what was seen, and for all but good ones what to do."""

    level: Level
    subject: str
    sentence: str
    remedy: str = ""


def good(subject: str, sentence: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(Level.GOOD, subject, sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding that lets requests pass."""
    return Finding(Level.WARNING, subject, sentence, remedy)


def bad(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding because of which requests fail."""
    return Finding(Level.BAD, subject, sentence, remedy)
