"""Audit lines of decisions and of the differences of a shadow."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any, Literal

import pytest

from authgate.errors import Reason
from authgate.model import (
    NO_EVIDENCE,
    Allow,
    Decision,
    Deny,
    Evidence,
    Identity,
    OriginalRequest,
    Unavailable,
)
from authgate.observability.audit import Audit, AuditFields
from authgate.observability.metrics import Metrics
from authgate.policy.rules import Difference
from authgate.server.recent import RecentDecisions
from authgate.server.record import Recorder
from authgate.server.request_facts import RequestFacts, TraceParent
from tests.support.audit_lines import audit_lines
from tests.support.clock import FakeClock
from tests.support.logs import configured

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

DIFFERENCE = Difference(
    "default",
    Reason.AUTHENTICATED,
    Reason.NOT_ALLOWED,
    "rules[1]",
    Identity("corp:jane"),
)


def record(
    audit: Literal["none", "deny"], times: int, caplog: pytest.LogCaptureFixture
) -> tuple[float, list[dict[str, object]]]:
    """Return what the metrics and the audit log have after some differences."""
    caplog.set_level("INFO", logger="authgate.audit")
    metrics = Metrics()
    recorder = Recorder(metrics, Audit(audit, FakeClock(), lambda: None, burst=2))
    for _ in range(times):
        recorder.difference(DIFFERENCE, lambda: FACTS)
    lines = [
        {"body": line.message, "trace": vars(line)["trace"], **vars(line)["attributes"]}
        for line in caplog.records
    ]
    return metrics.shadow_differences["default", "authenticated", "not_allowed"], lines


def test_a_difference_is_counted_and_written(caplog: pytest.LogCaptureFixture) -> None:
    """The record has both reasons, the shadow's rule, the user's name, and the request as in the line of a decision."""
    assert record("deny", 1, caplog) == (
        1,
        [
            {
                "body": "the shadow decides differently",
                "trace": FACTS.trace,
                "authgate.policy": "default",
                "authgate.reason": "authenticated",
                "authgate.shadow": "not_allowed",
                "authgate.detail": "rules[1]",
                "user.name": "corp:jane",
                **OF_REQUEST,
            }
        ],
    )


def test_a_flood_of_differences_is_limited_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The limit is that of denials."""
    count, lines = record("deny", 5, caplog)
    assert (count, len(lines)) == (5, 2)


def test_without_an_audit_log_differences_are_only_counted(caplog: pytest.LogCaptureFixture) -> None:
    """They are written only if denials are written."""
    assert record("none", 3, caplog) == (3, [])


def credential(**claims: object) -> bytes:
    """Return an Authorization value with a token that nobody signed."""
    parts = [json.dumps(part).encode() for part in ({"alg": "ES256"}, claims)]
    return b"Bearer " + b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, b"signature"))


JANE = Identity("corp:jane", audiences=("app",))
BY_KEY = Evidence("jwks", "corp")
FACTS = RequestFacts(
    "id-1",
    TraceParent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", True),
    "192.0.2.7",
    OriginalRequest("GET", "/users/7", "App.Example:443", "access_token=secret"),
    "/users/*",
    (credential(iss="https://issuer.example", aud=["app", "b"], jti="j-1", secret="x"),),
)
OF_REQUEST = {
    "http.request.id": "id-1",
    "client.address": "192.0.2.7",
    "http.request.method": "GET",
    "server.address": "app.example",
    "url.path": "/users/7",
}
UNVERIFIED = {
    "authgate.unverified.issuer": "https://issuer.example",
    "authgate.unverified.audiences": ["app", "b"],
    "authgate.unverified.token.id": f"sha256:{hashlib.sha256(b'j-1').hexdigest()[:32]}",
}
VERIFIED = {"user.name": "corp:jane", "authgate.token.id": UNVERIFIED["authgate.unverified.token.id"]}
DECISIONS: dict[str, tuple[Decision, dict[str, object]]] = {
    "allow": (
        Allow(JANE, Reason.AUTHENTICATED, BY_KEY, (("X-Auth-Request-User", "corp:jane"),), rule=2),
        {
            "authgate.decision": "allow",
            "authgate.reason": "authenticated",
            "authgate.rule": "rules[2]",
            "authgate.source": "jwks",
            "authgate.issuer": "corp",
            **VERIFIED,
        },
    ),
    "anonymous": (
        Allow(None, Reason.ANONYMOUS, NO_EVIDENCE, (), rule=0),
        {
            "authgate.decision": "allow",
            "authgate.reason": "anonymous",
            "authgate.rule": "rules[0]",
            "authgate.source": "none",
            "authgate.issuer": "",
        },
    ),
    "denied by a rule": (
        Deny(Reason.NOT_ALLOWED, "policy 'default'", BY_KEY, JANE, "rules[1]", 1),
        {
            "authgate.decision": "deny",
            "authgate.reason": "not_allowed",
            "authgate.rule": "rules[1]",
            "authgate.source": "jwks",
            "authgate.issuer": "corp",
            "authgate.detail": "policy 'default'; rules[1]",
            **VERIFIED,
        },
    ),
    "another audience than the policy's": (
        Deny(Reason.AUDIENCE_MISMATCH, "policy 'default'", BY_KEY, JANE),
        {
            "authgate.decision": "deny",
            "authgate.reason": "audience_mismatch",
            "authgate.source": "jwks",
            "authgate.issuer": "corp",
            "authgate.detail": "policy 'default'",
            "authgate.audiences": ["app"],
            **VERIFIED,
        },
    ),
    "another audience than the issuer's": (
        Deny(Reason.AUDIENCE_MISMATCH, "", Evidence("none", "corp")),
        {
            "authgate.decision": "deny",
            "authgate.reason": "audience_mismatch",
            "authgate.source": "none",
            "authgate.issuer": "corp",
            "authgate.detail": "",
            **UNVERIFIED,
        },
    ),
    "a credential that is not read": (
        Deny(Reason.CREDENTIAL_TOO_LARGE, "20000 bytes", NO_EVIDENCE),
        {
            "authgate.decision": "deny",
            "authgate.reason": "credential_too_large",
            "authgate.source": "none",
            "authgate.issuer": "",
            "authgate.detail": "20000 bytes",
        },
    ),
    "unavailable": (
        Unavailable(Reason.KEYS_UNAVAILABLE, "timeout", 5, Evidence("none", "corp")),
        {
            "authgate.decision": "unavailable",
            "authgate.reason": "keys_unavailable",
            "authgate.source": "none",
            "authgate.issuer": "corp",
            "authgate.detail": "timeout",
            **UNVERIFIED,
        },
    ),
}


def written(decision: Decision, facts: RequestFacts = FACTS, **fields: Any) -> dict[str, Any]:
    """Return the audit line of a decision."""
    stream = configured()
    audit = Audit("all", FakeClock(), lambda: None, fields=AuditFields(**fields))
    Recorder(Metrics(), audit).record(decision, "default", 0.0012345678, lambda: facts)
    (line,) = audit_lines(stream.getvalue())
    return line


@pytest.mark.parametrize(("decision", "attributes"), DECISIONS.values(), ids=DECISIONS.keys())
def test_a_decision_has_an_audit_line(decision: Decision, attributes: dict[str, object]) -> None:
    """Values that are not verified have `unverified` in their names. The query is not written."""
    line = written(decision)
    assert line["attributes"] == {
        "authgate.policy": "default",
        "authgate.duration": 0.001235,
        **attributes,
        **OF_REQUEST,
    }
    assert (line["trace_id"], line["span_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize(
    "value", [b"Bearer undefined", b"bearer NULL ", b"Bearer [object Object]", b"Bearer $TOKEN"]
)
def test_a_word_instead_of_a_token_is_named(value: bytes) -> None:
    """Programs send it if a variable is not set. If the word was accepted as a token, it is not written."""
    facts = RequestFacts(credentials=(value,))
    word = value[7:].decode().strip().lower()
    refused = Deny(
        Reason.REVIEW_REJECTED, "", Evidence("tokenreview", "home"), private="invalid bearer token"
    )
    detail = f"the client sent the word '{word}' instead of a token; invalid bearer token"
    assert written(refused, facts)["attributes"]["authgate.detail"] == detail
    denied = Deny(Reason.NOT_ALLOWED, "", Evidence("tokenreview", "home"), JANE)
    assert word not in json.dumps(written(denied, facts))


@pytest.mark.parametrize("decision", [decision for decision, _ in DECISIONS.values()], ids=DECISIONS.keys())
def test_what_is_unknown_is_left_out(decision: Decision) -> None:
    """No attribute is null."""
    line = written(decision, RequestFacts())
    assert not {*OF_REQUEST, *UNVERIFIED, "authgate.token.id", "http.route"} & line["attributes"].keys()
    assert not {"trace_id", "span_id"} & line.keys()
    assert None not in line["attributes"].values()


@pytest.mark.parametrize(
    ("path", "shown"),
    [("full", {"url.path": "/users/7"}), ("template", {"http.route": "/users/*"}), ("none", {})],
)
def test_the_path_can_be_left_out(path: str, shown: dict[str, str]) -> None:
    """A path can name a person."""
    attributes = written(DECISIONS["allow"][0], path=path)["attributes"]
    assert {name: attributes[name] for name in ("url.path", "http.route") if name in attributes} == shown


@pytest.mark.parametrize(("token_id", "shown"), [("value", "j-1"), ("none", None)])
def test_the_token_id_can_be_shown_or_left_out(token_id: str, shown: str | None) -> None:
    """Verified or not."""
    for case, name in (("allow", "authgate.token.id"), ("unavailable", "authgate.unverified.token.id")):
        assert written(DECISIONS[case][0], token_id=token_id)["attributes"].get(name) == shown


@pytest.mark.parametrize("token_id", ["hash", "value", "none"])
@pytest.mark.parametrize("claim", ["jti", "iss", "aud"])
def test_a_token_can_contain_half_of_a_surrogate_pair(claim: str, token_id: str) -> None:
    """Nobody has to sign such a token, so its decision must be recorded as every other."""
    facts = RequestFacts(credentials=(credential(**{"jti": "j-1", claim: "\ud800"}),))
    decision = Deny(Reason.SIGNATURE_INVALID, "", BY_KEY)
    attributes = written(decision, facts, token_id=token_id)["attributes"]
    assert attributes["authgate.reason"] == "signature_invalid"
    if (claim, token_id) == ("jti", "hash"):
        expected = hashlib.sha256(b"\xed\xa0\x80").hexdigest()[:32]
        assert attributes["authgate.unverified.token.id"] == f"sha256:{expected}"


def test_long_texts_are_shortened() -> None:
    """A client can send long paths and hosts."""
    request = OriginalRequest("M" * 100, "/" + "p" * 5000, "h" * 5000)
    attributes = written(DECISIONS["allow"][0], RequestFacts(original=request))["attributes"]
    assert attributes["http.request.method"] == "M" * 32 + "…"
    assert attributes["url.path"] == "/" + "p" * 1023 + "…"
    assert attributes["server.address"] == "h" * 256 + "…"


def test_the_text_format_has_the_trace_too() -> None:
    """It is for people, but has the same values."""
    stream = configured(format_="text")
    Recorder(Metrics(), Audit("all", FakeClock(), lambda: None)).record(
        DECISIONS["allow"][0], "default", 0.1, lambda: FACTS
    )
    assert "trace.id=0af7651916cd43dd8448eb211c80319c" in stream.getvalue()


def test_nothing_is_read_for_a_decision_without_a_line() -> None:
    """The facts of a request cost time."""

    def about() -> RequestFacts:
        raise AssertionError("this decision has no audit line")

    for mode, decision in (("deny", DECISIONS["allow"][0]), ("none", DECISIONS["unavailable"][0])):
        Recorder(Metrics(), Audit(mode, FakeClock(), lambda: None)).record(decision, "default", 0.1, about)  # type: ignore[arg-type]
    limited = Recorder(Metrics(), Audit("all", FakeClock(), lambda: None, burst=1))
    limited.record(DECISIONS["allow"][0], "default", 0.1, lambda: FACTS)
    limited.record(DECISIONS["allow"][0], "default", 0.1, about)


def test_a_token_in_the_path_is_neither_in_the_log_nor_among_the_latest_decisions() -> None:
    """A client can put one there by mistake."""
    token = credential(sub="jane").decode().removeprefix("Bearer ")
    stream = configured()
    recorder = Recorder(Metrics(), Audit("all", FakeClock(), lambda: None))
    recorder.recent = RecentDecisions(1)
    facts = RequestFacts(original=OriginalRequest("GET", f"/login/{token}/done", "app.example"))

    recorder.record(DECISIONS["allow"][0], "default", 0.1, lambda: facts)

    assert audit_lines(stream.getvalue())[0]["attributes"]["url.path"] == "/login/…/done"
    assert [decision.path for decision in recorder.recent.latest()] == ["/login/…/done"]
