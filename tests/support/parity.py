"""Tables of tokens with the same verdict from kube-apiserver and gate, and the intended differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import pytest

from authgate.dev.issuer import Issuer

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

    from authgate.dev.keys import SigningKey
    from tests.support.oracle import Entry, Oracle


class Difference(StrEnum):
    """Behaviour of the API server that the gate does not have. docs/kubernetes-parity.md has the same texts."""

    FOLDED_NAMES = "ignores the case of claim names, and uses the last of two equal names"
    BROKEN_UTF8 = "replaces invalid UTF-8"
    TEXT_TIMES = "accepts an `exp` that is a string of digits"
    FUTURE_IAT = "does not compare `iat` (other issuers)"
    SMALL_RSA = "accepts RSA keys of 1024 bits"
    KEY_ALGORITHM = "ignores the `alg` of a JWK"
    ANY_TYPE = "accepts any `typ`"
    CONFIRMATION = "ignores `cnf`"
    LOOSE_BASE64 = "accepts non-canonical base64url"
    EMPTY_USERNAME = "accepts an empty username"
    UNVERIFIED_EMAIL = "checks `email_verified` where `email` is the username"
    CONTROL_CHARACTERS = "accepts control characters"
    EMPTY_KID = "treats an empty `kid` as missing"
    HUGE_NUMBER = "ignores numbers that do not fit a double"
    NULL_AUDIENCE = "reads null in the audiences as an empty string"
    TOKEN_ID = "ignores a `jti` that is not a string"
    ELSEWHERE = "fetches groups from another server if the token refers to it (`_claim_names`)"
    OR_VALUE = "evaluates `orValue` of a value that is not optional to that value"
    MAP_KEYS = "accepts duplicate keys, or keys that are not strings, in a map in an expression"
    BOUNDS = "limits the loops and strings of an expression only by its cost"
    NOT_FINITE = "converts the strings `inf` and `nan` to numbers"
    NUL = "reads strings with a NUL character like any other"
    COST = "counts the cost of an expression and fails at 1,000,000"
    EDDSA = "rejects EdDSA, also under its name Ed25519"
    POINTER = "reads a `claim` that begins with `/` as a name"
    SPLIT = "rejects results of `split()` and `findAll()` as groups and extra, unless mapped with `map`"


Token = Mapping[str, object] | Callable[[Issuer], str]
"""Changes to the claims of a default token, or a function that returns a token."""


@dataclass(frozen=True, slots=True)
class Stricter:
    """A token that only the gate rejects, and the difference that causes it."""

    difference: Difference
    token: Token


@dataclass(frozen=True, slots=True)
class Wider:
    """A token that only the server rejects, and the difference that causes it."""

    difference: Literal[Difference.COST, Difference.EDDSA, Difference.POINTER, Difference.SPLIT]
    token: Token


@dataclass(frozen=True, slots=True)
class Subject:
    """A configuration and tokens for it, by descriptive names."""

    name: str
    entry: Entry
    tokens: Mapping[str, Token | Stricter | Wider]
    keys: Callable[[], Sequence[SigningKey]] | None = None
    """Returns the issuer's keys. The first one signs."""


@dataclass(frozen=True, slots=True)
class Case:
    """One token for one configuration of a table. `place` is the configuration's index."""

    place: int
    token: Token | Stricter | Wider

    @property
    def difference(self) -> Difference | None:
        """The expected difference, or None."""
        return self.token.difference if isinstance(self.token, Stricter | Wider) else None

    def mint(self, issuer: Issuer) -> str:
        """Return the token."""
        token = self.token.token if isinstance(self.token, Stricter | Wider) else self.token
        return token(issuer) if callable(token) else issuer.mint(claims=token)

    async def holds(self, oracle: Oracle) -> None:
        """Fail unless the verdicts are the same, or have the expected difference."""
        both = await oracle.judge(self.mint(oracle.issuers[self.place]))
        match self.token:
            case Stricter():
                assert both.stricter, f"this difference is no more: {both}"
            case Wider():
                assert both.wider, f"this difference is no more: {both}"
            case _:
                assert both.server == both.gate


async def put_to_work(oracle: Oracle, table: Iterable[Subject]) -> None:
    """Configure server and gate with a table's entries."""
    subjects = list(table)
    keys = {place: subject.keys() for place, subject in enumerate(subjects) if subject.keys}
    await oracle.configure([subject.entry for subject in subjects], keys)


def cases(table: Iterable[Subject]) -> list[ParameterSet]:
    """Return the parameters of a test, one for each token of a table."""
    return [
        pytest.param(Case(place, token), id=f"{subject.name}: {name}")
        for place, subject in enumerate(table)
        for name, token in subject.tokens.items()
    ]


def differences(table: Iterable[Subject]) -> set[Difference]:
    """Return the differences in a table."""
    known = (Case(0, token).difference for subject in table for token in subject.tokens.values())
    return {difference for difference in known if difference is not None}
