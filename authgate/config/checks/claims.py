"""What holds between the fields of a `jwt` issuer's claim rules and mappings, each error where kube-apiserver has it.

Source: k8s.io/apiserver, pkg/apis/apiserver/validation/validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from authgate.config.models.expressions import claims_of, expression_findings
from authgate.config.problems import Finding, Path, shown
from authgate.config.reading.values import Pattern, Values
from authgate.expressions import Expects, Sees

_BOTH = "must not have both a claim and an expression"
_NEITHER = "needs a claim, or an expression in its place"
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_KEY = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")
_MAX_DOMAIN = 253
_MAY_VERIFY: tuple[tuple[Pattern, ...], ...] = (
    ("claimMappings", "extra", ..., "valueExpression"),
    ("claimValidationRules", ..., "expression"),
)
# A mapping may give anything, as it may for the kube-apiserver: what is no name is refused token by token.
_EXPRESSIONS: tuple[tuple[tuple[Pattern, ...], Sees, Expects], ...] = (
    (("claimValidationRules", ..., "expression"), Sees.CLAIMS, Expects.BOOL),
    (("claimMappings", "username", "expression"), Sees.CLAIMS, Expects.ANY),
    (("claimMappings", "groups", "expression"), Sees.CLAIMS, Expects.ANY),
    (("claimMappings", "uid", "expression"), Sees.CLAIMS, Expects.ANY),
    (("claimMappings", "extra", ..., "valueExpression"), Sees.CLAIMS, Expects.ANY),
    (("userValidationRules", ..., "expression"), Sees.USER, Expects.BOOL),
)


def claim_findings(values: Values, issuer: Path) -> Iterator[Finding]:
    """Tell what is wrong with the claim rules and mappings of the issuer at a path."""
    yield from _validation_rules(values, (*issuer, "claimValidationRules"))
    yield from _mappings(values, (*issuer, "claimMappings"))
    for kind in ("claimValidationRules", "userValidationRules"):
        yield from _repeated(
            values, (*issuer, kind, ..., "expression"), "an expression needs to hold only once"
        )
    yield from _expressions(values, issuer)
    yield from _unverified_address(values, issuer)


def _validation_rules(values: Values, rules: Path) -> Iterator[Finding]:
    for path, rule in values.find(*rules, ...):
        if not isinstance(rule, dict):
            continue  # told already
        claim, expression = _given(values, path, "claim"), _given(values, path, "expression")
        if claim and expression:
            yield Finding(path, _BOTH)
        elif not claim and not expression:
            if _readable(values, path):
                yield Finding(path, _NEITHER)
        elif claim and _given(values, path, "message"):
            yield Finding((*path, "message"), "must not stand beside a claim: it belongs to an expression")
        elif expression and _given(values, path, "requiredValue"):
            sentence = "must not stand beside an expression, which says itself what must hold"
            yield Finding((*path, "requiredValue"), sentence)
    yield from _repeated(values, (*rules, ..., "claim"), "a claim can have one required value")


def _mappings(values: Values, mappings: Path) -> Iterator[Finding]:
    for name in ("username", "groups", "uid"):
        path = (*mappings, name)
        claim, expression = _given(values, path, "claim"), _given(values, path, "expression")
        if claim and expression:
            yield Finding(path, _BOTH)
        elif name == "username" and values.mentions(*path) and not claim and not expression:
            if _readable(values, path):
                yield Finding(path, _NEITHER)
        elif name != "uid" and claim and values.text(*path, "prefix") is None:
            if not values.has(*path, "prefix"):
                sentence = 'is required, and is put before the claim\'s value as it stands; "" is none'
                yield Finding((*path, "prefix"), sentence)
        elif name != "uid" and expression and values.text(*path, "prefix") is not None:
            sentence = (
                "must not stand beside an expression, which can put a prefix itself: 'corp:' + claims.sub"
            )
            yield Finding((*path, "prefix"), sentence)
    for place, key in values.texts(*mappings, "extra", ..., "key"):
        problem = _problem_of_key(key) if key else None
        if problem is not None:
            yield Finding(place, problem, shown(key))
    yield from _repeated(values, (*mappings, "extra", ..., "key"), "a key can have one expression")


def _problem_of_key(key: str) -> str | None:
    domain, slash, path = key.partition("/")
    if not slash or not path or len(domain) > _MAX_DOMAIN or not _DOMAIN.fullmatch(domain.lower()):
        return "must be a path below a domain, such as example.org/department"
    if not _KEY.fullmatch(path):
        return "must hold no characters but those of a URL's path behind the domain"
    if key != key.lower():
        return "must be in lower case"
    if any(f".{domain}".endswith(f".{reserved}") for reserved in ("kubernetes.io", "k8s.io")):
        return "must not be below k8s.io or kubernetes.io, which are Kubernetes' own"
    return None


def _repeated(values: Values, pattern: tuple[Pattern, ...], why: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, text in values.texts(*pattern):
        if text and text in seen:
            yield Finding(place, f"stands twice: {why}", shown(text))
        seen.add(text)


def _expressions(values: Values, issuer: Path) -> Iterator[Finding]:
    for place, sees, expects in _EXPRESSIONS:
        for path, text in values.texts(*issuer, *place):
            if text:
                yield from expression_findings(path, text, sees, expects)


def _unverified_address(values: Values, issuer: Path) -> Iterator[Finding]:
    place = (*issuer, "claimMappings", "username", "expression")
    username = values.text(*place)
    if not username or "email" not in claims_of(username):
        return
    texts = (username, *(text for place in _MAY_VERIFY for _, text in values.texts(*issuer, *place)))
    if not any("email_verified" in claims_of(text) for text in texts):
        yield Finding(
            place,
            "uses claims.email, which may be anybody's: claims.email_verified must be asked for here, in a"
            " claimValidationRules expression or in an extra one, such as claims.?email_verified.orValue(true) == true",
        )


def _readable(values: Values, path: Path) -> bool:
    return all(values.readable(*path, name, kind=str) for name in ("claim", "expression"))


def _given(values: Values, path: Path, name: str) -> bool:
    return values.text(*path, name) not in (None, "")
