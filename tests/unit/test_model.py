"""The values that all layers of authgate share."""

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
    """It never becomes valid again."""
    handle = RevocationHandle()
    assert not handle.revoked
    handle.revoke()
    handle.revoke()
    assert handle.revoked


def test_a_verdict_keeps_an_answer_for_each_key() -> None:
    """A later answer with the same key replaces the earlier one."""
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


def test_cached_answers_do_not_affect_the_equality_of_verdicts() -> None:
    """Only what was verified is compared."""
    verdict = Rejected(Reason.TOKEN_EXPIRED)
    verdict.keep_answer(AnswerKey(), Deny(Reason.TOKEN_EXPIRED, "", NO_EVIDENCE))

    assert verdict == Rejected(Reason.TOKEN_EXPIRED)
    assert hash(verdict) == hash(Rejected(Reason.TOKEN_EXPIRED))


def test_evidence_is_shared() -> None:
    """All verdicts of a key share one object, which names the key and the issuer."""
    evidence = Evidence("jwks", "corp", KeyInfo("key-1", "RSA", "a test"))

    assert evidence.as_cached() is evidence.as_cached()
    assert evidence.as_cached() == Evidence("cache", "corp", KeyInfo("key-1", "RSA", "a test"))
