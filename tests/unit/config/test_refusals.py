"""Values that are refused, each at its path and with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from authgate.config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.config.conftest import Load, Pems, Problems


CLUSTER = "cluster: {audiences: [my-app]}\n"


def issuer(
    *, url: str = "https://corp.example.com", issuer: str = "", mappings: str = "", entry: str = ""
) -> str:
    """One entry under `jwt`, with additional members."""
    return (
        f"{{issuer: {{url: '{url}', audiences: [my-app]{issuer}}}, "
        f"claimMappings: {{username: {{claim: sub, prefix: 'corp:'}}{mappings}}}{entry}}}"
    )


def jwt(**members: str) -> str:
    """A file with one issuer."""
    return f"jwt: [{issuer(**members)}]\n"


def gate(members: str) -> str:
    """A file with one issuer that has a `gate` section."""
    return jwt(entry=f", gate: {{{members}}}")


def policy(members: str) -> str:
    """A file with a cluster, a proxy and one policy."""
    return f"{CLUSTER}server: {{proxy: nginx}}\npolicies: {{default: {{{members}}}}}\n"


FIELDS = {
    "unknown-top": (CLUSTER + "clutser: {}", "clutser", "is not a known field"),
    "unknown-nested": (
        "cluster: {audiences: [a], tokenReviw: {}}",
        "cluster.tokenReviw",
        "is not a known field",
    ),
    "attribute-name": (
        "cluster: {audiences: [a], token_review: {}}",
        "cluster.token_review",
        "not a known field",
    ),
    "odd-key": (CLUSTER + '"a b\\n": 1', '["a b\\n"]', "is not a known field"),
    "root-list": ("- a", "FILE", "must be a mapping"),
    "root-text": ("hello", "FILE", "must be a mapping"),
    "api-version": (CLUSTER + "apiVersion: v1", "apiVersion", 'must be "authgate.dev/v1alpha1"'),
    "kind": (CLUSTER + "kind: Pod", "kind", 'must be "AuthgateConfiguration"'),
    "section-null": (CLUSTER + "server:", "server", "must be a mapping"),
    "section-text": (CLUSTER + "log: debug", "log", "must be a mapping"),
    "text-for-number": (CLUSTER + "cache: {maxEntries: many}", "cache.maxEntries", "must be a whole number"),
    "bool-for-number": (CLUSTER + "cache: {maxEntries: true}", "cache.maxEntries", "must be a whole number"),
    "float-for-number": (CLUSTER + "cache: {maxEntries: 1.5}", "cache.maxEntries", "must be a whole number"),
    "number-too-small": (CLUSTER + "cache: {maxEntries: 0}", "cache.maxEntries", "must be at least 1"),
    "number-too-large": (CLUSTER + "cache: {maxEntries: 99999999}", "cache.maxEntries", "must be at most"),
    "number-nan": (
        "cluster: {audiences: [a], tokenReview: {qps: .nan}}",
        "cluster.tokenReview.qps",
        "must be a number",
    ),
    "bool-for-qps": (
        "cluster: {audiences: [a], tokenReview: {qps: yes}}",
        "cluster.tokenReview.qps",
        "be a number",
    ),
    "duration-text": (CLUSTER + "cache: {ttl: soon}", "cache.ttl", "must be a duration"),
    "duration-bool": (CLUSTER + "cache: {ttl: true}", "cache.ttl", "must be a duration"),
    "duration-negative": (CLUSTER + "cache: {ttl: -1s}", "cache.ttl", "must be a duration"),
    "duration-infinite": (CLUSTER + "cache: {ttl: .inf}", "cache.ttl", "must be a duration"),
    "duration-too-long": (
        CLUSTER + "cache: {negativeTTL: 2h}",
        "cache.negativeTTL",
        "must be between 0s and 1h",
    ),
    "choice": (
        CLUSTER + "headers: {preset: oauth2}",
        "headers.preset",
        'must be "oauth2-proxy", "kubernetes"',
    ),
    "log-level": (CLUSTER + "log: {level: trace}", "log.level", 'must be "debug", "info"'),
    "log-audit": (CLUSTER + "log: {audit: some}", "log.audit", 'must be "none", "deny" or "all"'),
    "proxy": (CLUSTER + "server: {proxy: apache}", "server.proxy", 'must be "nginx"'),
    "token-larger-than-headers": (
        CLUSTER + "limits: {maxTokenBytes: 2048, maxHeaderBytes: 2048}",
        "limits.maxHeaderBytes",
        "must be more than maxTokenBytes",
    ),
    "token-larger-than-default-headers": (
        CLUSTER + "limits: {maxTokenBytes: 131072}",
        "limits.maxHeaderBytes",
        "must be more than maxTokenBytes",
    ),
    "text-too-long": (f"cluster: {{audiences: [{'a' * 1025}]}}", "cluster.audiences[0]", "longer than 1024"),
    "text-empty": ("cluster: {audiences: ['']}", "cluster.audiences[0]", "must not be empty"),
    "text-control": (
        'cluster: {audiences: ["a\\nb"]}',
        "cluster.audiences[0]",
        "must not contain control characters",
    ),
    "text-surrogate": ('cluster: {audiences: ["a\\ud800"]}', "cluster.audiences[0]", "lone surrogate"),
    "list-too-long": (
        f"cluster: {{audiences: [{','.join(map('a{}'.format, range(65)))}]}}",
        "cluster.audiences",
        "more than 64",
    ),
    "grpc-and-admin": (
        CLUSTER + "server: {grpc: '127.0.0.1:9090'}",
        "server.grpc",
        "collides with 0.0.0.0:9090",
    ),
    "grpc-everywhere": (
        CLUSTER + "server: {listen: ['[::1]:9001'], grpc: '0.0.0.0:9001'}",
        "server.grpc",
        "collides with [::1]:9001",
    ),
    "grpc-socket-of-several": (
        CLUSTER + "server: {grpc: 'unix:/run/authgate/grpc.sock', workers: 2}",
        "server.grpc",
        "with several server.workers",
    ),
    "workers-none": (CLUSTER + "server: {workers: 0}", "server.workers", "between 1 and 64"),
    "workers-many": (CLUSTER + "server: {workers: 65}", "server.workers", "between 1 and 64"),
    "workers-bool": (
        CLUSTER + "server: {workers: true}",
        "server.workers",
        'must be "auto" or a whole number',
    ),
    "workers-word": (
        CLUSTER + "server: {workers: all}",
        "server.workers",
        'must be "auto" or a whole number',
    ),
    "workers-null": (
        CLUSTER + "server: {workers: null}",
        "server.workers",
        'must be "auto" or a whole number',
    ),
}

CLUSTERS = {
    "nothing": ("log: {level: info}", "cluster", "neither cluster, jwt nor introspection is configured"),
    "empty-file": ("", "cluster", "neither cluster, jwt nor introspection is configured"),
    "empty-jwt": ("jwt: []", "cluster", "neither cluster, jwt nor introspection is configured"),
    "no-audiences": ("cluster: {name: home}", "cluster.audiences", "is required: the audiences"),
    "null-audiences": ("cluster: {audiences: null}", "cluster.audiences", "must be a list"),
    "bare-audience": ("cluster: {audiences: my-app}", "cluster.audiences", "must be a list"),
    "empty-audiences": ("cluster: {audiences: []}", "cluster.audiences", "must not be empty"),
    "number-audience": (
        "cluster: {audiences: [1]}",
        "cluster.audiences[0]",
        "must be a text; put it in quotes",
    ),
    "bool-audience": (
        "cluster: {audiences: [yes]}",
        "cluster.audiences[0]",
        "must be a text; put it in quotes",
    ),
    "same-audience-twice": (
        "cluster: {audiences: [a, a]}",
        "cluster.audiences",
        "names the same entry twice",
    ),
    "name": ("cluster: {audiences: [a], name: 'a b'}", "cluster.name", "letters, digits, dots"),
    "name-too-long": (f"cluster: {{audiences: [a], name: {'a' * 64}}}", "cluster.name", "1 to 63 letters"),
    "http-issuer": (
        "cluster: {audiences: [a], issuers: ['http://a.example']}",
        "cluster.issuers[0]",
        "must be https://",
    ),
    "same-issuer-twice": (
        "cluster: {audiences: [a], issuers: ['https://a.example', 'https://a.example']}",
        "cluster.issuers",
        "names the same entry twice",
    ),
    "kubeconfig": (
        "cluster: {audiences: [a], kubeconfig: /nonexistent/config}",
        "cluster.kubeconfig",
        "cannot be read: No such file",
    ),
    "kubeconfig-tilde": (
        "cluster: {audiences: [a], kubeconfig: ~/nonexistent}",
        "cluster.kubeconfig",
        "~ is not expanded",
    ),
    "kubeconfig-empty": (
        "cluster: {audiences: [a], kubeconfig: ''}",
        "cluster.kubeconfig",
        "must not be empty",
    ),
    "kubeconfig-nul": (
        'cluster: {audiences: [a], kubeconfig: "a\\0"}',
        "cluster.kubeconfig",
        "must not contain control characters",
    ),
    "review-mode": (
        "cluster: {audiences: [a], tokenReview: {mode: sometimes}}",
        "cluster.tokenReview.mode",
        'must be "never", "fallback" or "always"',
    ),
    "watch-without-reviews": (
        "cluster: {audiences: [a], tokenReview: {mode: never}, revocation: watch}",
        "cluster.revocation",
        "watch needs TokenReview",
    ),
    "watched-namespace-twice": (
        "cluster: {audiences: [a], revocation: watch, watch: {namespaces: [a, a]}}",
        "cluster.watch.namespaces",
        "twice",
    ),
    "revocation": (
        "cluster: {audiences: [a], revocation: soon}",
        "cluster.revocation",
        'must be "none" or "watch"',
    ),
    "token-file-of-a-cluster": (
        "cluster: {audiences: [a], keys: {tokenFile: /x}}",
        "cluster.keys.tokenFile",
        "is not a known field",
    ),
    "stale-before-refresh": (
        "cluster: {audiences: [a], keys: {refresh: 10m, maxStale: 5m}}",
        "cluster.keys.maxStale",
        "must be at least as long as refresh",
    ),
}

ISSUERS = {
    "http": (
        jwt(url="http://corp.example.com"),
        "jwt[0].issuer.url",
        "plain http:// is allowed on loopback only",
    ),
    "http-lookalike": (jwt(url="http://127.0.0.1.example"), "jwt[0].issuer.url", "on loopback only"),
    "http-localhost-suffix": (jwt(url="http://localhost.example"), "jwt[0].issuer.url", "on loopback only"),
    "http-other-address": (jwt(url="http://10.0.0.1"), "jwt[0].issuer.url", "on loopback only"),
    "scheme": (jwt(url="ftp://corp.example.com"), "jwt[0].issuer.url", "must be an https:// URL"),
    "no-url": (jwt(url="corp.example.com"), "jwt[0].issuer.url", "must be an absolute URL"),
    "empty": (jwt(url=""), "jwt[0].issuer.url", "must be an absolute URL"),
    "no-host": (jwt(url="https://:443/"), "jwt[0].issuer.url", "valid host and port"),
    "bad-port": (jwt(url="https://a:99999"), "jwt[0].issuer.url", "valid host and port"),
    "port-0": (jwt(url="https://a:0"), "jwt[0].issuer.url", "valid host and port"),
    "bad-v6": (jwt(url="https://[::1"), "jwt[0].issuer.url", "valid host and port"),
    "odd-host": (jwt(url="https://a$b"), "jwt[0].issuer.url", "valid host and port"),
    "space": (jwt(url="https://a b"), "jwt[0].issuer.url", "must be an absolute URL"),
    "backslash": (jwt(url="https://a\\b"), "jwt[0].issuer.url", "must be an absolute URL"),
    "non-ascii": (jwt(url="https://bücher.example"), "jwt[0].issuer.url", "must be an absolute URL in ASCII"),
    "user-info": (
        jwt(url="https://me:pw@corp.example.com"),
        "jwt[0].issuer.url",
        "must not have a user name",
    ),
    "query": (jwt(url="https://corp.example.com?a=b"), "jwt[0].issuer.url", "must not have a query"),
    "empty-query": (jwt(url="https://corp.example.com?"), "jwt[0].issuer.url", "must not have a query"),
    "fragment": (jwt(url="https://corp.example.com#a"), "jwt[0].issuer.url", "must not have a fragment"),
    "duplicate": (
        f"jwt: [{issuer()}, {issuer(entry=', gate: {name: b}')}]",
        "jwt[1].issuer.url",
        "is given twice",
    ),
    "the-clusters": (
        "cluster: {audiences: [a], issuers: ['https://corp.example.com']}\n" + jwt(),
        "jwt[0].issuer.url",
        "the cluster (cluster.issuers)",
    ),
    "discovery-is-the-issuer": (
        jwt(issuer=", discoveryURL: 'https://corp.example.com/'"),
        "jwt[0].issuer.discoveryURL",
        "must differ from the issuer's URL",
    ),
    "discovery-is-well-known": (
        jwt(issuer=", discoveryURL: 'https://corp.example.com/.well-known/openid-configuration'"),
        "jwt[0].issuer.discoveryURL",
        "must differ from the issuer's URL",
    ),
    "discovery-http": (
        jwt(issuer=", discoveryURL: 'http://a.example/d'"),
        "jwt[0].issuer.discoveryURL",
        "on loopback only",
    ),
    "discovery-query": (
        jwt(issuer=", discoveryURL: 'https://a.example/d?x'"),
        "jwt[0].issuer.discoveryURL",
        "must not have a query",
    ),
    "discovery-of-no-issuer": (
        jwt(url="corp", issuer=", discoveryURL: 'https://d.example'"),
        "jwt[0].issuer.url",
        "must be an absolute URL",
    ),
    "discovery-twice": (
        (
            f"jwt: [{issuer(issuer=', discoveryURL: https://d.example')}, "
            f"{issuer(url='https://b.example', issuer=', discoveryURL: https://d.example')}]"
        ),
        "jwt[1].issuer.discoveryURL",
        "is given twice",
    ),
    "ca-path": (
        jwt(issuer=", certificateAuthority: /etc/ca.crt"),
        "jwt[0].issuer.certificateAuthority",
        "must be PEM text",
    ),
    "ca-broken": (
        jwt(issuer=", certificateAuthority: '-----BEGIN CERTIFICATE----- x -----END CERTIFICATE-----'"),
        "jwt[0].issuer.certificateAuthority",
        "holds no readable PEM certificate",
    ),
    "egress": (
        jwt(issuer=", egressSelectorType: cluster"),
        "jwt[0].issuer.egressSelectorType",
        "leave it out",
    ),
    "no-match-policy": (
        "jwt: [{issuer: {url: 'https://a.example', audiences: [a, b]}}]",
        "jwt[0].issuer.audienceMatchPolicy",
        "must be MatchAny, because there are several audiences",
    ),
    "match-policy": (
        jwt(issuer=", audienceMatchPolicy: MatchAll"),
        "jwt[0].issuer.audienceMatchPolicy",
        'must be "MatchAny"',
    ),
    "no-audiences": ("jwt: [{issuer: {url: 'https://a.example'}}]", "jwt[0].issuer.audiences", "is required"),
    "no-mappings": (
        "jwt: [{issuer: {url: 'https://a.example', audiences: [a]}}]",
        "jwt[0].claimMappings",
        "is required: which claims name the user",
    ),
    "no-username": (
        "jwt: [{issuer: {url: 'https://a.example', audiences: [a]}, claimMappings: {}}]",
        "jwt[0].claimMappings.username",
        "is required",
    ),
    "no-prefix": (
        jwt(mappings=", groups: {claim: groups}"),
        "jwt[0].claimMappings.groups.prefix",
        'is required with a claim: it is put before the claim\'s value; "" for no prefix',
    ),
    "uid-prefix": (
        jwt(mappings=", uid: {claim: a, prefix: b}"),
        "jwt[0].claimMappings.uid.prefix",
        "is not a known field",
    ),
    "same-claim-twice": (
        jwt(entry=", claimValidationRules: [{claim: a, requiredValue: b}, {claim: a, requiredValue: c}]"),
        "jwt[0].claimValidationRules[1].claim",
        "is given twice",
    ),
    "required-value-number": (
        jwt(entry=", claimValidationRules: [{claim: hd, requiredValue: 1}]"),
        "jwt[0].claimValidationRules[0].requiredValue",
        "must be a text; put it in quotes",
    ),
    "entry-text": ("jwt: [corp]", "jwt[0]", "must be a mapping"),
    "entry-null": ("jwt: [null]", "jwt[0]", "must be a mapping"),
    "mapping-for-list": ("jwt: {issuer: {}}", "jwt", "must be a list"),
    "too-many": (
        f"jwt: [{','.join(issuer(url=f'https://i{number}.example') for number in range(65))}]",
        "jwt",
        "must not have more than 64 entries",
    ),
}

GATES = {
    "name": (gate("name: 'a/b'"), "jwt[0].gate.name", "letters, digits, dots"),
    "name-of-v6-host": (
        jwt(url="https://[2001:db8::1]"),
        "jwt[0].gate.name",
        "the host and path of the issuer, or its name, cannot be",
    ),
    "name-of-long-host": (
        jwt(url=f"https://{'a' * 60}.example.com"),
        "jwt[0].gate.name",
        "the host and path of the issuer, or its name, cannot be",
    ),
    "same-host-and-no-path-that-differs": (
        f"jwt: [{issuer(url='https://corp.example.com/a/b')}, {issuer(url='https://corp.example.com/a-b')}]",
        "jwt[1].gate.name",
        "must be unique",
    ),
    "same-name": (
        f"jwt: [{issuer(entry=', gate: {name: a}')}, {issuer(url='https://b.example', entry=', gate: {name: a}')}]",
        "jwt[1].gate.name",
        "jwt[0] has the same name",
    ),
    "name-of-the-cluster": (
        CLUSTER + gate("name: home"),
        "jwt[0].gate.name",
        "the cluster has the same name",
    ),
    "hmac": (gate("algorithms: [HS256]"), "jwt[0].gate.algorithms[0]", "HMAC and none are not supported"),
    "none": (
        gate("algorithms: [RS256, none]"),
        "jwt[0].gate.algorithms[1]",
        "HMAC and none are not supported",
    ),
    "algorithm": (gate("algorithms: [RS257]"), "jwt[0].gate.algorithms[0]", 'must be "RS256"'),
    "no-algorithms": (gate("algorithms: []"), "jwt[0].gate.algorithms", "must not be empty"),
    "same-algorithm-twice": (
        gate("algorithms: [RS256, RS256]"),
        "jwt[0].gate.algorithms",
        "same entry twice",
    ),
    "leeway": (gate("leeway: 601s"), "jwt[0].gate.leeway", "must be between 0s and 10m"),
    "expiry-leeway": (gate("expiryLeeway: 11m"), "jwt[0].gate.expiryLeeway", "must be between 0s and 10m"),
    "lifetime": (gate("maxTokenLifetime: 0s"), "jwt[0].gate.maxTokenLifetime", "must be between 1s"),
    "jwks-http": (gate("jwksURL: 'http://corp.example.com/k'"), "jwt[0].gate.jwksURL", "on loopback only"),
    "discovery-http": (
        jwt(issuer=", discoveryURL: 'http://d.example/x'"),
        "jwt[0].issuer.discoveryURL",
        "gate.unsafeAllowHTTP: true allows http://",
    ),
    "http-with-advice": (
        jwt(url="http://keycloak.auth.svc:8080/realms/a"),
        "jwt[0].issuer.url",
        "set gate.jwksURL to an https:// URL of the keys",
    ),
    "tenant-without-tenants": (
        jwt(url="https://login.example.com/{tenantid}/v2.0"),
        "jwt[0].issuer.url",
        "list the tenants to accept in gate.tenants",
    ),
    "tenant-in-a-name": (
        jwt(url="urn:{tenantid}", entry=", gate: {jwksURL: 'https://k.example'}"),
        "jwt[0].issuer.url",
        "gate.tenants",
    ),
    "tenants-without-a-place": (gate("tenants: [a]"), "jwt[0].gate.tenants", "need {tenantid} in issuer.url"),
    "tenant-in-the-host": (
        jwt(url="https://{tenantid}.example.com/", entry=", gate: {tenants: [a]}"),
        "jwt[0].issuer.url",
        "must have {tenantid} once, in the path",
    ),
    "tenant-twice": (
        jwt(url="https://a.example/{tenantid}/{tenantid}", entry=", gate: {tenants: [a]}"),
        "jwt[0].issuer.url",
        "must have {tenantid} once",
    ),
    "tenant-common": (
        jwt(url="https://a.example/{tenantid}/", entry=", gate: {tenants: [common]}"),
        "jwt[0].gate.tenants[0]",
        "is no tenant",
    ),
    "tenant-with-a-slash": (
        jwt(url="https://a.example/{tenantid}/", entry=", gate: {tenants: [a/b]}"),
        "jwt[0].gate.tenants[0]",
        "must be a tenant's id",
    ),
    "tenant-of-another-entry": (
        jwt(url="https://a.example/{tenantid}", entry=", gate: {name: a, tenants: [x, y]}").replace(
            "]\n", f", {issuer(url='https://a.example/y', entry=', gate: {name: b}')}]\n"
        ),
        "jwt[1].issuer.url",
        "is given twice",
    ),
    "spiffe-of-another-name": (
        gate("spiffe: {trustDomain: a.example}, jwksURL: 'https://k.example'"),
        "jwt[0].issuer.url",
        "must be spiffe://a.example",
    ),
    "spiffe-without-its-setting": (
        jwt(url="spiffe://a.example"),
        "jwt[0].issuer.url",
        "for SPIFFE, set gate.spiffe and gate.jwksURL",
    ),
    "spiffe-without-keys": (
        jwt(url="spiffe://a.example", entry=", gate: {spiffe: {trustDomain: a.example}}"),
        "jwt[0].gate.spiffe",
        "needs gate.jwksURL",
    ),
    "spiffe-in-upper-case": (
        gate("spiffe: {trustDomain: A.example}, jwksURL: 'https://k.example'"),
        "jwt[0].gate.spiffe.trustDomain",
        "in lower case",
    ),
    "alb-and-jwks": (
        gate("alb: {region: eu-west-1}, jwksURL: 'https://k.example'"),
        "jwt[0].gate.alb",
        "keys have one source",
    ),
    "alb-region": (
        gate("alb: {region: eu-west-1.evil.example/}"),
        "jwt[0].gate.alb.region",
        "must be a region",
    ),
    "alb-http": (
        gate("alb: {region: eu-west-1, keysURL: 'http://k.example'}"),
        "jwt[0].gate.alb.keysURL",
        "must be https://",
    ),
    "alb-audience": (
        gate("alb: {region: eu-west-1}, audienceClaims: [sub]"),
        "jwt[0].gate.audienceClaims",
        "must not be given with alb",
    ),
    "jwks-user-info": (gate("jwksURL: 'https://a@b'"), "jwt[0].gate.jwksURL", "must not have a user name"),
    "jwks-and-static": (
        gate("jwksURL: 'https://a.example', staticKeys: {inline: {keys: [{}]}}"),
        "jwt[0].gate.staticKeys",
        "keys have one source",
    ),
    "jwks-and-discovery": (
        jwt(issuer=", discoveryURL: 'https://d.example'", entry=", gate: {jwksURL: 'https://k.example'}"),
        "jwt[0].gate.jwksURL",
        "must not be given with issuer.discoveryURL",
    ),
    "name-too-long": (
        jwt(url="n" * 513, entry=", gate: {name: a, jwksURL: 'https://k.example'}"),
        "jwt[0].issuer.url",
        "1 to 512 printable characters",
    ),
    "name-with-a-line-break": (
        jwt(url="a\u2028b", entry=", gate: {name: a, jwksURL: 'https://k.example'}"),
        "jwt[0].issuer.url",
        "printable characters",
    ),
    "name-with-a-space-at-the-end": (
        jwt(url="corp ", entry=", gate: {jwksURL: 'https://k.example'}"),
        "jwt[0].issuer.url",
        "without spaces at the ends",
    ),
    "name-of-legacy-tokens": (
        jwt(url="kubernetes/serviceaccount", entry=", gate: {jwksURL: 'https://k.example'}"),
        "jwt[0].issuer.url",
        "have no expiry",
    ),
    "name-without-keys": (
        jwt(url="accounts.example.com"),
        "jwt[0].issuer.url",
        "with gate.jwksURL or gate.staticKeys, an issuer can be any text",
    ),
    "static-nothing": (gate("staticKeys: {}"), "jwt[0].gate.staticKeys", "exactly one of file and inline"),
    "static-missing-file": (
        gate("staticKeys: {file: /nonexistent/keys}"),
        "jwt[0].gate.staticKeys.file",
        "cannot be read: No such file",
    ),
    "static-no-keys": (
        gate("staticKeys: {inline: {keys: []}}"),
        "jwt[0].gate.staticKeys.inline",
        "at least one key",
    ),
    "static-no-jwks": (
        gate("staticKeys: {inline: hello}"),
        "jwt[0].gate.staticKeys.inline",
        "must be a JWKS",
    ),
    "static-a-list": (gate("staticKeys: {inline: '[1]'}"), "jwt[0].gate.staticKeys.inline", "must be a JWKS"),
    "static-bottomless": (
        gate(f"staticKeys: {{inline: '{'[' * 9999}'}}"),
        "jwt[0].gate.staticKeys.inline",
        "must be a JWKS",
    ),
    "static-private-jwk": (
        gate("staticKeys: {inline: {keys: [{kty: EC, d: x}]}}"),
        "jwt[0].gate.staticKeys.inline",
        "private or symmetric key",
    ),
    "static-symmetric-jwk": (
        gate("staticKeys: {inline: {keys: [{kty: oct, k: x}]}}"),
        "jwt[0].gate.staticKeys.inline",
        "private or symmetric key",
    ),
    "static-no-public-pem": (
        gate("staticKeys: {inline: '-----BEGIN CERTIFICATE-----'}"),
        "jwt[0].gate.staticKeys.inline",
        "holds no readable PEM certificate",
    ),
    "static-broken-pem": (
        gate("staticKeys: {inline: '-----BEGIN PUBLIC KEY----- x -----END PUBLIC KEY-----'}"),
        "jwt[0].gate.staticKeys.inline",
        "PEM public key that cannot be read",
    ),
    "refresh": (gate("keys: {refresh: 0s}"), "jwt[0].gate.keys.refresh", "must be between 1s and 24h"),
    "stale-before-refresh": (
        gate("keys: {maxStale: 1m}"),
        "jwt[0].gate.keys.maxStale",
        "at least as long as refresh",
    ),
    "no-types": (gate("types: []"), "jwt[0].gate.types", "must not be empty"),
    "type": (gate("types: ['a b']"), "jwt[0].gate.types[0]", "must be a media type"),
    "same-type-twice": (gate("types: [JWT, jwt]"), "jwt[0].gate.types", "names the same entry twice"),
}

POLICIES = {
    "none": (CLUSTER + "policies: {}", "policies", "must not be empty"),
    "null": (CLUSTER + "policies: {default: null}", "policies.default", "must be a mapping"),
    "list": (CLUSTER + "policies: []", "policies", "must be a mapping"),
    "name": (CLUSTER + "policies: {App_A: {}}", "policies.App_A", "must be a DNS label"),
    "too-many": (
        CLUSTER + f"policies: {{{','.join(map('p{}: {{}}'.format, range(1001)))}}}",
        "policies",
        "must not have more than 1000 entries",
    ),
    "empty-allow": (policy("allow: []"), "policies.default.allow", "must not be empty"),
    "empty-deny": (policy("deny: []"), "policies.default.deny", "must not be empty"),
    "empty-entry": (
        policy("allow: [{}]"),
        "policies.default.allow[0]",
        "an empty entry would match everyone",
    ),
    "null-entry": (
        policy("allow: [{users: null}]"),
        "policies.default.allow[0]",
        "an empty entry would match",
    ),
    "empty-users": (policy("allow: [{users: []}]"), "policies.default.allow[0].users", "must not be empty"),
    "empty-groups": (policy("deny: [{groups: []}]"), "policies.default.deny[0].groups", "must not be empty"),
    "empty-issuers": (
        policy("allow: [{issuers: []}]"),
        "policies.default.allow[0].issuers",
        "must not be empty",
    ),
    "empty-accounts": (
        policy("allow: [{serviceAccounts: []}]"),
        "policies.default.allow[0].serviceAccounts",
        "must not be empty",
    ),
    "bare-user": (policy("allow: [{users: me}]"), "policies.default.allow[0].users", "must be a list"),
    "account-without-namespace": (
        policy("allow: [{serviceAccounts: [web]}]"),
        "policies.default.allow[0].serviceAccounts[0]",
        'must be "namespace/name"',
    ),
    "account-user-name": (
        policy("allow: [{serviceAccounts: ['system:serviceaccount:a:b']}]"),
        "policies.default.allow[0].serviceAccounts[0]",
        'must be "namespace/name"',
    ),
    "account-too-many-parts": (
        policy("allow: [{serviceAccounts: ['a/b/c']}]"),
        "policies.default.allow[0].serviceAccounts[0]",
        'must be "namespace/name"',
    ),
    "unknown-issuer": (
        policy("allow: [{issuers: [hoem]}]"),
        "policies.default.allow[0].issuers[0]",
        "is not a configured name",
    ),
    "unknown-issuer-denied": (
        policy("deny: [{issuers: [other]}]"),
        "policies.default.deny[0].issuers[0]",
        "is not a configured name",
    ),
    "empty-audiences": (policy("audiences: []"), "policies.default.audiences", "must not be empty"),
    "unknown-audience": (
        policy("audiences: [my-ap]"),
        "policies.default.audiences[0]",
        "neither the cluster nor an issuer under jwt accepts",
    ),
    "access-review-of-nothing": (
        policy("accessReview: {allowedTTL: 1m}"),
        "policies.default.accessReview",
        "needs either `nonResource: request` or `resource`, and not both",
    ),
    "access-review-of-two-things": (
        policy("accessReview: {nonResource: request, resource: {verb: get, resource: services}}"),
        "policies.default.accessReview",
        "needs either `nonResource: request` or `resource`, and not both",
    ),
    "access-review-of-another-request": (
        policy("accessReview: {nonResource: /metrics}"),
        "policies.default.accessReview.nonResource",
        'must be "request"',
    ),
    "access-review-without-verb": (
        policy("accessReview: {resource: {resource: services}}"),
        "policies.default.accessReview.resource.verb",
        "is required",
    ),
    "access-review-with-empty-resource": (
        policy("accessReview: {resource: {verb: get, resource: ''}}"),
        "policies.default.accessReview.resource.resource",
        "must not be empty",
    ),
    "access-review-of-the-query": (
        policy("accessReview: {resource: {verb: get, resource: services, name: '{{ .Query }}'}}"),
        "policies.default.accessReview.resource.name",
        "its placeholders can be {{ .Namespace }}",
    ),
    "access-review-with-half-a-placeholder": (
        policy("accessReview: {resource: {verb: get, resource: services, namespace: '{{ .Namespace'}}"),
        "policies.default.accessReview.resource.namespace",
        "its placeholders can be {{ .Namespace }}",
    ),
    "access-review-kept-too-long": (
        policy("accessReview: {nonResource: request, allowedTTL: 2h}"),
        "policies.default.accessReview.allowedTTL",
        "must be between",
    ),
    "access-review-without-cluster": (
        jwt() + "policies: {default: {accessReview: {resource: {verb: get, resource: services}}}}\n",
        "policies.default.accessReview",
        "needs a cluster whose API can be asked",
    ),
    "access-review-without-proxy": (
        CLUSTER + "policies: {default: {accessReview: {nonResource: request}}}\n",
        "policies.default.accessReview.nonResource",
        "needs server.proxy",
    ),
    "expression": (
        policy("expression: 'true'"),
        "policies.default.expression",
        "must be in an entry of allow or deny, or in a rule",
    ),
    "shadow": (policy("shadow: true"), "policies.default.shadow", "must be a mapping"),
    "anonymous-without-proxy": (
        CLUSTER + "policies: {default: {anonymous: [/healthz]}}",
        "policies.default.anonymous",
        "needs server.proxy",
    ),
    "preflights-without-proxy": (
        CLUSTER + "policies: {default: {corsPreflight: allow}}",
        "policies.default.corsPreflight",
        "needs server.proxy",
    ),
}

OPEN_PATHS = {
    "relative": "healthz",
    "everything": "/*",
    "star-inside": "/a*b",
    "star-at-end": "/a*",
    "two-stars": "/*/*",
    "parent": "/a/../b",
    "parent-at-end": "/a/..",
    "parent-below": "/../*",
    "here": "/a/./b",
    "two-dots-in-a-name": "/a..b",
    "percent": "/a%2e",
    "double-slash": "//a",
    "double-slash-inside": "/a//*",
    "semicolon": "/a;b",
    "query": "/a?b",
    "hash": "/a#b",
    "backslash": "/a\\b",
    "space": "/a b",
    "non-ascii": "/ä",
    "empty": "",
}

LISTENERS = {
    "no-address": ("server: {listen: ['8080']}", "server.listen[0]", 'must be "host:port"'),
    "empty": ("server: {listen: []}", "server.listen", "must not be empty"),
    "bare": ("server: {listen: '0.0.0.0:8080'}", "server.listen", "must be a list"),
    "twice": ("server: {listen: [':80', ':80']}", "server.listen", "names the same entry twice"),
    "collision": (
        "server: {listen: ['0.0.0.0:80', '127.0.0.1:80']}",
        "server.listen[1]",
        "collides with 0.0.0.0:80",
    ),
    "admin": ("server: {listen: [':80'], admin: '127.0.0.1:80'}", "server.admin", "collides with :80"),
    "default-admin": ("server: {listen: [':9090']}", "server.admin", "collides with :9090"),
    "default-listen": ("server: {admin: ':8080'}", "server.admin", "collides with 0.0.0.0:8080"),
    "admin-socket": (
        "server: {listen: ['unix:/a'], admin: 'unix:/a'}",
        "server.admin",
        "collides with unix:/a",
    ),
    "tls-without-key": ("server: {tls: {certFile: /nonexistent}}", "server.tls.keyFile", "is required"),
    "tls-missing-file": (
        "server: {tls: {certFile: /nonexistent, keyFile: /nonexistent}}",
        "server.tls.keyFile",
        "cannot be read: No such file",
    ),
    "tls-directory": (
        "server: {tls: {certFile: /, keyFile: /nonexistent}}",
        "server.tls.certFile",
        "cannot be read: Is a directory",
    ),
    "client-ca-missing": (
        "server: {tls: {certFile: /nonexistent, keyFile: /nonexistent, clientCAFile: /nonexistent}}",
        "server.tls.clientCAFile",
        "cannot be read",
    ),
}

ADMIN = {
    "unknown-policy": (
        CLUSTER + "policies: {metrics: {}}\nadmin: {policy: metric}",
        "admin.policy",
        "is not a configured policy",
    ),
    "policy-name": (CLUSTER + "admin: {policy: 'a b'}", "admin.policy", "must be"),
    "address": (CLUSTER + "admin: ':9090'", "admin", "must be"),
    "recent-decisions-for-everyone": (
        CLUSTER + "admin: {recentDecisions: 10}",
        "admin.recentDecisions",
        "shows user names to everyone who can reach server.admin (0.0.0.0:9090); set admin.policy",
    ),
    "too-many-recent-decisions": (
        CLUSTER + "admin: {recentDecisions: 1001, policy: default}",
        "admin.recentDecisions",
        "must be at most 1000",
    ),
    "proxy-of-the-default-policy": (
        CLUSTER + "policies: {default: {anonymous: [/a]}}\nadmin: {policy: default}",
        "policies.default.anonymous",
        "needs server.proxy",
    ),
    "proxy-of-another-policy": (
        CLUSTER + "policies: {default: {anonymous: [/a]}, p: {}}\nadmin: {policy: p}",
        "policies.default.anonymous",
        "needs server.proxy",
    ),
}

EXPECTED = {"oauth2", "{{ .Namespace"}
"""Values that are also in the text of a rule."""

CASES = [
    pytest.param(text, path, words, id=f"{group}-{name}")
    for group, table in {
        "field": FIELDS,
        "cluster": CLUSTERS,
        "issuer": ISSUERS,
        "gate": GATES,
        "policy": POLICIES,
        "admin": ADMIN,
        "server": {name: (CLUSTER + text, path, words) for name, (text, path, words) in LISTENERS.items()},
    }.items()
    for name, (text, path, words) in table.items()
]


@pytest.mark.parametrize(("text", "path", "words"), CASES)
def test_a_bad_value_is_refused_at_its_path(problems: Problems, text: str, path: str, words: str) -> None:
    """The message describes the problem."""
    found = problems(text)
    if path == "FILE":
        (path,) = (place for place in found if place.endswith("authgate.yaml"))
    assert path in found, found
    assert words in found[path].message


@pytest.mark.parametrize("path", OPEN_PATHS.values(), ids=OPEN_PATHS)
def test_an_ambiguous_open_path_is_refused(problems: Problems, path: str) -> None:
    """A path without a token is exact or a prefix, and proxies must not read it differently."""
    assert "policies.default.anonymous[0]" in problems(policy(f"anonymous: ['{path}']"))


def test_a_private_key_given_as_public_is_refused_and_not_shown(problems: Problems, pems: Pems) -> None:
    """The message names the mistake and does not contain the key."""
    found = problems(gate(f'staticKeys: {{inline: "{pems.other_key.encode("unicode_escape").decode()}"}}'))
    problem = found["jwt[0].gate.staticKeys.inline"]
    assert ("holds a private key" in problem.message, problem.value) == (True, '"***"')


def test_a_private_key_given_as_authority_is_refused(problems: Problems, pems: Pems) -> None:
    """A CA bundle must have certificates only."""
    pem = (pems.authority + pems.other_key).encode("unicode_escape").decode()
    found = problems(jwt(issuer=f', certificateAuthority: "{pem}"'))
    assert "holds a private key" in found["jwt[0].issuer.certificateAuthority"].message


def test_keys_from_a_file_and_inline_are_refused(problems: Problems, pems: Pems, tmp_path: Path) -> None:
    """Keys have one source, although both are valid."""
    (tmp_path / "keys.pem").write_text(pems.public_key)
    found = problems(gate(f"staticKeys: {{file: {tmp_path}/keys.pem, inline: {{keys: [{{}}]}}}}"))
    assert "exactly one of file and inline" in found["jwt[0].gate.staticKeys"].message


def test_a_list_of_bad_entries_is_not_called_empty(problems: Problems) -> None:
    """Wrong entries are reported, not an empty list without them."""
    assert list(problems(gate("algorithms: [HS256]"))) == ["jwt[0].gate.algorithms[0]"]


def test_an_unknown_fields_value_is_never_shown(problems: Problems) -> None:
    """An unknown field may hold a password."""
    assert problems(CLUSTER + "clientSecret: hunter2")["clientSecret"].value == ""


@pytest.mark.parametrize(
    ("text", "path", "suggestion"),
    [
        (CLUSTER + "polices: {}", "polices", "policies"),
        (CLUSTER + "cache: {negativeTtl: 1s}", "cache.negativeTtl", "negativeTTL"),
        (CLUSTER + "log: {level: inof}", "log.level", "info"),
        (policy("allow: [{issuers: [hoem]}]"), "policies.default.allow[0].issuers[0]", "home"),
        (policy("audiences: [my-ap]"), "policies.default.audiences[0]", "my-app"),
        (
            jwt() + "policies: {default: {allow: [{issuers: ['https://corp.example.com']}]}}",
            "policies.default.allow[0].issuers[0]",
            "corp.example.com",
        ),
        (CLUSTER + f"{'x' * 500}: 1", f'["{"x" * 80}…"]', None),
    ],
    ids=["section", "case", "choice", "issuer", "audience", "issuer-by-url", "nothing-near"],
)
def test_the_nearest_name_is_suggested(
    problems: Problems, text: str, path: str, suggestion: str | None
) -> None:
    """A typo is reported with the nearest known name."""
    assert problems(text)[path].suggestion == suggestion


def test_a_reference_is_not_checked_while_names_are_unknown(problems: Problems) -> None:
    """The invalid issuer may have the name in the rule."""
    text = jwt(url="corp") + "policies: {default: {allow: [{issuers: [corp]}]}}"
    assert list(problems(text)) == ["jwt[0].issuer.url"]


def test_an_audience_is_not_checked_while_the_accepted_ones_are_unknown(problems: Problems) -> None:
    """The invalid list may have the audience of the policy."""
    text = "cluster: {audiences: my-app}\npolicies: {default: {audiences: [my-app]}}"
    assert list(problems(text)) == ["cluster.audiences"]


REVIEWED = "policies: {default: {accessReview: {cluster: b, resource: {verb: get, resource: pods}}}}"
ONE_MISTAKE = {
    "bound-audiences-beside-a-scalar": (
        "cluster: {audiences: my-app}\npolicies: {default: {role: {boundAudiences: [my-app]}}}",
        "cluster.audiences",
    ),
    "bound-audiences-beside-a-number": (
        "cluster: {audiences: [5]}\npolicies: {default: {role: {boundAudiences: ['5']}}}",
        "cluster.audiences[0]",
    ),
    "audiences-beside-no-audiences": (
        "cluster: {name: a}\npolicies: {default: {audiences: [my-app]}}",
        "cluster.audiences",
    ),
    "audiences-beside-a-text": ("cluster: my-app\npolicies: {default: {audiences: [my-app]}}", "cluster"),
    "audiences-beside-jwt-as-a-mapping": (
        "jwt: {issuer: {}}\npolicies: {default: {audiences: [my-app]}}",
        "jwt",
    ),
    "issuers-beside-jwt-as-a-text": ("jwt: corp\npolicies: {default: {allow: [{issuers: [corp]}]}}", "jwt"),
    "rules-beside-server-as-a-text": (
        CLUSTER + "server: nginx\npolicies: {default: {rules: [{paths: [/a], allow: [{users: [b]}]}]}}",
        "server",
    ),
    "query-source-beside-server-as-a-text": (
        CLUSTER + "server: nginx\ncredential: {sources: [{query: token}]}",
        "server",
    ),
    "exchange-beside-server-as-a-text": (
        CLUSTER
        + "server: nginx\nsigning: {issuer: 'https://gate.example'}\n"
        + "exchange: {listen: ':8080', audiences: {default: [a]}}",
        "server",
    ),
    "keys-beside-wrong-workers": (
        CLUSTER
        + "server: {workers: two}\nsigning: {issuer: 'https://gate.example'}\nidentityToken: {audience: a}",
        "server.workers",
    ),
    "token-lifetime-beside-a-text": (
        CLUSTER
        + "cache: 5m\nsigning: {issuer: 'https://gate.example'}\nidentityToken: {audience: a, ttl: 60s}",
        "cache",
    ),
    "exchange-audiences-as-a-list": (
        CLUSTER + "signing: {issuer: 'https://gate.example'}\nexchange: {listen: ':8081', audiences: [[a]]}",
        "exchange.audiences",
    ),
    "exchange-beside-policies-as-a-list": (
        CLUSTER
        + "signing: {issuer: 'https://gate.example'}\npolicies: [web]\n"
        + "exchange: {listen: ':8081', audiences: {web: [a]}}",
        "policies",
    ),
    "headers-beside-a-number-as-preset": (
        CLUSTER + "headers: {preset: 5, set: [{name: X-Auth-Request-Team, claim: /team}]}",
        "headers.preset",
    ),
    "leeway-beside-a-wrong-one": (
        gate("leeway: soon") + "policies: {default: {role: {notBeforeLeeway: 5m}}}",
        "jwt[0].gate.leeway",
    ),
    "query-beside-a-text": (
        policy("queryRules: 'on', allow: [{expression: request.query.contains('a')}]"),
        "policies.default.queryRules",
    ),
    "claim-that-is-a-number": (
        jwt(entry=", claimValidationRules: [{claim: 5}]"),
        "jwt[0].claimValidationRules[0].claim",
    ),
    "username-that-is-a-text": (
        "jwt: [{issuer: {url: 'https://a.example', audiences: [a]}, claimMappings: {username: sub}}]",
        "jwt[0].claimMappings.username",
    ),
    "contexts-that-are-numbers": (
        "cluster: [{audiences: [a], context: b}, {name: c, audiences: [a], context: 5}]",
        "cluster[1].context",
    ),
    "reviewed-cluster-beside-a-wrong-name": (
        "cluster: {audiences: [a], name: [b]}\n" + REVIEWED,
        "cluster.name",
    ),
}


@pytest.mark.parametrize(("text", "path"), ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_one_mistake_is_one_problem(problems: Problems, text: str, path: str) -> None:
    """A check does not run while a section that it needs is invalid."""
    assert list(problems(text)) == [path]


@pytest.mark.parametrize("text", [case.values[0] for case in CASES])
def test_the_admin_port_shows_no_value(load_text: Load, text: str) -> None:
    """A value in the wrong place may be a secret."""
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    shown = caught.value.without_values()
    values = [problem.value.strip('"…') for problem in caught.value.problems]
    assert [value for value in values if len(value) > 5 and value in shown and value not in EXPECTED] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            CLUSTER + "server: {proxy: s3cr3t}",
            'server.proxy (line 2): must be "nginx", "ingress-nginx", "envoy", "traefik", "caddy" or "haproxy"',
        ),
        (CLUSTER + "server: {s3cr3t: nginx}", "server (line 2): has an unknown field"),
        (CLUSTER + "s3cr3t", "FILE (line 2): is not valid YAML"),
        (
            CLUSTER + "log: *s3cr3t",
            "FILE (line 2): is not valid YAML: there is no anchor (&) of this name before the alias (*)",
        ),
        (
            CLUSTER + "log: {level: info, 's3cr3t': 1, 's3cr3t': 2}",
            "has a key that is given twice or is not a text",
        ),
        (
            policy("allow: [{expression: 's3cr3t =='}]"),
            "policies.default.allow[0].expression (line 3): does not fit the rest of the configuration",
        ),
        (policy("audiences: [s3cr3t]"), "policies.default.audiences[0] (line 3): does not fit"),
        (CLUSTER + "policies: {'s3cr3t !': {}}", "policies (line 2): must be a DNS label"),
    ],
    ids=["value", "field", "line", "alias", "key-twice", "expression", "audience", "name"],
)
def test_the_admin_port_shows_place_and_rule(load_text: Load, text: str, shown: str) -> None:
    """The value is missing, in every form in which the log could quote it."""
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    seen = caught.value.without_values()
    assert shown.removeprefix("FILE") in seen
    assert "s3cr3t" not in seen


def test_a_value_from_a_file_that_a_variable_names_is_not_shown(load_text: Load, tmp_path: Path) -> None:
    """Such files hold secrets, so not even the log quotes them."""
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    with pytest.raises(ConfigError) as caught:
        load_text(CLUSTER, {"AUTHGATE_SERVER__PROXY_FILE": str(secret)})
    assert "AUTHGATE_SERVER__PROXY_FILE" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_query_of_a_url_is_not_shown(problems: Problems) -> None:
    """The query of a JWKS URL may have a key."""
    (problem,) = problems(gate("jwksURL: 'http://keys.example/jwks?api-key=s3cr3t'")).values()
    assert problem.value == '"http://keys.example/jwks?***"'


EVERYTHING = """
cluster:
  audiences: my-app
  tokenReviw: {}
  kubeconfig: /nonexistent/config
jwt:
- issuer: {url: "http://corp.example.com", audiences: [a]}
  claimMappings: {username: {expression: claims.sub +}}
  gate: {name: corp, algorithms: [HS256]}
policies:
  default:
    allow: []
    deny: [{issuers: [crop]}, {}]
    anonymous: [/healthz]
  web: {role: {claimMappings: {a: X-Auth-Request-A}}}
server:
  listen: ["0.0.0.0:8080", ":8080"]
  tls: {certFile: /nonexistent/tls.crt, keyFile: /nonexistent/tls.key}
log: {level: loud}
log: {}
credential: {sources: [{cookie: t}, {cookie: t}]}
"""


def test_all_problems_are_reported_at_once_in_the_files_order(problems: Problems) -> None:
    """Typos, types, files, variables, and conflicts of valid sections are sorted by line. Those outside come last."""
    found = problems(EVERYTHING, {"AUTHGATE_CLUSTR__NAME": "x", "AUTHGATE_CACHE__TTL": "fast"})
    assert [(problem.path, problem.line) for problem in found.values()] == [
        ("cluster.audiences", 3),
        ("cluster.tokenReviw", 4),
        ("cluster.kubeconfig", 5),
        ("jwt[0].issuer.url", 7),
        ("jwt[0].claimMappings.username.expression", 8),
        ("jwt[0].gate.algorithms[0]", 9),
        ("policies.default.allow", 12),
        ("policies.default.deny[1]", 13),
        ("policies.web.role.claimMappings.a", 15),
        ("server.listen[1]", 17),
        ("server.tls.certFile", 18),
        ("server.tls.keyFile", 18),
        ("log.level", 19),
        ("log", 20),
        ("credential.sources[1].cookie", 21),
        ("cache.ttl", None),
        ("AUTHGATE_CLUSTR__NAME", None),
    ]


BETWEEN_SECTIONS = (
    CLUSTER
    + """
log: {level: loud}
policies:
  broken: {allow: []}
  web: {audiences: [other], allow: [{issuers: [hoem]}], anonymous: [/healthz]}
exchange: {listen: ":8080", audiences: {wbe: [a]}}
"""
)


def test_sections_are_compared_although_others_have_errors(problems: Problems) -> None:
    """A check needs only its own sections, and an invalid policy does not hide errors of another."""
    assert sorted(problems(BETWEEN_SECTIONS)) == [
        "exchange",
        "exchange.listen",
        "log.level",
        "policies.broken.allow",
        "policies.web.allow[0].issuers[0]",
        "policies.web.anonymous",
        "policies.web.audiences[0]",
    ]


def test_the_number_of_listed_problems_is_bounded(problems: Problems) -> None:
    """Only the first problems are listed, with the number of the others."""
    found = problems("\n".join(f"field{number}: 1" for number in range(1000)))
    assert (len(found), found["…"].message) == (201, "and 801 more problems; fix the first ones")


def test_a_problem_reads_as_one_line(problems: Problems) -> None:
    """It has path, line, reason, value and suggestion."""
    assert str(problems("log: {level: inof}\n" + CLUSTER)["log.level"]) == (
        'log.level (line 1): must be "debug", "info", "warning" or "error"; got "inof"; did you mean info?'
    )
