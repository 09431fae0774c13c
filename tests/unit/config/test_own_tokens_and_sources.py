"""Values that are refused in `signing`, `identityToken`, `exchange`, `credential`, `headers.set` and `role`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load, Problems

CLUSTER = "cluster: {audiences: [a]}\n"
SIGNING = CLUSTER + "signing: {issuer: 'https://gate.example'}\n"
STATEMENT = SIGNING + "identityToken: {audience: apps}\n"


def role(fields: str) -> str:
    """A configuration whose default policy is a role."""
    return f"{CLUSTER}policies: {{default: {{role: {{{fields}}}}}}}"


BAD = {
    "a statement that nobody signs": (
        CLUSTER + "identityToken: {audience: apps}",
        "identityToken",
        "needs signing",
    ),
    "an exchange that nobody signs": (
        CLUSTER + "exchange: {listen: ':8081', audiences: {default: [a]}}",
        "exchange",
        "needs signing",
    ),
    "signing that signs nothing": (SIGNING, "signing", "signs nothing"),
    "the cluster's own issuer": (
        "cluster: {audiences: [a], issuers: ['https://gate.example']}\n" + STATEMENT.removeprefix(CLUSTER),
        "signing.issuer",
        "is an issuer of the cluster",
    ),
    "keys that are not there": (
        CLUSTER
        + "signing: {issuer: 'https://g.example', keyFiles: [/nonexistent/k]}\nidentityToken: {audience: a}",
        "signing.keyFiles[0]",
        "No such file",
    ),
    "several workers without a key": (
        STATEMENT + "server: {workers: 2}",
        "signing.keyFiles",
        "required with several server.workers",
    ),
    "a life shorter than that of verdicts": (
        SIGNING + "identityToken: {audience: apps, ttl: 100s}",
        "identityToken.ttl",
        "at least twice cache.ttl (1m)",
    ),
    "a header that the proxy owns": (
        SIGNING + "identityToken: {audience: apps, header: X-Forwarded-User}",
        "identityToken.header",
        "not a name",
    ),
    "a header that HTTP owns": (
        SIGNING + "identityToken: {audience: apps, header: authorization}",
        "identityToken.header",
        "not a name",
    ),
    "a header of other letters": (
        SIGNING + "identityToken: {audience: apps, header: 'X_Identity'}",
        "identityToken.header",
        "letters, digits and dashes",
    ),
    "an exchange for no policy": (
        SIGNING + "exchange: {listen: ':8081', audiences: {defualt: [a]}}",
        "exchange.audiences.defualt",
        "not a configured policy",
    ),
    "an exchange for nothing": (
        SIGNING + "exchange: {listen: ':8081', audiences: {}}",
        "exchange.audiences",
        "must not be empty",
    ),
    "an exchange on the verify port": (
        SIGNING + "exchange: {listen: ':8080', audiences: {default: [a]}}",
        "exchange.listen",
        "collides",
    ),
    "two places in one source": (
        CLUSTER + "credential: {sources: [{header: X-Token, cookie: t}]}",
        "credential.sources[0]",
        "exactly one of",
    ),
    "no place in a source": (
        CLUSTER + "credential: {sources: [{scheme: Bearer}]}",
        "credential.sources[0]",
        "exactly one of",
    ),
    "a scheme of a cookie": (
        CLUSTER + "credential: {sources: [{cookie: t, scheme: Bearer}]}",
        "credential.sources[0]",
        "with header",
    ),
    "Authorization as a source": (
        CLUSTER + "credential: {sources: [{header: authorization}]}",
        "credential.sources[0].header",
        "needs no source",
    ),
    "Authorization ignored, and no source": (
        CLUSTER + "credential: {authorization: ignore}",
        "credential.authorization",
        "leaves no place for a token",
    ),
    "a password in an ignored Authorization": (
        CLUSTER + "credential: {authorization: ignore, sources: [{basic: {usernames: [oauth2]}}]}",
        "credential.sources[0].basic",
        "needs credential.authorization: read",
    ),
    "padding of a cookie": (
        CLUSTER + "credential: {sources: [{cookie: t, padded: true}]}",
        "credential.sources[0]",
        "padded can only be set with header",
    ),
    "a user name with a colon": (
        CLUSTER + "credential: {sources: [{basic: {usernames: ['a:b']}}]}",
        "credential.sources[0].basic.usernames[0]",
        "without a colon",
    ),
    "no user name": (
        CLUSTER + "credential: {sources: [{basic: {usernames: []}}]}",
        "credential.sources[0].basic.usernames",
        "empty",
    ),
    "a header twice": (
        CLUSTER + "credential: {sources: [{header: X-Token}, {header: x-token}]}",
        "credential.sources[1].header",
        "is given twice",
    ),
    "a query of no named proxy": (
        CLUSTER + "credential: {sources: [{query: token}]}",
        "credential.sources[0].query",
        "needs server.proxy",
    ),
    "a cookie's name that none has": (
        CLUSTER + "credential: {sources: [{cookie: 'a;b'}]}",
        "credential.sources[0].cookie",
        "at most 64",
    ),
    "a header of the preset": (
        CLUSTER + "headers: {set: [{name: x-auth-request-team, claim: /team}]}",
        "headers.set[0].name",
        "belongs to the preset",
    ),
    "one name, two claims": (
        CLUSTER + "headers: {set: [{name: X-Team, claim: /team}, {name: x-team, claim: /t}]}",
        "headers.set[1].name",
        "is given twice",
    ),
    "the statement's header": (
        STATEMENT + "headers: {set: [{name: x-auth-identity, claim: /team}]}",
        "identityToken.header",
        "is given twice",
    ),
    "a header that HTTP owns, from a claim": (
        CLUSTER + "headers: {set: [{name: Host, claim: /team}]}",
        "headers.set[0].name",
        "not a name",
    ),
    "a claim that is no pointer": (
        CLUSTER + "headers: {set: [{name: X-Team, claim: team}]}",
        "headers.set[0].claim",
        "JSON pointer",
    ),
    "an invalid expression": (
        CLUSTER + "headers: {set: [{name: X-Team, expression: 'user.'}]}",
        "headers.set[0].expression",
        "^",
    ),
    "an expression about the request": (
        CLUSTER + "headers: {set: [{name: X-Team, expression: 'request.path'}]}",
        "headers.set[0].expression",
        "request",
    ),
    "a header of nothing": (
        CLUSTER + "headers: {set: [{name: X-Team}]}",
        "headers.set[0]",
        "exactly one of",
    ),
    "request ids in a header with tokens": (
        CLUSTER + "credential: {sources: [{header: X-request-ID}]}",
        "server.requestID.header",
        "header with tokens",
    ),
    "request ids in a header of headers.set": (
        CLUSTER + "headers: {set: [{name: x-request-id, claim: /team}]}",
        "server.requestID.header",
        "header with the identity",
    ),
    "request ids in the identity token's header": (
        STATEMENT + "server: {requestID: {header: x-auth-identity}}",
        "server.requestID.header",
        "header with the identity",
    ),
    "request ids in a role's header": (
        role("boundSubject: a, claimMappings: {team: X-Team}") + "\nserver: {requestID: {header: x-team}}",
        "server.requestID.header",
        "header with the identity",
    ),
    "request ids in a header of a preset": (
        CLUSTER + "server: {requestID: {header: Remote-Id}}",
        "server.requestID.header",
        "header with the identity",
    ),
    "request ids in a header of another proxy": (
        CLUSTER + "server: {requestID: {header: x-forwarded-for}}",
        "server.requestID.header",
        "not a name",
    ),
    "an empty role": (role(""), "policies.default.role", "match everyone"),
    "a role's audience that nobody accepts": (
        role("boundAudiences: [aa]"),
        "policies.default.role.boundAudiences[0]",
        "neither the cluster nor an issuer",
    ),
    "a role's claim that is no pointer": (
        role("boundClaims: {'/a~': x}"),
        'policies.default.role.boundClaims["/a~"]',
        "~0",
    ),
    "a role's claim with no value": (
        role("boundClaims: {a: []}"),
        "policies.default.role.boundClaims.a",
        "must not be empty",
    ),
    "a role wider than its issuer": (
        role("clockSkewLeeway: 61s"),
        "policies.default.role.clockSkewLeeway",
        "a role can only be stricter",
    ),
    "a role's header of the preset": (
        role("claimMappings: {a: X-Auth-Request-A}"),
        "policies.default.role.claimMappings.a",
        "belongs to the preset",
    ),
    "a role's header twice": (
        role("claimMappings: {a: X-A, b: x-a}"),
        "policies.default.role.claimMappings.b",
        "is given twice",
    ),
    "WebSocket off": (
        CLUSTER + "credential: {sources: [{websocket: false}]}",
        "credential.sources[0].websocket",
        "true",
    ),
}


@pytest.mark.parametrize(("text", "path", "words"), BAD.values(), ids=BAD)
def test_an_error_is_reported_at_its_path(problems: Problems, text: str, path: str, words: str) -> None:
    """The message describes the problem."""
    found = problems(text)
    assert path in found, found
    assert words.lower() in found[path].message.lower()


def test_an_identity_token_needs_only_issuer_and_audience(load_text: Load) -> None:
    """Other fields have defaults."""
    config = load_text(STATEMENT).config
    assert config.identity_token is not None
    assert (config.identity_token.header, config.identity_token.ttl) == ("X-Auth-Identity", 300.0)


def test_cookies_differ_by_case(load_text: Load) -> None:
    """Names of cookies depend on case; names of headers do not."""
    text = CLUSTER + "credential: {sources: [{cookie: t}, {cookie: T}]}"
    assert len(load_text(text).config.credential.sources) == 2


@pytest.mark.parametrize(
    ("audiences", "warned"),
    [
        pytest.param("{default: [reports]}", [], id="different audiences"),
        pytest.param("{default: [reports, apps]}", ["identityToken.audience"], id="the same audience"),
    ],
)
def test_one_audience_for_both_kinds_of_own_tokens_is_a_warning(
    load_text: Load, audiences: str, warned: list[str]
) -> None:
    """An app that does not check `typ` could take an exchanged token for an identity token."""
    text = STATEMENT + f"exchange: {{listen: '127.0.0.1:8081', audiences: {audiences}}}\n"
    warnings = [one for one in load_text(text).warnings if one.path != "signing.keyFiles"]
    assert [warning.path for warning in warnings] == warned
    assert all("exchange.audiences.default" in warning.message for warning in warnings)
