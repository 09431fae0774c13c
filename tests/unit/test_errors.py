"""The table of reasons is complete and follows RFC 6750."""

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


def test_every_reason_has_a_row() -> None:
    """The table has every member of the enum."""
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_the_error_of_a_reason_fits_its_status(reason: Reason) -> None:
    """RFC 6750, section 3.1: each error code belongs to one status."""
    assert REASONS[reason].challenge in FOR_STATUS[REASONS[reason].status]


@pytest.mark.parametrize("reason", Reason)
def test_a_code_can_be_a_header_value_a_label_and_an_anchor(reason: Reason) -> None:
    """It has only lower-case letters and underscores."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.value)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_meaning_and_a_remedy(reason: Reason) -> None:
    """Every denial has a remedy. An allowed request needs no remedy."""
    info = REASONS[reason]

    assert info.meaning
    assert bool(info.remedy) == (info.status != 200)


@pytest.mark.parametrize("reason", Reason)
def test_a_meaning_can_be_quoted_in_a_challenge(reason: Reason) -> None:
    """It has only characters that are allowed in an error_description (RFC 6750, section 3)."""
    assert re.fullmatch(r"[ !#-\[\]-~]+", REASONS[reason].meaning)


def test_every_meaning_is_different() -> None:
    """Two reasons with the same meaning should be one reason."""
    assert len({info.meaning for info in REASONS.values()}) == len(REASONS)


def test_only_a_missing_credential_is_challenged_without_an_error() -> None:
    """RFC 6750, section 3.1: no error code where no authentication information was sent."""
    silent = {
        reason for reason, info in REASONS.items() if info.status == 401 and info.challenge is Challenge.NONE
    }

    assert silent == {Reason.NO_CREDENTIAL}
