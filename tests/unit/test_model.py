"""The values that travel through the gate."""

from __future__ import annotations

import pytest

from authgate.errors import Reason
from authgate.model import (
    NO_EVIDENCE,
    AnswerKey,
    Deny,
    Evidence,
    Identity,
    KeyInfo,
    Rejected,
    RevocationHandle,
)


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        pytest.param((("a", ("1",)), ("b", ("2", "3"))), "2", id="the first of several"),
        pytest.param((("a", ("1",)),), "", id="no such key"),
        pytest.param((("b", ()),), "", id="no value"),
        pytest.param((), "", id="no extra"),
    ],
)
def test_an_extra_value_is_the_first_or_empty(
    extra: tuple[tuple[str, tuple[str, ...]], ...], value: str
) -> None:
    """One value is returned, whatever the number."""
    assert Identity("user-1", extra=extra).extra_value("b") == value


def test_a_handle_is_valid_until_it_is_revoked() -> None:
    """And never again afterwards."""
    handle = RevocationHandle()
    assert not handle.revoked
    handle.revoke()
    handle.revoke()
    assert handle.revoked


def test_a_verdict_keeps_an_answer_for_each_key() -> None:
    """A later answer replaces an earlier one under the same key."""
    verdict = Rejected(Reason.TOKEN_EXPIRED)
    a, b, c, d = (AnswerKey() for _ in range(4))
    answers = [Deny(Reason.TOKEN_EXPIRED, str(number), NO_EVIDENCE) for number in range(5)]
    assert verdict.answer(a) is None
    for key, answer in zip((a, b, c, a, b), answers, strict=True):
        verdict.keep_answer(key, answer)

    assert [verdict.answer(key) for key in (a, b, c, d)] == [
        answers[3],
        answers[4],
        answers[2],
        None,
    ]


def test_what_a_verdict_keeps_makes_it_no_other() -> None:
    """Verdicts are compared by what they say."""
    verdict = Rejected(Reason.TOKEN_EXPIRED)
    verdict.keep_answer(AnswerKey(), Deny(Reason.TOKEN_EXPIRED, "", NO_EVIDENCE))

    assert verdict == Rejected(Reason.TOKEN_EXPIRED)
    assert hash(verdict) == hash(Rejected(Reason.TOKEN_EXPIRED))


def test_evidence_is_remembered_as_one() -> None:
    """All verdicts of a key share it; it names the key and the issuer still."""
    evidence = Evidence("jwks", "corp", KeyInfo("key-1", "RSA", "a test"))

    assert evidence.as_cached() is evidence.as_cached()
    assert evidence.as_cached() == Evidence("cache", "corp", KeyInfo("key-1", "RSA", "a test"))
