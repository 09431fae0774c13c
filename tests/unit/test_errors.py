"""The table of reasons: total, and true to RFC 6750."""

from __future__ import annotations

import re

import pytest

from authgate.errors import REASONS, Challenge, Reason

FOR_STATUS = {
    200: {Challenge.NONE},
    401: {Challenge.NONE, Challenge.INVALID_REQUEST, Challenge.INVALID_TOKEN},
    403: {Challenge.INSUFFICIENT_SCOPE},
    404: {Challenge.NONE},
    503: {Challenge.NONE},
}


def test_every_reason_has_its_row() -> None:
    """The table is total over the enum."""
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_status_of_the_contract_and_an_error_that_goes_with_it(reason: Reason) -> None:
    """RFC 6750, section 3.1: what a challenge may say depends on the status."""
    assert REASONS[reason].challenge in FOR_STATUS[REASONS[reason].status]


@pytest.mark.parametrize("reason", Reason)
def test_a_code_is_fit_for_a_header_a_label_and_an_anchor(reason: Reason) -> None:
    """Small letters and underscores only."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.value)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_says_what_it_means_and_what_to_do(reason: Reason) -> None:
    """Whoever is refused is told the way out; whoever passes needs none."""
    info = REASONS[reason]

    assert info.meaning
    assert bool(info.remedy) == (info.status != 200)


@pytest.mark.parametrize("reason", Reason)
def test_a_meaning_can_be_quoted_in_a_challenge_as_it_is(reason: Reason) -> None:
    """It holds no character that an error_description may not hold (RFC 6750, section 3)."""
    assert re.fullmatch(r"[ !#-\[\]-~]+", REASONS[reason].meaning)


def test_no_meaning_stands_twice() -> None:
    """Two reasons that read alike would be one."""
    assert len({info.meaning for info in REASONS.values()}) == len(REASONS)


def test_only_a_missing_credential_is_challenged_without_an_error() -> None:
    """RFC 6750, section 3.1: no error code where no authentication information was sent."""
    silent = {
        reason for reason, info in REASONS.items() if info.status == 401 and info.challenge is Challenge.NONE
    }

    assert silent == {Reason.NO_CREDENTIAL}
