"""Reading an audit line, and comparing it with a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from authgate.config import load
from authgate.errors import REASONS, Reason
from authgate.tools.explain.record import MAX_BYTES, Now, RecordError, explain_record, read_record
from authgate.verify.claims import GROUPS_OMITTED
from tests.support.audit_lines import problems_of

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
server: {proxy: nginx}
cluster: {name: home, audiences: [app]}
jwt:
- issuer: {url: "https://issuer.example", audiences: [app, reports], audienceMatchPolicy: MatchAny}
  claimMappings: {username: {claim: sub, prefix: "corp:"}}
  gate: {name: corp}
introspection:
- {name: opaque, issuer: "https://opaque.example", endpoint: "https://opaque.example/i", audiences: [app],
   clientAuth: {clientID: a, secretFile: /dev/null}, claimMappings: {username: {claim: sub, prefix: "o:"}}}
policies:
  default:
    allow: [{users: ["corp:jane"]}, {serviceAccounts: ["prod/*"]}]
    deny: [{users: ["corp:mallory"]}]
    rules:
    - {paths: ["/open/*"], anonymous: true}
    - {paths: ["/admin/*"], allow: [{users: ["corp:root"]}]}
    - {paths: ["/staff/*"], allow: [{groups: [staff]}]}
    - {paths: ["/everyone/*"], allow: [{groups: ["system:authenticated"]}]}
    - {paths: ["/by/*"], expression: 'request.path == "/by/jane"'}
  plain: {allow: [{issuers: [home]}]}
  reports: {audiences: [reports]}
  reviewed: {accessReview: {nonResource: request}}
  vault: {role: {boundSubject: jane}}
"""


def line(reason: Reason = Reason.NOT_ALLOWED, **attributes: Any) -> dict[str, Any]:
    """Return an audit line about Jane's request for /admin/x, with other attributes; None leaves one out."""
    outcome = {200: "allow", 503: "unavailable"}.get(REASONS[reason].status, "deny")
    usual = {
        "authgate.decision": outcome,
        "authgate.reason": reason.value,
        "authgate.policy": "default",
        "authgate.source": "jwks",
        "authgate.issuer": "corp",
        "authgate.detail": "",
        "user.name": "corp:jane",
        "http.request.id": "id-1",
        "http.request.method": "GET",
        "server.address": "app.example",
        "url.path": "/admin/x",
        "client.address": "192.0.2.7",
    }
    names = {name: name.replace("__", ".") for name in attributes}
    changed = usual | {names[name]: value for name, value in attributes.items()}
    made = {
        "timestamp": "2026-11-30T12:00:00.000+00:00",
        "severity_text": "INFO",
        "severity_number": 9,
        "scope": "authgate.audit",
        "body": "decision",
        "attributes": {name: value for name, value in changed.items() if value is not None},
    }
    assert problems_of(made) == []
    return made


def path(text: str | None, rule: int | None = None, user: str | None = "corp:jane") -> dict[str, Any]:
    """Return the attributes of a request of a user, decided by a rule."""
    return {
        "url__path": text,
        "authgate__rule": None if rule is None else f"rules[{rule}]",
        "user__name": user,
    }


NOBODY: dict[str, Any] = {"user__name": None}
ROOT = path("/admin/x", 1, "corp:root")
CASES: dict[str, tuple[dict[str, Any], Now, str]] = {
    "still not allowed": (
        line(**path("/admin/x", 1)),
        Now.SAME,
        "rules[1] of policy 'default' does not allow corp:jane",
    ),
    "allowed now": (
        line(**ROOT),
        Now.OTHER,
        "rules[1] of policy 'default' allows corp:root: 200 authenticated",
    ),
    "another rule, which allows": (
        line(**path("/x", 1)),
        Now.OTHER,
        "policy 'default' allows corp:jane: 200",
    ),
    "another rule, and groups": (
        line(**path("/staff/x", 1)),
        Now.UNKNOWN,
        "the request meets rules[2] of policy 'default', not rules[1]; groups",
    ),
    "groups": (line(**path("/staff/x", 2)), Now.UNKNOWN, "groups, claims, roles and access reviews are not"),
    "the group of everyone": (
        line(Reason.AUTHENTICATED, **path("/everyone/x", 3)),
        Now.SAME,
        "rules[3] of policy 'default' allows corp:jane",
    ),
    "an expression": (line(**path("/by/joe", 4)), Now.UNKNOWN, "groups, claims"),
    "denied now": (
        line(Reason.AUTHENTICATED, **path("/x", None, "corp:mallory")),
        Now.OTHER,
        "policy 'default' denies corp:mallory: 403 denied",
    ),
    "still denied": (
        line(Reason.DENIED, **path("/x", None, "corp:mallory")),
        Now.SAME,
        "denies corp:mallory",
    ),
    "a ServiceAccount": (
        line(
            Reason.AUTHENTICATED,
            **path("/x", None, "system:serviceaccount:prod:web"),
            authgate__issuer="home",
        ),
        Now.SAME,
        "allows system:serviceaccount:prod:web",
    ),
    "a ServiceAccount's name of another issuer": (
        line(Reason.AUTHENTICATED, **path("/x", None, "system:serviceaccount:prod:web")),
        Now.OTHER,
        "does not allow",
    ),
    "the path is not recorded": (line(url__path=None), Now.UNKNOWN, "the path, which is not in the record"),
    "the path is cut off": (line(url__path="/admin/" + "x" * 900 + "…"), Now.UNKNOWN, "the path"),
    "a policy that needs no path": (
        line(authgate__policy="plain", url__path=None),
        Now.SAME,
        "policy 'plain' does not allow corp:jane",
    ),
    "an access review": (
        line(Reason.ACCESS_DENIED, authgate__policy="reviewed"),
        Now.UNKNOWN,
        "access reviews are not",
    ),
    "a role": (line(authgate__policy="vault"), Now.UNKNOWN, "roles"),
    "no such policy": (
        line(authgate__policy="old"),
        Now.OTHER,
        "no policy 'old' is configured: 404 no_such_endpoint",
    ),
    "no endpoint": (
        line(Reason.NO_SUCH_ENDPOINT, **NOBODY, authgate__policy="", authgate__issuer=""),
        Now.UNKNOWN,
        "the path that the proxy requested",
    ),
    "an issuer that was removed": (
        line(Reason.AUTHENTICATED, authgate__issuer="old"),
        Now.OTHER,
        "no issuer or cluster 'old' is configured",
    ),
    "an issuer that was added": (
        line(Reason.ISSUER_UNKNOWN, **NOBODY, authgate__unverified__issuer="https://issuer.example"),
        Now.OTHER,
        "the issuer https://issuer.example is configured, as 'corp'",
    ),
    "an introspected issuer that was added": (
        line(Reason.ISSUER_UNKNOWN, **NOBODY, authgate__unverified__issuer="https://opaque.example"),
        Now.OTHER,
        "is configured",
    ),
    "an issuer that may be the cluster's": (
        line(Reason.ISSUER_UNKNOWN, **NOBODY, authgate__unverified__issuer="https://other.example"),
        Now.UNKNOWN,
        "only known from its API server",
    ),
    "an issuer that is not recorded": (
        line(Reason.ISSUER_UNKNOWN, **NOBODY),
        Now.UNKNOWN,
        "the whole issuer",
    ),
    "an audience that is accepted now": (
        line(Reason.AUDIENCE_MISMATCH, **NOBODY, authgate__unverified__audiences=["x", "reports"]),
        Now.OTHER,
        "'corp' accepts an audience that the token claims",
    ),
    "an audience that is not accepted": (
        line(Reason.AUDIENCE_MISMATCH, **NOBODY, authgate__unverified__audiences=["x"]),
        Now.SAME,
        "'corp' accepts only app, reports",
    ),
    "a cluster's audience": (
        line(
            Reason.AUDIENCE_MISMATCH,
            **NOBODY,
            authgate__issuer="home",
            authgate__unverified__audiences=["x"],
        ),
        Now.SAME,
        "'home' accepts only app",
    ),
    "more audiences than recorded": (
        line(Reason.AUDIENCE_MISMATCH, **NOBODY, authgate__unverified__audiences=["x", "…"]),
        Now.UNKNOWN,
        "all audiences",
    ),
    "an introspected audience": (
        line(Reason.AUDIENCE_MISMATCH, **NOBODY, authgate__issuer="opaque"),
        Now.UNKNOWN,
        "does not show the audience",
    ),
    "a policy's audience": (
        line(Reason.AUDIENCE_MISMATCH, authgate__policy="reports", authgate__audiences=["app"]),
        Now.SAME,
        "policy 'reports' accepts only reports",
    ),
    "a policy's audience that is accepted now": (
        line(Reason.AUDIENCE_MISMATCH, authgate__audiences=["app"]),
        Now.OTHER,
        "policy 'default' accepts an audience of the token",
    ),
    "anonymous": (
        line(Reason.ANONYMOUS, **path("/open/x", 0, None), authgate__issuer=""),
        Now.SAME,
        "such a request may be anonymous",
    ),
    "anonymous no more": (
        line(Reason.ANONYMOUS, **path("/x", 0, None), authgate__issuer=""),
        Now.OTHER,
        "such a request needs a token",
    ),
    "no token": (
        line(Reason.NO_CREDENTIAL, **path("/x", None, None), authgate__issuer=""),
        Now.SAME,
        "needs a token",
    ),
    "no token where none is needed now": (
        line(Reason.NO_CREDENTIAL, **path("/open/x", None, None), authgate__issuer=""),
        Now.OTHER,
        "may be anonymous",
    ),
    "an ambiguous path": (
        line(Reason.PATH_AMBIGUOUS, **path("/admin/../x")),
        Now.SAME,
        "accepts no ambiguous path",
    ),
    "an unknown path": (
        line(Reason.REQUEST_UNKNOWN, **path(None)),
        Now.UNKNOWN,
        "what the proxy did not send",
    ),
    "expired": (line(Reason.TOKEN_EXPIRED, **NOBODY), Now.UNKNOWN, "it depends on the token"),
    "unavailable": (line(Reason.KEYS_UNAVAILABLE, **NOBODY), Now.UNKNOWN, "it depends on the token"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    found = tmp_path / "authgate.yaml"
    found.write_text(CONFIG)
    return found


@pytest.mark.parametrize(("record", "now", "why"), CASES.values(), ids=CASES.keys())
def test_a_record_is_compared_with_a_configuration(
    record: dict[str, Any], now: Now, why: str, file: Path
) -> None:
    """The result is only definite if the record has everything that the decision depends on."""
    found = explain_record(read_record(json.dumps(record)), load(file, {}).config)
    assert (found.now, why in found.why) == (now, True), found.why
    reason = Reason(record["attributes"]["authgate.reason"])
    assert (found.status, found.meaning) == (REASONS[reason].status, REASONS[reason].meaning)
    assert bool(found.remedy) == (
        now is not Now.OTHER and reason not in (Reason.AUTHENTICATED, Reason.ANONYMOUS)
    )


REMEDIES = {
    "the usual one": (line(Reason.TOKEN_EXPIRED, **NOBODY), REASONS[Reason.TOKEN_EXPIRED].remedy),
    "the rule's list": (line(**path("/admin/x", 1)), "add the identity to policies.default.rules[1].allow"),
    "a list with groups": (
        line(**path("/staff/x", 2)),
        "give the user a group that policies.default.rules[2].allow names, or add the identity to it",
    ),
    "the policy's list": (
        line(**path("/x", None, "corp:joe")),
        "add the identity to policies.default.allow",
    ),
    "the policy's deny list": (
        line(Reason.DENIED, **path("/x", None, "corp:mallory")),
        "remove the identity from policies.default.deny",
    ),
    "the policy's deny list in a rule": (
        line(Reason.DENIED, **path("/admin/x", 1, "corp:mallory")),
        "remove the identity from policies.default.deny",
    ),
    "a word": (
        line(
            Reason.REVIEW_REJECTED,
            **NOBODY,
            authgate__detail="the client sent the word 'null' instead of a token; invalid bearer token",
        ),
        "its variable for the token is not set",
    ),
    "no list": (line(authgate__policy="vault"), REASONS[Reason.NOT_ALLOWED].remedy),
    "a preflight": (
        line(Reason.NO_CREDENTIAL, **path("/x", None, None), http__request__method="OPTIONS"),
        "set policies.default.corsPreflight: allow",
    ),
    "no groups": (line(authgate__detail=f"x; {GROUPS_OMITTED}", **path("/staff/x", 2)), "map app roles"),
    "without 'see the audit log'": (line(Reason.ACCESS_DENIED, authgate__policy="reviewed"), "bind a Role"),
}


@pytest.mark.parametrize(("record", "remedy"), REMEDIES.values(), ids=REMEDIES.keys())
def test_the_remedy_fits_the_record(record: dict[str, Any], remedy: str, file: Path) -> None:
    """It does not send the reader to the line that was given."""
    found = explain_record(read_record(json.dumps(record)), load(file, {}).config)
    assert remedy in found.remedy
    assert "audit log" not in found.remedy


def test_the_summary_is_a_sentence_for_a_ticket(file: Path) -> None:
    """It names the request, the user, the policy and the rule, or marks what the token claims."""
    config = load(file, {}).config
    claimed = line(Reason.AUDIENCE_MISMATCH, **NOBODY, authgate__unverified__issuer="https://issuer.example")
    summaries = [
        explain_record(read_record(json.dumps(record)), config).summary
        for record in (line(**path("/admin/x", 1)), claimed)
    ]
    assert summaries[0].startswith(
        "2026-11-30T12:00:00.000+00:00 (request id-1): deny for corp:jane under policy 'default', rules[1]: "
        "403 not_allowed, "
    )
    assert "a token with iss https://issuer.example (not verified)" in summaries[1]


READABLE = {
    "a prefix of a log viewer": lambda text: f"[pod/authgate-1/authgate] 2026-11-30T12:00:00Z {text}",
    "the format of CRI": lambda text: f"2026-11-30T12:00:00.1Z stderr F {text}",
    "the format of Docker": lambda text: json.dumps({"log": text + "\n", "stream": "stderr", "time": "x"}),
    "a line break": lambda text: f"{text}\r\n",
}


@pytest.mark.parametrize("wrapped", READABLE.values(), ids=READABLE.keys())
def test_a_line_is_read_as_a_log_viewer_shows_it(wrapped: Any) -> None:
    """People paste what they see."""
    assert read_record(wrapped(json.dumps(line()))).request_id == "id-1"


def changed(**members: Any) -> str:
    """Return the text of a line with other members."""
    return json.dumps({**line(), **members})


def attribute(name: str, value: object) -> str:
    """Return the text of a line with another attribute."""
    made = line()
    return json.dumps({**made, "attributes": {**made["attributes"], name: value}})


WRONG = {
    "empty": ("", "not JSON"),
    "a word": ("hello", "not JSON"),
    "cut off": (json.dumps(line())[:-10], "not JSON"),
    "a list": ("[1]", "not a JSON object"),
    "deep": ("{" + '"a":{' * 10000, "not JSON"),
    "the text format": ("12:00:00 INFO  decision authgate.decision=deny", "log.format: text"),
    "another line of the log": (changed(scope="authgate"), "its scope is not authgate.audit"),
    "a shadow": (changed(body="the shadow decides differently"), "its body is not 'decision'"),
    "no attributes": (changed(attributes=[]), "its body is not"),
    "an unknown reason": (attribute("authgate.reason", "no_\x1b[31m"), "not one that this version"),
    "an unknown outcome": (attribute("authgate.decision", "maybe"), "must be allow, deny or unavailable"),
    "a number": (attribute("user.name", 1), "user.name must be a text"),
    "a text for a list": (
        attribute("authgate.audiences", "app"),
        "authgate.audiences must be a list of texts",
    ),
    "a list of numbers": (attribute("authgate.unverified.audiences", [1]), "must be a list of texts"),
    "too long": ("x" * (MAX_BYTES + 1), "longer than"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG.keys())
def test_another_text_is_an_error(text: str, why: str) -> None:
    """The error has the reason, and never the control characters of the text."""
    with pytest.raises(RecordError, match=why) as error:
        read_record(text)
    assert "\x1b" not in str(error.value)
