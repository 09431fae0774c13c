"""Istio's RequestAuthentication and AuthorizationPolicy, as issuers and policies.

Source: Istio 1.30, security/v1beta1/request_authentication.proto and authorization_policy.proto, and the documentation
of the conditions of an AuthorizationPolicy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.tools.convert.envoy import duration
from authgate.tools.convert.fields import Reading
from authgate.tools.convert.locations import Reader, header_place, known_places, read_locations
from authgate.tools.convert.manifests import objects
from authgate.tools.convert.paths import below, exact_path, of_regex
from authgate.tools.convert.results import (
    DENY_ALL,
    Result,
    both,
    claim_header,
    either,
    has_audience,
    issuer_label,
    quoted,
)
from authgate.tools.convert.values import ConversionError, Converted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from authgate.tools.convert.fields import Fields, Options
    from authgate.tools.convert.manifests import Object

_NAME: Final = "Istio"
_ROOT: Final = "istio-system"
_TOKEN: Final = {"allow": [{"users": ["*"]}]}
_PLACES: Final = ("fromHeaders", "fromParams", "fromCookies")
_SPLIT: Final = ("scope", "permission")
"""The claims that Istio always reads as lists separated by spaces."""

_CLAIM: Final = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")
_PRINCIPAL: Final = "string(claims.iss) + '/' + string(claims.sub)"
_OTHER_SOURCES: Final = (
    "principals",
    "namespaces",
    "ipBlocks",
    "remoteIpBlocks",
    "serviceAccounts",
    "trustDomains",
)


def from_istio(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that decides as the objects of a manifest; raises `ConversionError`."""
    reading = Reading(_NAME)
    result = Result(reading, options)
    scopes: dict[_Scope, _Scope] = {}
    found: list[_Authentication | _Policy] = []
    for item in objects(text, reading):
        if item.kind not in ("RequestAuthentication", "AuthorizationPolicy"):
            item.fields.omit_rest("only RequestAuthentication and AuthorizationPolicy are converted")
            continue
        item.fields.ignore("apiVersion", "kind", "status")
        spec = item.fields.section("spec")
        dry_run = _dry_run(item)
        scope = _scope(item, spec)
        scopes.setdefault(scope, scope).selectors.extend(_selectors(spec))
        if item.kind == "RequestAuthentication":
            rules = () if spec is None else spec.sections("jwtRules")
            found.append(_Authentication(scope, item, [_Rule(rule, _places(rule)) for rule in rules]))
        elif dry_run:
            item.fields.note(
                "metadata", "is a dry run: it is not converted; policies.NAME.shadow has the same purpose"
            )
            if spec is not None:
                spec.ignore(*spec)
        else:
            found.append(_Policy(scope, spec, item))
    issuers = [rule for one in found if isinstance(one, _Authentication) for rule in one.rules]
    if not issuers:
        raise ConversionError([Problem("the file", "has no RequestAuthentication with jwtRules")])
    _note_namespaces(found)
    read_locations(
        result, issuers, _PLACES, "also reads the query parameter access_token in Istio: authgate does not"
    )
    for rule in issuers:
        _add_issuer(result, rule)
    names: dict[_Scope, str] = {}
    for scope in scopes:
        policy = _Writer(result, scope, found).policy()
        names[scope] = name = result.add_policy(options.policy if len(scopes) == 1 else scope.name, policy)
        for fields, field_name in scope.selectors:
            fields.note(
                field_name, f"has no counterpart: let the proxies of these workloads use the policy {name}"
            )
    for scope in scopes:
        others = [names[other] for other in scopes if scope.may_share_workloads_with(other)]
        for fields, field_name in scope.selectors if others else ():
            fields.note(
                field_name,
                f"may also match workloads of {', '.join(others)}: in Istio both apply to them, and the result has no"
                " policy for both",
            )
    if options.proxy is None:
        result.server["proxy"] = "envoy"
    return result.converted()


def _note_namespaces(found: list[_Authentication | _Policy]) -> None:
    """Note that objects of several namespaces apply to their own only, except in the usual root namespace."""
    first = {one.scope.namespace: one.item for one in found if one.scope.namespace != _ROOT}
    for namespace, item in first.items() if len(first) > 1 else ():
        item.fields.note(
            "metadata",
            f"has the namespace {namespace}, whose objects apply only there: the root namespace is {_ROOT}",
        )


# Which objects apply to which workloads


@dataclass(frozen=True, slots=True)
class _Scope:
    """The workloads of an object: a namespace, and labels or a target."""

    namespace: str
    labels: frozenset[tuple[str, str]]
    target: str = ""
    selectors: list[tuple[Fields, str]] = field(default_factory=list, compare=False)

    @property
    def name(self) -> str:
        """A name for the policy of these workloads."""
        app = next((value for name, value in sorted(self.labels) if name.endswith(("app", "name"))), "")
        return "-".join(
            filter(None, (self.namespace, app or "-".join(v for _, v in sorted(self.labels)), self.target))
        )

    def applies_to(self, other: _Scope) -> bool:
        """Return whether an object with this scope applies to all workloads of another scope."""
        here = self.namespace in (other.namespace, _ROOT)
        return here and self.labels <= other.labels and (not self.target or self.target == other.target)

    def may_share_workloads_with(self, other: _Scope) -> bool:
        """Return whether some workloads may have objects of both scopes, although neither includes the other."""
        if self.applies_to(other) or other.applies_to(self):
            return False
        labels = dict(self.labels)
        return (
            (self.namespace == other.namespace or _ROOT in (self.namespace, other.namespace))
            and all(labels.get(name, text) == text for name, text in other.labels)
            and self.target == other.target
        )


@dataclass(slots=True)
class _Rule(Reader):
    """A jwtRule, and the issuer that it became."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    split: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Authentication:
    scope: _Scope
    item: Object
    rules: list[_Rule]


@dataclass(frozen=True, slots=True)
class _Policy:
    scope: _Scope
    spec: Fields | None
    item: Object


def _selectors(spec: Fields | None) -> list[tuple[Fields, str]]:
    names = ("selector", "targetRef", "targetRefs")
    return [] if spec is None else [(spec, name) for name in names if name in spec]


def _scope(item: Object, spec: Fields | None) -> _Scope:
    labels: frozenset[tuple[str, str]] = frozenset()
    target = ""
    if spec is not None:
        selector = spec.section("selector")
        match = None if selector is None else selector.section("matchLabels")
        if match is not None:
            labels = frozenset((name, match.text(name)) for name in match)
        one = spec.section("targetRef")
        for reference in (*spec.sections("targetRefs"), *((one,) if one is not None else ())):
            names = [reference.text(name) for name in ("kind", "name")]
            reference.ignore("group", "namespace", "sectionName")
            target = "-".join(filter(None, (target, *names)))
    return _Scope(item.namespace or "default", labels, target)


def _dry_run(item: Object) -> bool:
    metadata = item.fields.section("metadata")
    if metadata is None:
        return False
    annotations = metadata.section("annotations") if "annotations" in metadata else None
    found = annotations is not None and annotations.text("istio.io/dry-run") == "true"
    for fields in (metadata, annotations):
        if fields is not None:
            fields.ignore(*fields)
    return found


# Issuers


def _places(rule: Fields) -> tuple[tuple[str, str, str], ...]:
    headers = rule.sections("fromHeaders")
    places = [header_place(header.text("name"), header.text("prefix")) for header in headers]
    places += [("query", name, "") for name in rule.texts("fromParams")]
    places += [("cookie", name, "") for name in rule.texts("fromCookies")]
    return known_places(places)


def _add_issuer(result: Result, rule: _Rule) -> None:
    fields = rule.fields
    url = fields.text("issuer")
    own = fields.texts("audiences")
    gate: dict[str, Any] = {"leeway": "60s", "expiryLeeway": "60s"}
    keys = fields.text("jwksUri") or fields.text("jwks_uri")
    if keys:
        gate["jwksURL"] = keys
    elif "jwks" in fields:
        gate["staticKeys"] = {"inline": fields.text("jwks")}
    timeout = duration(fields, "timeout")
    if timeout is not None:
        gate["keys"] = {"timeout": timeout}
    rule.split = (*_SPLIT, *fields.texts("spaceDelimitedClaims"))
    fields.omit("forwardOriginalToken", "to keep the token, use authgate snippets envoy --keep-authorization")
    fields.omit("outputPayloadToHeader", "use headers.set for claims, or identityToken for a signed identity")
    for header in fields.sections("outputClaimToHeaders"):
        claim_header(result, header, header.text("header"), header.text("claim"))
    if not rule.places:
        return
    accepted = own or result.options.audiences
    if not own:
        fields.note(
            None, "has no audiences, so Istio accepts every audience, and authgate only those of --audience"
        )
    rule.audiences = accepted
    name = result.add_issuer(issuer_label(url), url, accepted, gate, [])
    if name is None:
        fields.note(None, "is omitted: another rule has the same issuer and other keys")
    rule.issuer = name or ""


# Policies


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation: its expression ("" for any), and the conditions of a rule, or None if a rule cannot have them.

    `without` are the conditions of a rule for everything that the operation excludes, if it only excludes something.
    """

    expression: str = ""
    rule: dict[str, Any] | None = field(default_factory=dict)
    without: dict[str, Any] | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Converted:
    """A rule: its conditions on the client, and its operations.

    `identity` is an expression ("" for any token); `issuers` are the names of the only issuers. `anonymous` is whether
    a request without a token can match.
    """

    identity: str
    issuers: tuple[str, ...]
    operations: list[_Operation]
    anonymous: bool

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of allow or deny for tokens."""
        entry: dict[str, Any] = {"issuers": list(self.issuers)} if self.issuers else {}
        operations = [operation.expression for operation in self.operations]
        conditions = [self.identity, either(operations) if all(operations) else ""]
        expression = both(*filter(None, conditions)) if any(conditions) else ""
        if expression:
            entry["expression"] = expression
        return entry or {"users": ["*"]}


class _Writer:
    """Writes the policy of the workloads of one scope."""

    def __init__(self, result: Result, scope: _Scope, found: Iterable[_Authentication | _Policy]) -> None:
        self._result = result
        applying = [one for one in found if one.scope.applies_to(scope)]
        self._rules = [rule for one in applying if isinstance(one, _Authentication) for rule in one.rules]
        self._policies = [one for one in applying if isinstance(one, _Policy)]
        self._split = {name for rule in self._rules for name in rule.split}

    def policy(self) -> dict[str, Any]:
        """Return the policy."""
        allow, deny = self._converted()
        policy: dict[str, Any] = {}
        entries = [*self._foreign(), *(one.entry for one in deny if not self._is_false(one))]
        if entries:
            policy["deny"] = entries
        if allow is not None and not allow:
            return dict(DENY_ALL)
        if allow is not None:
            policy["allow"] = [one.entry for one in allow]
        rules = self._open(allow, deny, policy.get("allow"))
        if rules:
            policy["rules"] = rules
        return policy

    @staticmethod
    def _is_false(rule: _Converted) -> bool:
        return rule.identity == "false"

    def _foreign(self) -> Iterator[dict[str, Any]]:
        """Yield entries for tokens that these workloads do not accept, but others do."""
        names = {rule.issuer for rule in self._rules}
        others = [item["gate"]["name"] for item in self._result.jwt if item["gate"]["name"] not in names]
        if others:
            yield {"issuers": others}
        for name in sorted(filter(None, names)):
            accepted = {
                audience for rule in self._rules if rule.issuer == name for audience in rule.audiences
            }
            if accepted < set(self._result.issuer(name)["issuer"]["audiences"]):
                yield {"issuers": [name], "expression": f"!{has_audience(sorted(accepted))}"}

    def _converted(self) -> tuple[list[_Converted] | None, list[_Converted]]:
        """Return the rules that allow, or None if there is no such policy, and the rules that deny."""
        allow: list[_Converted] | None = None
        deny: list[_Converted] = []
        for one in self._policies:
            spec, item = one.spec, one.item
            action = "ALLOW" if spec is None else spec.text("action") or "ALLOW"
            rules = () if spec is None else spec.sections("rules")
            if spec is not None:
                provider = spec.section("provider")
                if provider is not None:
                    provider.text("name")
            if action == "AUDIT":
                for rule in rules:
                    rule.ignore(*rule)
                item.fields.note("spec", "is omitted: log.audit replaces AUDIT")
            elif action == "ALLOW":
                allow = allow or []
                made = [self._rule(rule, denies=False) for rule in rules]
                allow += [rule for rule in made if rule is not None]
            else:
                if action != "DENY":
                    item.fields.note("spec", f"has the action {action}: authgate denies its requests")
                made = [self._rule(rule, denies=True) for rule in rules]
                deny += [rule for rule in made if rule is not None]
        return allow, deny

    def _rule(self, rule: Fields, *, denies: bool) -> _Converted | None:
        """Convert a rule; None if it has no effect in the result, which is noted."""
        sources = []
        for holder in rule.sections("from"):
            source = holder.section("source")
            if source is None:
                continue
            sources.append(self._source(source, denies=denies))
        kept = [source for source in sources if source is not None]
        operations = []
        for holder in rule.sections("to"):
            operation = holder.section("operation")
            if operation is not None:
                operations.append(self._operation(operation, denies=denies))
        conditions = [self._condition(condition, denies=denies) for condition in rule.sections("when")]
        if not denies and (None in conditions or (sources and not kept)):
            rule.note(None, "is omitted: it allows no request in authgate")
            return None
        if not denies:
            operations, all_of_them = [one for one in operations if one.complete], operations
            if all_of_them and not operations:
                rule.note(None, "is omitted: it allows no request in authgate")
                return None
        known = [condition for condition in conditions if condition is not None]
        if sources and len(kept) < len(sources):
            kept = [] if denies else kept
        identities = [source.expression for source in kept]
        issuers = {name for source in kept for name in source.issuers}
        if any(not source.issuers for source in kept) or any(identities):
            issuers = set()
            identities = [
                both(*filter(None, (self._of_issuers(source.issuers), source.expression)))
                if source.issuers or source.expression
                else ""
                for source in kept
            ]
        identity = "" if not all(identities) or not kept else either(identities)
        parts = [part for part in (identity, *(condition.expression for condition in known)) if part]
        return _Converted(
            both(*parts) if parts else "",
            tuple(sorted(issuers)),
            operations or [_Operation()],
            anonymous=(not kept or any(source.anonymous for source in kept))
            and all(condition.anonymous for condition in known),
        )

    def _of_issuers(self, names: tuple[str, ...]) -> str:
        urls = [self._result.issuer(name)["issuer"]["url"] for name in names]
        return f"claims.iss in [{', '.join(map(quoted, urls))}]" if urls else ""

    def _source(self, source: Fields, *, denies: bool) -> _Identity | None:
        """Return the conditions of a source; None if it cannot be known."""
        other = [
            name
            for plain in _OTHER_SOURCES
            for name in (plain, f"not{plain[0].upper()}{plain[1:]}")
            if name in source
        ]
        for name in other:
            effect = "the rule denies every client" if denies else "the source is omitted"
            source.omit(name, f"authgate decides by tokens only; {effect}")
        principals, others = source.texts("requestPrincipals"), source.texts("notRequestPrincipals")
        if other:
            return None
        issuers: tuple[str, ...] = ()
        parts: list[str] = []
        if principals and "*" not in principals:
            named = [self._issuer_of(text) for text in principals]
            if None in named:
                parts.append(f"[{_PRINCIPAL}].exists(p, {_patterns('p', principals)})")
            else:
                issuers = tuple(sorted({name for name in named if name is not None}))
        if others:
            everyone = "*" in others
            parts.append("false" if everyone else f"![{_PRINCIPAL}].exists(p, {_patterns('p', others)})")
        expression = "false" if "false" in parts else both(*parts) if parts else ""
        return _Identity(expression, issuers, anonymous=not principals)

    def _issuer_of(self, pattern: str) -> str | None:
        """Return the name of the issuer of a pattern such as `https://login.example.com/*`."""
        url = pattern.removesuffix("/*")
        known = {item["issuer"]["url"]: str(item["gate"]["name"]) for item in self._result.jwt}
        nested = any(other.startswith(f"{url}/") or url.startswith(f"{other}/") for other in known)
        return known.get(url) if pattern.endswith("/*") and not nested else None

    def _operation(self, operation: Fields, *, denies: bool) -> _Operation:
        parts: list[str] = []
        rule: dict[str, Any] | None = {}
        without: dict[str, Any] | None = None
        complete = True
        for name in ("ports", "notPorts"):
            if name in operation:
                effect = "these requests are denied on every port" if denies else "the operation is omitted"
                operation.omit(name, f"authgate does not know the port; {effect}")
                complete, rule = False, None
        negative = 0
        for name, subject, write in (
            ("hosts", "request.host", _host_rule),
            ("methods", "request.method", _method_rule),
            ("paths", "request.path", _path_rule),
        ):
            values = operation.texts(name)
            not_values = operation.texts(f"not{name.capitalize()}")
            if name == "hosts":
                values, not_values = (tuple(map(str.lower, texts)) for texts in (values, not_values))
            if values:
                parts.append(_patterns(subject, values))
                conditions = write(values)
                rule = None if rule is None or conditions is None else {**rule, **conditions}
            if not_values:
                negative += 1
                parts.append(f"!({_patterns(subject, not_values)})")
                without, rule = write(not_values), None
        if negative != 1 or len(parts) != 1:
            without = None
        return _Operation(both(*parts) if parts else "", rule, without, complete)

    def _condition(self, condition: Fields, *, denies: bool) -> _Identity | None:
        key = condition.text("key")
        values, others = condition.texts("values"), condition.texts("notValues")
        subject = self._subject(key)
        if subject is None:
            effect = "the rule ignores it and denies more" if denies else "the rule is omitted"
            condition.note("key", f"{key} is omitted: authgate does not know it; {effect}")
            return None
        parts = []
        if values:
            parts.append(f"{subject}.exists(v, {_patterns('v', values, typed=True)})")
        if others:
            parts.append(f"!{subject}.exists(v, {_patterns('v', others, typed=True)})")
        return _Identity(both(*parts) if parts else "", (), anonymous=not values)

    def _subject(self, key: str) -> str | None:
        """Return a list of the values of an attribute."""
        claim = _CLAIM.fullmatch(key)
        if claim is not None:
            names = claim[1][1:-1].split("][")
            path = "claims" + "".join(f"[?{quoted(name)}]" for name in names)
            text = f"{path}.orValue([])"
            words = f"dyn(string({text}).split(' '))" if ".".join(names) in self._split else f"dyn([{text}])"
            return f"(type({text}) == list ? dyn({text}) : {words})"
        if key == "request.auth.principal":
            return f"[{_PRINCIPAL}]"
        if key == "request.auth.audiences":
            return "(type(claims.aud) == list ? dyn(claims.aud) : dyn([claims.aud]))"
        if key == "request.auth.presenter":
            return "dyn([claims.?azp.orValue('')])"
        return None

    # Requests without a token

    def _open(
        self, allow: list[_Converted] | None, deny: list[_Converted], entries: list[dict[str, Any]] | None
    ) -> list[dict[str, Any]]:
        """Return the rules for requests without a token, which Istio allows unless a policy does not."""
        opened = self._opened(allow)
        first: list[dict[str, Any]] = []
        guards: list[dict[str, Any]] = []
        for denied in deny:
            for one in denied.operations if denied.anonymous else ():
                if one.rule and not denied.identity:
                    first.append({**one.rule, **DENY_ALL})
                elif one.rule:
                    guards.append({**one.rule, "allow": entries or _TOKEN["allow"]})
                elif one.without is not None and opened == [{}] and one.without:
                    opened = [one.without]
                else:
                    if one.rule is None and opened:
                        self._note(
                            "requests without a token are denied, because a rule cannot describe which are not"
                        )
                    opened = []
        if not opened:
            return first
        for rule in self._rules if opened == [{}] else ():
            rule.fields.note(
                None, "does not require a token, and no policy does: requests without a token are allowed"
            )
        return [*first, *guards, *({**conditions, "anonymous": True} for conditions in opened)]

    def _opened(self, allow: list[_Converted] | None) -> list[dict[str, Any]]:
        """Return the conditions of rules for requests that are allowed without a token unless they are denied."""
        if allow is None:
            return [{}]
        opened: list[dict[str, Any]] = []
        for rule in allow:
            if rule.anonymous and not rule.identity and not rule.issuers:
                opened += [one.rule for one in rule.operations if one.rule is not None]
                if any(one.rule is None for one in rule.operations):
                    self._note("open requests that a rule cannot describe need a token")
        return opened

    def _note(self, message: str) -> None:
        for one in self._policies:
            one.item.fields.note("spec", message)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Conditions on a token; `anonymous` is whether a request without a token meets them."""

    expression: str
    issuers: tuple[str, ...]
    anonymous: bool


def _patterns(subject: str, values: Iterable[str], *, typed: bool = False) -> str:
    """Return an expression: a text matches one of Istio's patterns."""
    exact: list[str] = []
    parts: list[str] = []
    for value in dict.fromkeys(values):
        template = _template(value)
        if template is not None:
            parts.append(f"{subject}.matches({quoted(template)})")
        elif value == "*":
            parts.append(f"{subject} != ''")
        elif value.endswith("*"):
            parts.append(f"{subject}.startsWith({quoted(value[:-1])})")
        elif value.startswith("*"):
            parts.append(f"{subject}.endsWith({quoted(value[1:])})")
        else:
            exact.append(quoted(value))
    if typed and parts:
        parts = [f"type({subject}) == string && ({either(parts)})"]
    if len(exact) == 1:
        parts.insert(0, f"{subject} == {exact[0]}")
    elif exact:
        parts.insert(0, f"{subject} in [{', '.join(exact)}]")
    return either(parts)


def _template(value: str) -> str | None:
    """Return the regular expression of a path template, or None for another pattern."""
    if "{*}" not in value and "{**}" not in value:
        return None
    parts = re.split(r"(\{\*\*\}|\{\*\})", value)
    texts = {"{*}": "[^/]+", "{**}": ".*"}
    return "^" + "".join(texts.get(part, re.escape(part)) for part in parts) + "$"


def _host_rule(values: Iterable[str]) -> dict[str, Any] | None:
    hosts = list(dict.fromkeys(values))
    if "*" in hosts:
        return {}
    return (
        {"hosts": hosts}
        if all(re.fullmatch(r"(\*\.)?[a-z0-9_][a-z0-9._-]*", host) for host in hosts)
        else None
    )


def _method_rule(values: Iterable[str]) -> dict[str, Any] | None:
    methods = list(dict.fromkeys(values))
    if "*" in methods:
        return {}
    return {"methods": methods} if all(re.fullmatch(r"[A-Z][A-Z-]{0,31}", text) for text in methods) else None


def _path_rule(values: Iterable[str]) -> dict[str, Any] | None:
    paths: list[str] = []
    for value in values:
        template = _template(value)
        if value in ("*", "/*"):
            return {}
        if template is not None:
            found = of_regex(template, whole=True)
        elif value.startswith("*"):
            found = None
        else:
            found = below(value[:-1]) if value.endswith("*") else exact_path(value)
        if found is None:
            return None
        paths += found
    return {"paths": list(dict.fromkeys(paths))}
