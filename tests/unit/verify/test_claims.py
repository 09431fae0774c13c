"""The registered claims: their types and their validity."""

from __future__ import annotations

from typing import cast

import pytest

from authgate.errors import Reason
from authgate.model import JSONValue, Rejected
from authgate.timestamps import date
from authgate.verify.claims import (
    RegisteredClaims,
    TimeRules,
    check_time,
    read_registered,
)
from authgate.vocabulary import LEGACY_ISSUER
from tests.support.clock import START
from tests.support.tokens import OMIT, claims

HOUR = 3600.0

NO_ISSUER: tuple[object, ...] = (OMIT, None, "", 1, True, ["https://issuer.example"], {})
NO_STRING: tuple[object, ...] = (1, 1.5, True, [], ["a"], {})
NO_TIME: tuple[object, ...] = (
    *("1800003600", "", True, False, [], [1800003600], {}),
    *(-1, -0.5, 1e300, 253402300800),
)
NO_AUDIENCE: tuple[object, ...] = (
    *(None, 1, True, {}, {"my-audience": 1}),
    *(["my-audience", None], [["my-audience"]], [1]),
)
NO_SOURCES: tuple[object, ...] = (
    [],
    "groups",
    {"groups": 1},
    {"groups": None},
    {"groups": ""},
    {"groups": "other"},
)
BAD_SOURCES: tuple[object, ...] = ([], "src1", {"src1": "https://e.example"}, {"src1": {"endpoint": 1}})


def read(**changes: object) -> RegisteredClaims | Rejected:
    """Return the registered claims of a payload that is valid except for these changes."""
    return read_registered(cast("dict[str, JSONValue]", claims(**changes)))


def good(**changes: object) -> RegisteredClaims:
    """Return the registered claims, which must be well-formed."""
    found = read(**changes)
    assert isinstance(found, RegisteredClaims), found
    return found


def test_the_registered_claims_are_read() -> None:
    """Each has the type of RFC 7519, section 4.1."""
    assert good() == RegisteredClaims("https://issuer.example", ("my-audience",), START + HOUR, START, START)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        *(pytest.param({"iss": value}, "'iss'", id=f"iss {value!r}") for value in NO_ISSUER),
        *(
            pytest.param({name: value}, f"'{name}'", id=f"{name} {value!r}")
            for name in ("sub", "jti", "nonce", "at_hash")
            for value in NO_STRING
        ),
        *(
            pytest.param({name: value}, f"'{name}'", id=f"{name} {value!r}")
            for name in ("exp", "nbf", "iat")
            for value in NO_TIME
        ),
        pytest.param({"exp": OMIT}, "'exp' is missing", id="exp missing"),
        pytest.param({"exp": None}, "'exp' is not a number", id="exp null"),
        pytest.param({"iat": None}, "'iat' is not a number", id="iat null"),
        *(pytest.param({"aud": value}, "'aud'", id=f"aud {value!r}") for value in NO_AUDIENCE),
        pytest.param({"aud": ["a"] * 257}, "'aud'", id="aud of 257"),
        *(
            pytest.param(
                {"_claim_names": value, "_claim_sources": {"src1": {}}},
                "'_claim_names'",
                id=f"_claim_names {value!r}",
            )
            for value in NO_SOURCES
        ),
        *(
            pytest.param({"_claim_sources": value}, "'_claim_sources'", id=f"_claim_sources {value!r}")
            for value in BAD_SOURCES
        ),
    ],
)
def test_a_missing_or_mistyped_claim_is_named(changes: dict[str, object], detail: str) -> None:
    """This includes unused claims, as in kube-apiserver. Numbers are never strings or booleans."""
    found = read(**changes)

    assert isinstance(found, Rejected)
    assert found.reason is Reason.CLAIM_MALFORMED
    assert detail in found.detail
    assert found.final


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"nbf": OMIT}, id="nbf missing"),
        pytest.param({"nbf": None}, id="nbf null, which the kube-apiserver reads as missing"),
        pytest.param({"iat": OMIT}, id="iat missing"),
        pytest.param({"sub": OMIT}, id="sub missing"),
        pytest.param({"sub": None}, id="sub null"),
        pytest.param({"nonce": "n", "at_hash": "h"}, id="nonce and at_hash"),
        pytest.param({"_claim_names": None, "_claim_sources": None}, id="_claim_names null"),
        pytest.param(
            {
                "_claim_names": {"groups": "src1"},
                "_claim_sources": {"src1": {"endpoint": "https://e.example"}},
            },
            id="_claim_names",
        ),
        pytest.param({"exp": 0}, id="exp at the epoch"),
        pytest.param({"exp": 253402300799}, id="exp in the last second of the year 9999"),
        pytest.param({"exp": START + 0.5}, id="exp with a fraction"),
        pytest.param({"other": [1, {"a": None}]}, id="any other claim"),
    ],
)
def test_optional_claims_may_be_missing_and_values_may_be_unusual(changes: dict[str, object]) -> None:
    """Only the types are checked strictly."""
    assert isinstance(read(**changes), RegisteredClaims)


@pytest.mark.parametrize(
    ("value", "audiences"),
    [
        pytest.param("a", ("a",), id="string"),
        pytest.param("", ("",), id="empty string"),
        pytest.param(["a"], ("a",), id="list of one"),
        pytest.param(["b", "a", "b"], ("b", "a", "b"), id="list in its order"),
        pytest.param([], (), id="empty list"),
        pytest.param(OMIT, (), id="missing"),
        pytest.param(["a"] * 256, ("a",) * 256, id="longest list"),
    ],
)
def test_an_audience_is_a_string_or_a_list_of_strings(value: object, audiences: tuple[str, ...]) -> None:
    """Source: RFC 7519, section 4.1.3."""
    assert good(aud=value).audiences == audiences


def test_a_legacy_service_account_token_needs_no_exp() -> None:
    """Tokens in Secrets have neither `exp` nor `aud`, and have their own issuer."""
    found = good(iss=LEGACY_ISSUER, exp=OMIT, aud=OMIT)

    assert (found.expires_at, found.audiences) == (None, ())


def test_times_are_doubles() -> None:
    """Integers and fractions are allowed."""
    found = good(exp=1800003600, nbf=1800000000.25)

    assert (found.expires_at, found.not_before) == (1800003600.0, 1800000000.25)
    assert isinstance(found.expires_at, float)


NO_LEEWAY = TimeRules(leeway=0, expiry_leeway=0)
WITH_LEEWAY = TimeRules(leeway=60, expiry_leeway=30)


@pytest.mark.parametrize(
    ("changes", "rules", "now", "reason"),
    [
        pytest.param({}, NO_LEEWAY, START, None, id="in its time"),
        pytest.param({}, NO_LEEWAY, START + HOUR - 0.001, None, id="just before exp"),
        pytest.param({}, NO_LEEWAY, START + HOUR, Reason.TOKEN_EXPIRED, id="at exp"),
        pytest.param({}, WITH_LEEWAY, START + HOUR + 29.999, None, id="within expiry leeway"),
        pytest.param({}, WITH_LEEWAY, START + HOUR + 30, Reason.TOKEN_EXPIRED, id="at the end of it"),
        pytest.param({"exp": 0}, WITH_LEEWAY, START, Reason.TOKEN_EXPIRED, id="long expired"),
        pytest.param({"iat": OMIT}, NO_LEEWAY, START, None, id="at nbf"),
        pytest.param(
            {"iat": OMIT}, NO_LEEWAY, START - 0.001, Reason.TOKEN_NOT_YET_VALID, id="just before nbf"
        ),
        pytest.param({"iat": OMIT}, WITH_LEEWAY, START - 60, None, id="at nbf less leeway"),
        pytest.param({"iat": OMIT}, WITH_LEEWAY, START - 60.001, Reason.TOKEN_NOT_YET_VALID, id="before it"),
        pytest.param({"nbf": OMIT}, NO_LEEWAY, START, None, id="at iat"),
        pytest.param(
            {"nbf": OMIT}, NO_LEEWAY, START - 0.001, Reason.TOKEN_NOT_YET_VALID, id="just before iat"
        ),
        pytest.param({"nbf": OMIT}, WITH_LEEWAY, START - 60, None, id="at iat less leeway"),
        pytest.param(
            {"nbf": OMIT}, WITH_LEEWAY, START - 60.001, Reason.TOKEN_NOT_YET_VALID, id="before that"
        ),
        pytest.param({"nbf": OMIT, "iat": OMIT}, NO_LEEWAY, 0, None, id="only exp"),
        pytest.param(
            {"nbf": START + 7200},
            NO_LEEWAY,
            START + HOUR,
            Reason.TOKEN_EXPIRED,
            id="expired before it is valid",
        ),
        pytest.param({}, TimeRules(max_lifetime=HOUR), START, None, id="longest lifetime"),
        pytest.param(
            {},
            TimeRules(max_lifetime=HOUR - 1),
            START,
            Reason.TOKEN_LIFETIME_TOO_LONG,
            id="lifetime too long",
        ),
        pytest.param(
            {"iat": OMIT},
            TimeRules(max_lifetime=HOUR),
            START,
            Reason.TOKEN_LIFETIME_TOO_LONG,
            id="lifetime unknown",
        ),
        pytest.param(
            {"iss": LEGACY_ISSUER, "exp": OMIT},
            TimeRules(max_lifetime=HOUR),
            START,
            None,
            id="no end at all, for TokenReview to judge",
        ),
    ],
)
def test_a_token_is_valid_between_nbf_and_exp(
    changes: dict[str, object], rules: TimeRules, now: float, reason: Reason | None
) -> None:
    """At `exp` it has expired (RFC 7519, section 4.1.4). Leeways count to the second."""
    found = check_time(good(**changes), rules, now)

    assert (found.reason if found else None) is reason


def test_a_token_that_is_not_yet_valid_can_become_valid() -> None:
    """Its rejection is not final. The rejection of an expired token is final."""
    early = check_time(good(), NO_LEEWAY, START - 1)
    late = check_time(good(), NO_LEEWAY, START + HOUR)

    assert early is not None
    assert not early.final
    assert late is not None
    assert late.final


@pytest.mark.parametrize(
    ("rules", "now", "detail"),
    [
        pytest.param(NO_LEEWAY, START + HOUR, "at 2027-01-15T09:00:00Z", id="expired"),
        pytest.param(NO_LEEWAY, START - 1, "'nbf' is 2027-01-15T08:00:00Z", id="not yet valid"),
        pytest.param(TimeRules(max_lifetime=60), START, "3600 s; 60 s are allowed", id="lifetime"),
    ],
)
def test_a_rejection_names_the_times(rules: TimeRules, now: float, detail: str) -> None:
    """It shows dates and seconds that a person can compare."""
    found = check_time(good(), rules, now)

    assert found is not None
    assert found.detail == detail


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [
        pytest.param(0.0, "1970-01-01T00:00:00Z", id="the epoch"),
        pytest.param(253402300799.0, "9999-12-31T23:59:59Z", id="the last second with a date"),
    ],
)
def test_every_time_that_is_read_has_a_date(timestamp: float, text: str) -> None:
    """The format is RFC 3339 in UTC."""
    assert date(timestamp) == text
