"""Findings about a configuration, and those about keys, which issuers and clusters share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from authgate.compose.dependencies import CompositionError
from authgate.compose.issuers import read_static_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.config import StaticKeysConfig
    from authgate.keys.jwk import KeyDocument

REWRITE_CERTIFICATE: Final = (
    "write each certificate as 'openssl x509 -in ca.crt' prints it: no other text between its lines, and no spaces"
    " before them"
)


class Level(StrEnum):
    """The effect on requests: none, possible failures later, or failures now."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: a sentence, and how to fix the problem unless the level is good."""

    level: Level
    subject: str
    sentence: str
    remedy: str = ""


def good(subject: str, sentence: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(Level.GOOD, subject, sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding about a problem that does not make requests fail now."""
    return Finding(Level.WARNING, subject, sentence, remedy)


def bad(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding about a problem that makes requests fail."""
    return Finding(Level.BAD, subject, sentence, remedy)


def keys_found(subject: str, origin: str, document: KeyDocument, algorithms: Iterable[str]) -> list[Finding]:
    """Return the findings about keys that were read; `algorithms` are the accepted ones."""
    usable = {name for key in document.keys for name in key.algorithms}.intersection(algorithms)
    matching = [key for key in document.keys if usable.intersection(key.algorithms)]
    found: list[Finding] = []
    if matching:
        count = "1 usable key" if len(matching) == 1 else f"{len(matching)} usable keys"
        found.append(good(subject, f"{count} from {origin}, for {', '.join(sorted(usable))}"))
    else:
        sentence = f"no key from {origin} matches an accepted algorithm ({', '.join(algorithms)})"
        found.append(bad(subject, sentence, "add the issuer's signing algorithm to gate.algorithms"))
    found += (
        warning(
            subject,
            f"skipped: {reason}",
            "its tokens are denied; ask the issuer to remove or replace the key",
        )
        for reason in document.skipped
    )
    return found


def static_keys_found(
    static: StaticKeysConfig, algorithms: Iterable[str], subject: str, path: str, *, bundle: bool = False
) -> list[Finding]:
    """Return the findings about keys in the configuration, at `path`, or in a file that it names."""
    try:
        document = read_static_keys(static, path, bundle=bundle)
    except CompositionError as error:
        return [bad(subject, str(error), "put the issuer's public keys there, as a JWKS or PEM")]
    return keys_found(subject, static.file or "the configuration", document, algorithms)
