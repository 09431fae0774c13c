"""Authorino's AuthConfig, as issuers and a policy for each.

Source: Authorino 0.24, api/v1beta3/auth_config_types.go (v1beta2 has the same fields), pkg/jsonexp, pkg/evaluators and
docs/architecture.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.expressions import Expects, ExpressionError, MissingExtraError, Sees, compile_expression
from authgate.tools.convert.fields import Reading
from authgate.tools.convert.locations import Reader, known_places, read_locations
from authgate.tools.convert.manifests import objects
from authgate.tools.convert.results import (
    CLUSTER_NAME,
    DENY_ALL,
    REVIEWS_ONLY,
    Result,
    both,
    claim_header,
    either,
    issuer_entry,
    quoted,
)
from authgate.tools.convert.values import ConversionError, Converted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from authgate.tools.convert.fields import Fields, Options
    from authgate.tools.convert.locations import Location

_NAME: Final = "Authorino"
_SECRET_FILE: Final = "/etc/authgate/introspection/secret"
_UNUSABLE: Final = {
    "apiKey": "authgate has no API keys",
    "x509": "authgate does not read client certificates",
    "plain": "authgate verifies tokens itself",
}
_COMMON: Final = {
    "priority": "authgate decides in its own order",
    "metrics": "authgate always counts decisions",
    "cache": "the section cache replaces it",
}
_OTHER_POLICIES: Final = ("opa", "spicedb")
_STRINGS: Final = re.compile(r"r?'(?:\\.|[^'\\])*'|r?\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_REQUEST: Final = {
    "context.request.http.method": "request.method",
    "context.request.http.host": "request.host",
    "context.request.http.path": "request.path",
    "request.method": "request.method",
    "request.host": "request.host",
    "request.path": "request.path",
    "request.url_path": "request.path",
}
_NUMBER: Final = re.compile(r"0|-?[1-9]\d{0,17}|-?(?:0|[1-9]\d{0,8})\.\d{0,5}[1-9]")
_JSON: Final = re.compile(r"-?\d+(?:\.\d+)?|[\[{].*", re.DOTALL)
_USER: Final = {"auth.identity.user.username": "user.username", "auth.identity.user.groups": "user.groups"}
_MAX_REFERENCES: Final = 256
_SEES: Final = Sees.CLAIMS | Sees.USER | Sees.REQUEST | Sees.NOW


def from_authorino(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that decides as the AuthConfigs of a manifest; raises `ConversionError`."""
    reading = Reading(_NAME)
    result = Result(reading, options)
    converters: list[_AuthConfig] = []
    for item in objects(text, reading):
        if item.kind != "AuthConfig":
            item.fields.omit_rest("only objects of kind AuthConfig are converted")
            continue
        item.fields.ignore("apiVersion", "kind", "metadata", "status")
        spec = item.fields.section("spec")
        if spec is None:
            raise item.fields.wrong(None, "needs a spec")
        converters.append(_AuthConfig(result, item.name, spec))
    if not converters:
        raise ConversionError([Problem("the file", "has no object of kind AuthConfig")])
    sources = [source for one in converters for source in one.sources]
    read_locations(result, sources, ("credentials",), "")
    for one in converters:
        one.add_issuers()
    if result.cluster and not result.cluster["audiences"]:
        result.cluster["audiences"] = [REVIEWS_ONLY]
    for one in converters:
        name = options.policy if len(converters) == 1 else one.name
        name = result.add_policy(name, one.policy())
        if len(converters) > 1:
            one.spec.note("hosts", f"need the policy {name}, which the proxy must choose by the host")
    if not result.jwt and not result.introspection and not result.cluster:
        message = "has no authentication that authgate can do"
        raise ConversionError([Problem("the file", message), *reading.finish()])
    if options.proxy is None:
        result.server["proxy"] = "envoy"
    return result.converted()


@dataclass(slots=True)
class _Source(Reader):
    """An authentication: the issuer that it became, and its condition."""

    name: str
    kind: str
    condition: str | None
    audiences: tuple[str, ...] = ()
    issuer: str = ""


@dataclass(slots=True)
class _AuthConfig:
    """One AuthConfig."""

    result: Result
    name: str
    spec: Fields
    sources: list[_Source] = field(default_factory=list)
    hosts: tuple[str, ...] = ()
    anonymous: bool = False
    replaced: set[str] = field(default_factory=set)
    named: Fields | None = None
    identified: bool = False
    """Whether conditions are about requests whose sender is known, so that they can read `auth.identity`."""
    references: list[str] = field(default_factory=list)
    """The names of the patterns that are being read."""
    expanded: int = 0
    """How many references to named patterns were replaced by them."""

    def __post_init__(self) -> None:
        spec = self.spec
        self.hosts = tuple(map(str.lower, spec.texts("hosts")))
        spec.omit("when", "the policy always applies, and Authorino allows all other requests")
        spec.omit("metadata", "authgate fetches no further data; a policy that needs it denies")
        spec.omit("callbacks", "the audit log (log.audit) replaces them")
        authentication = spec.section("authentication")
        for name, method in authentication.members() if authentication is not None else ():
            self._authentication(name, method)
        self.identified = True
        self._response(spec.section("response"))

    # Authentication

    def _authentication(self, name: str, method: Fields) -> None:
        method.omit_all({key: why for key, why in _COMMON.items() if key != "cache"})
        for key in ("overrides", "defaults"):
            changed = method.section(key)
            if changed is not None:
                self.replaced |= set(changed)
                changed.omit_rest("authgate does not change claims; a policy that needs these denies")
        kind = next(
            (key for key in ("jwt", "oauth2Introspection", "kubernetesTokenReview") if key in method), ""
        )
        if "anonymous" in method.values:
            method.ignore("anonymous", "credentials")
            if "when" in method:
                method.omit(
                    "when", "and the authentication with it: authgate cannot open requests by such conditions"
                )
            else:
                self.anonymous = True
        elif kind:
            condition = self._all(method, "when") if "when" in method else ""
            if condition is None:
                method.note("when", "cannot be an expression: the authentication is omitted")
            self.sources.append(_Source(method, _places(method), name, kind, condition))
        else:
            found = [key for key in _UNUSABLE if key in method.values]
            method.ignore(*method)
            method.note(None, f"is omitted: {_UNUSABLE[found[0]] if found else 'authgate does not know it'}")

    def add_issuers(self) -> None:
        """Add the issuers of the authentication to the result."""
        for source in self.sources:
            method = source.fields.section(source.kind)
            if method is None or not source.places or source.condition is None:
                source.fields.ignore(*source.fields)
                if method is not None:
                    method.ignore(*method)
                continue
            if source.kind == "jwt":
                source.fields.omit("cache", _COMMON["cache"])
                self._add_jwt(source, method)
            elif source.kind == "oauth2Introspection":
                self._add_introspection(source, method)
            else:
                source.fields.omit("cache", _COMMON["cache"])
                self._add_cluster(source, method)

    def _accepted(self, fields: Fields) -> list[str]:
        fields.note(
            None, "checks no audience in Authorino: authgate accepts only the audiences of --audience"
        )
        return list(self.result.options.audiences)

    def _add_jwt(self, source: _Source, method: Fields) -> None:
        method.omit("ttl", "authgate fetches discovery and keys again at keys.refresh")
        url = method.text("issuerUrl")
        timeout = _timeout(method)
        if not url:
            method.omit(
                "jwksUrl", "authgate needs the issuer of the tokens: write a jwt entry with gate.jwksURL"
            )
            return
        method.omit("jwksUrl", "the issuer's discovery finds the keys")
        gate: dict[str, Any] = {"keys": {"timeout": timeout}} if timeout else {}
        known = next((item for item in self.result.jwt if item["issuer"]["url"] == url), None)
        accepted = self._accepted(method)
        if known is not None:
            source.issuer = known["gate"]["name"]
            return
        source.issuer = self.result.issuer_name(source.name)
        entry = issuer_entry(url, accepted, name=source.issuer, **gate)
        entry["claimMappings"] = {"username": {"claim": "sub", "prefix": f"{source.issuer}:"}}
        self.result.jwt.append(entry)

    def _add_introspection(self, source: _Source, method: Fields) -> None:
        timeout = _timeout(method)
        method.omit("tokenTypeHint", "authgate sends no hint")
        reference = method.section("credentialsRef")
        secret = "" if reference is None else reference.text("name")
        cache = source.fields.section("cache")
        ttl = "0s"
        if cache is not None:
            cache.omit("key", "authgate's key is the token")
            ttl = f"{cache.scalar('ttl') or 60}s"
        endpoint = method.text("endpoint")
        if any("prefix" not in item for item in self.result.introspection):
            source.fields.note(
                None, "is omitted: another endpoint gets the opaque tokens; give one of them a prefix"
            )
            return
        method.note(
            "credentialsRef",
            f"needs the Secret {secret}: write its clientSecret to {_SECRET_FILE}, and its clientID into clientAuth",
        )
        server: dict[str, Any] = {
            "name": self.result.issuer_name(source.name),
            "endpoint": endpoint,
            "clientAuth": {"clientID": "authgate", "secretFile": _SECRET_FILE},
            "audiences": self._accepted(method),
            "cache": {"ttl": ttl, "negativeTTL": "0s"},
            "claimMappings": {"username": {"claim": "sub", "prefix": f"{source.name}:"}},
        }
        if timeout:
            server["timeout"] = timeout
        self.result.introspection.append(server)
        source.issuer = server["name"]

    def _add_cluster(self, source: _Source, method: Fields) -> None:
        timeout = _timeout(method)
        audiences = method.texts("audiences")
        if not audiences and len(self.hosts) == 1 and "*" not in self.hosts[0]:
            audiences = self.hosts
        if not audiences:
            source.fields.note(
                None, "is omitted: without audiences, the host is the audience, and there are several"
            )
            return
        cluster = self._cluster()
        cluster["audiences"] = list(dict.fromkeys([*cluster["audiences"], *audiences]))
        if timeout:
            cluster["tokenReview"]["timeout"] = timeout
        source.issuer, source.audiences = CLUSTER_NAME, audiences

    def _cluster(self) -> dict[str, Any]:
        cluster = self.result.cluster
        if not cluster:
            cluster.update({"name": CLUSTER_NAME, "audiences": [], "tokenReview": {"mode": "always"}})
        return cluster

    # The policy

    def policy(self) -> dict[str, Any]:
        """Return the policy."""
        self.named = self.spec.section("patterns")
        conditions, review, needs_identity = self._authorization()
        host = _hosts(self.hosts)
        entries = []
        for source in self.sources:
            if source.issuer:
                parts = [part for part in (host, source.condition, *conditions) if part]
                entry: dict[str, Any] = {"issuers": [source.issuer]}
                entries.append({**entry, "expression": both(*parts)} if parts else entry)
        if self.named is not None:
            self.named.omit_rest("no policy uses them")
        policy: dict[str, Any] = {}
        audiences = self._audiences()
        if audiences:
            policy["audiences"] = audiences
        if "false" in conditions or not entries:
            entries = []
        open_rule = self._open(needs_identity)
        if not entries and open_rule is None:
            self.spec.note("hosts", "no client may pass there: the policy denies every request")
            return dict(DENY_ALL)
        foreign = self._foreign()
        if foreign:
            policy["deny"] = [{"issuers": foreign}]
        policy["allow"] = entries or [{"users": ["*"], "expression": "false"}]
        if review is not None:
            policy["accessReview"] = review
        if open_rule is not None:
            policy["rules"] = [open_rule]
        return policy

    def _open(self, needs_identity: bool) -> dict[str, Any] | None:
        """Return the rule for requests without a token."""
        if not self.anonymous:
            return None
        plain = all(re.fullmatch(r"(\*\.)?[a-z0-9][a-z0-9._-]*", host) for host in self.hosts)
        if needs_identity or not (plain or "*" in self.hosts):
            self.spec.note(
                "authentication",
                "has anonymous access omitted: a policy applies to it, or a host is a pattern",
            )
            return None
        return {**({} if "*" in self.hosts else {"hosts": list(self.hosts)}), "anonymous": True}

    def _audiences(self) -> list[str]:
        """Return the audiences of the policy, if another policy has others."""
        if not any(source.audiences for source in self.sources):
            return []
        own = [audience for source in self.sources for audience in source.audiences]
        others = [source for source in self.sources if source.issuer and source.issuer != CLUSTER_NAME]
        accepted = list(dict.fromkeys([*own, *(self.result.options.audiences if others else ())]))
        return accepted if set(self.result.cluster["audiences"]) - set(accepted) else []

    def _foreign(self) -> list[str]:
        names = [CLUSTER_NAME] if self.result.cluster else []
        names += [item["gate"]["name"] for item in self.result.jwt]
        names += [item["name"] for item in self.result.introspection]
        own = {source.issuer for source in self.sources}
        return [name for name in names if name not in own]

    # Authorization

    def _authorization(self) -> tuple[list[str], dict[str, Any] | None, bool]:
        """Return the conditions of all policies, the access review, and whether there is any policy."""
        authorization = self.spec.section("authorization")
        conditions: list[str] = []
        reviews: list[dict[str, Any]] = []
        count = 0
        for name, policy in authorization.members() if authorization is not None else ():
            count += 1
            policy.omit_all(_COMMON)
            when = self._all(policy, "when") if "when" in policy else ""
            review = policy.section("kubernetesSubjectAccessReview")
            if review is not None:
                if "when" in policy:
                    policy.note("when", "is ignored: the access is always reviewed")
                made = self._review(review)
                if made is None:
                    policy.note(
                        None, "is an access review that authgate cannot do: the policy denies every request"
                    )
                    conditions.append("false")
                else:
                    reviews.append(made)
                continue
            condition = self._patterns(policy, name)
            if "when" in policy and when is None:
                policy.note("when", "cannot be an expression: the policy always applies")
            if condition is None:
                condition = "false"
            conditions.append(either([f"!({when})", condition]) if when else condition)
        for _ in reviews[1:]:
            self.spec.note(
                "authorization", "has several access reviews: authgate does one, so every request is denied"
            )
            conditions.append("false")
        if reviews:
            self._cluster()
        return (
            [condition for condition in conditions if condition],
            (reviews[0] if reviews else None),
            count > 0,
        )

    def _patterns(self, policy: Fields, name: str) -> str | None:
        """Return the condition of a policy, or None if there is no equivalent, which is noted."""
        matching = policy.section("patternMatching")
        for other in _OTHER_POLICIES:
            policy.omit(other, "authgate cannot ask it: the policy denies its requests")
        if matching is None:
            return None
        condition = self._all(matching, "patterns")
        if condition is None:
            matching.note("patterns", f"cannot be an expression: {name} denies its requests")
        return condition

    def _all(self, holder: Fields, name: str) -> str | None:
        """Return an expression for a list of patterns that must all match, "" for an empty list, or None."""
        parts = [self._pattern(pattern) for pattern in holder.sections(name)]
        known = [part for part in parts if part is not None]
        return None if len(known) < len(parts) else both(*known) if known else ""

    def _pattern(self, pattern: Fields) -> str | None:
        if "all" in pattern:
            return self._all(pattern, "all") or None
        if "any" in pattern:
            parts = [self._pattern(item) for item in pattern.sections("any")]
            return None if None in parts or not parts else either(part for part in parts if part is not None)
        if "patternRef" in pattern:
            return self._referenced(pattern.text("patternRef"))
        if "predicate" in pattern:
            return self._predicate(pattern.text("predicate"))
        return self._comparison(pattern.text("selector"), pattern.text("operator"), pattern.text("value"))

    def _referenced(self, name: str) -> str | None:
        """Return an expression for named patterns; None if they contain themselves, or if there are too many."""
        values = self.named or self.spec.section("patterns")
        self.expanded += 1
        if values is None or name not in values or name in self.references or self.expanded > _MAX_REFERENCES:
            return None
        self.references.append(name)
        condition = self._all(values, name)
        self.references.pop()
        return condition or None

    def _comparison(self, selector: str, operator: str, value: str) -> str | None:
        """Return an expression for a selector, an operator and a value."""
        text, listed = self._selected(selector, "''"), self._selected(selector, "[]")
        if text is None or listed is None:
            return None
        literals = [quoted(value)] if text.startswith(("request.", "user.")) else _literals(value)
        if literals is None:
            return None
        if operator in ("eq", "neq"):
            condition = either(f"{text} == {literal}" for literal in literals)
            return condition if operator == "eq" else f"!({condition})"
        if operator in ("incl", "excl") and value:  # whether null contains "" depends on where it is
            values = f"(type({listed}) == list ? dyn({listed}) : dyn([{listed}]))"
            condition = f"{values}.exists(v, {either(f'v == {literal}' for literal in literals)})"
            return condition if operator == "incl" else f"!({condition})"
        if operator == "matches":
            condition = f"string({text}).matches({quoted(value)})"
            return condition if _compiles(condition) else None
        return None

    def _selected(self, selector: str, missing: str) -> str | None:
        """Return the expression of a selector; a missing claim is `missing`."""
        if selector in _REQUEST:
            return _REQUEST[selector]
        if not self.identified:
            return None
        kinds = {source.kind for source in self.sources}
        if kinds == {"kubernetesTokenReview"}:
            return _USER.get(selector)
        path = selector.removeprefix("auth.identity.").split(".")
        if (
            not selector.startswith("auth.identity.")
            or path[0] in self.replaced
            or "kubernetesTokenReview" in kinds
        ):
            return None
        if not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in path):
            return None
        value = "claims" + "".join(f"[?{quoted(part)}]" for part in path) + f".orValue({missing})"
        return value if len(path) == 1 else f"dyn({value})"

    def _predicate(self, text: str) -> str | None:
        """Return a CEL expression of Authorino with authgate's variables, or None if it needs others."""
        kinds = {source.kind for source in self.sources}
        parts: list[str] = []
        end = 0
        for found in _STRINGS.finditer(text):
            parts += [self._variables(text[end : found.start()], kinds), found[0]]
            end = found.end()
        parts.append(self._variables(text[end:], kinds))
        written = "".join(parts).strip()
        if "\x00" in written:
            return None
        for expression in (written, f"({written}) == true"):
            if _compiles(expression):
                return expression
        return None

    def _variables(self, text: str, kinds: set[str]) -> str:
        """Replace variables in a part of an expression; a NUL is put in the place of one that is not known."""
        if not self.identified:
            pass
        elif kinds == {"kubernetesTokenReview"}:
            text = re.sub(r"\bauth\.identity\.user\.(username|groups)\b", r"user.\1", text)
        elif "kubernetesTokenReview" not in kinds:
            text = re.sub(r"\bauth\.identity\.([A-Za-z_][A-Za-z0-9_]*)", self._claim, text)
            text = re.sub(r"\bauth\.identity\b(?!\.)", "claims", text) if not self.replaced else text
        text = re.sub(r"\b(?:context\.request\.http|request)\.(method|host|path)\b", r"request.\1", text)
        text = re.sub(r"\brequest\.url_path\b", "request.path", text)
        unknown = r"\b(?:auth|context|source|destination|metadata)\b|\brequest\b(?!\.(?:method|host|path)\b)"
        return re.sub(unknown, "\x00", text)

    def _claim(self, found: re.Match[str]) -> str:
        return "\x00" if found[1] in self.replaced else f"claims.{found[1]}"

    def _review(self, review: Fields) -> dict[str, Any] | None:
        """Return the access review, if authgate's is about the same user, groups and access."""
        review.omit("timeout", "cluster.tokenReview.timeout is also the timeout of access reviews")
        user, groups = self._value(review.section("user")), self._value(review.section("authorizationGroups"))
        attributes = review.section("resourceAttributes")
        static = review.texts("groups")
        values: dict[str, str | None] = {}
        for name in ("group", "resource", "subresource", "name", "namespace", "verb"):
            part = None if attributes is None else attributes.section(name)
            if part is not None:
                values[name] = self._value(part)
        of_cluster = {source.kind for source in self.sources} == {"kubernetesTokenReview"}
        if not of_cluster or static or user != "{{ .Username }}" or groups != "{{ .Groups }}":
            review.note(None, "must be about auth.identity.user.username and .groups: authgate sends both")
            return None
        if attributes is None:
            return {"nonResource": "request"}
        texts = {name: text for name, text in values.items() if text}
        if (
            None in values.values()
            or not {"resource", "verb"} <= set(texts)
            or "{{ .Groups }}" in texts.values()
        ):
            review.note(
                "resourceAttributes",
                "needs a resource and a verb, and values that do not depend on requests",
            )
            return None
        return {"resource": texts}

    @staticmethod
    def _value(value: Fields | None) -> str | None:
        """Return a value for an access review: a text, or a placeholder; None if it depends on something else."""
        if value is None:
            return None
        if "value" in value:
            return value.text("value")
        chosen = (value.text("selector") or value.text("expression")).strip()
        known = {
            "auth.identity.user.username": "{{ .Username }}",
            "auth.identity.user.groups": "{{ .Groups }}",
        }
        return known.get(chosen)

    # Responses

    def _response(self, response: Fields | None) -> None:
        if response is None:
            return
        for name in ("unauthenticated", "unauthorized"):
            response.omit(name, "authgate's responses are fixed; the proxy can have error pages")
        success = response.section("success")
        if success is None:
            return
        success.omit("dynamicMetadata", "authgate sends headers only")
        headers = success.section("headers")
        for name, header in headers.members() if headers is not None else ():
            header.omit_all(_COMMON)
            plain = header.section("plain")
            chosen = "" if plain is None else (plain.text("selector") or plain.text("expression")).strip()
            path = re.fullmatch(r"auth\.identity((?:\.[A-Za-z0-9_]+)+)", chosen)
            claim = None if path is None else path[1][1:]
            if claim is None or claim.split(".")[0] in (*self.replaced, "user") or "when" in header:
                header.ignore(*header)
                if plain is not None:
                    plain.ignore(*plain)
                header.note(None, "is omitted: only one claim can be a header")
            else:
                claim_header(self.result, header, header.text("key") or name, claim)


def _places(method: Fields) -> tuple[Location, ...]:
    credentials = method.section("credentials")
    places: list[Location] = []
    if credentials is not None:
        for name, kind in (("customHeader", "header"), ("queryString", "query"), ("cookie", "cookie")):
            place = credentials.section(name)
            if place is not None:
                text = place.text("name")
                places.append((kind, text.lower() if kind == "header" else text, ""))
        header = credentials.section("authorizationHeader")
        if header is not None:
            places.append(("header", "authorization", header.text("prefix") or "Bearer"))
    return known_places(places)


def _timeout(method: Fields) -> str:
    milliseconds = method.scalar("timeout")
    if milliseconds is None:
        return ""
    if not isinstance(milliseconds, int) or not 100 <= milliseconds <= 30000:
        method.note("timeout", "is omitted: authgate's timeouts are between 100ms and 30s")
        return ""
    return f"{milliseconds}ms"


def _hosts(hosts: Iterable[str]) -> str:
    """Return an expression for the hosts of an AuthConfig, "" for any."""
    plain = [host for host in hosts if not host.startswith("*")]
    wide = [host[1:] for host in hosts if host.startswith("*")]
    if "" in wide:
        return ""
    parts = [f"request.host.endsWith({quoted(host)})" for host in wide]
    if plain:
        parts.insert(0, f"request.host in [{', '.join(map(quoted, plain))}]")
    return either(parts) if parts else "false"


def _literals(value: str) -> list[str] | None:
    """Return the values of CEL that Authorino compares as this text, or None if an expression cannot have them all.

    It compares null as "", and lists and objects as their JSON text.
    """
    if _NUMBER.fullmatch(value):
        return [quoted(value), value]
    if _JSON.fullmatch(value):
        return None
    other = {"true": "true", "false": "false", "": "null"}.get(value)
    return [quoted(value)] if other is None else [quoted(value), other]


def _compiles(expression: str) -> bool:
    try:
        compile_expression(expression, _SEES, Expects.BOOL)
    except ExpressionError:
        return False
    except MissingExtraError:
        pass  # the check of the result reports it
    return True
