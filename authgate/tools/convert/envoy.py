"""Envoy's filter jwt_authn, as issuers and policies with rules.

Source: Envoy 1.36, api/envoy/extensions/filters/http/jwt_authn/v3/config.proto and config/route/v3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.config.models.fields import parse_duration
from authgate.tools.convert.fields import Reading
from authgate.tools.convert.locations import Reader, header_place, known_places, read_locations
from authgate.tools.convert.paths import below, exact_path, of_regex, start_of
from authgate.tools.convert.results import (
    DENY_ALL,
    Result,
    claim_header,
    has_audience,
    string_matcher,
)
from authgate.tools.convert.values import ConversionError, Converted, Original, read_original

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from authgate.config.problems import Path
    from authgate.tools.convert.fields import Fields, Options
    from authgate.tools.convert.locations import Location

_NAME: Final = "envoy-jwt-authn"
_FILTER: Final = "envoy.filters.http.jwt_authn"
_TYPE: Final = ".JwtAuthentication"
_MAX_SKEW: Final = 600
_SKEW: Final = 60
_OPEN: Final[dict[str, Any]] = {"anonymous": True}
_METADATA: Final = "only filters of Envoy read it; write their conditions into policies"
_ACCESS_TOKEN: Final = "also reads the query parameter access_token in Envoy: authgate does not"
_CONDITIONS: Final = (
    "connect_matcher",
    "dynamic_metadata",
    "filter_state",
    "grpc",
    "path_match_policy",
    "query_parameters",
    "runtime_fraction",
    "tls_context",
)


def from_envoy(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that decides as the filters jwt_authn of a configuration.

    The text is a bootstrap configuration, a listener, or any other part that contains the filters, or one filter's
    configuration. Raises `ConversionError`.
    """
    reading = Reading(_NAME)
    result = Result(reading, options)
    original = _snake(read_original(text))
    found = list(_filters(original.fields, ()))
    if not found:
        raise ConversionError([Problem("the file", f"has no filter {_FILTER}")])
    root = reading.open(original)
    if found[0][0]:
        root.omit_rest(f"only the filters {_FILTER} are converted")
    converters = []
    for path, values in found:
        below_root = Original(values, _below(original.lines, path), _label(path))
        fields = root if not path else reading.open(below_root)
        converters.append((_policy_name(original.fields, path), _Filter(result, fields)))
    providers = [provider for _, one in converters for provider in one.providers.values()]
    read_locations(result, providers, ("from_headers", "from_params", "from_cookies"), _ACCESS_TOKEN)
    for _, one in converters:
        one.add_issuers()
    routes = _routes(original, reading)
    several = len(converters) > 1
    for name, one in converters:
        policy = one.policy([] if several else routes)
        if several and routes:
            policy = DENY_ALL
        result.add_policy((name or "filter") if several else options.policy, policy)
    if several and routes:
        routes[0].setting.note(
            None, "is beside several filters, so every request is denied: convert each listener alone"
        )
    if options.proxy is None:
        result.server["proxy"] = "envoy"
    return result.converted()


# Finding the filters


def _filters(value: object, path: Path) -> Iterator[tuple[Path, Mapping[str, object]]]:
    if isinstance(value, dict):
        kind = str(value.get("@type") or "")
        if kind.endswith(_TYPE) or (not path and "providers" in value and not kind):
            yield path, value
            return
        for name, member in value.items():
            yield from _filters(member, (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _filters(item, (*path, index))


def _below(lines: Mapping[Path, int], path: Path) -> dict[Path, int]:
    return {place[len(path) :]: line for place, line in lines.items() if place[: len(path)] == path}


def _label(path: Path) -> str:
    return f"{_FILTER}" if path else ""


def _policy_name(root: Mapping[str, object], path: Path) -> str | None:
    """Return the name of the listener around a filter."""
    value: Any = root
    name = None
    for step in path:
        value = value[step]
        if isinstance(value, dict) and ("filter_chains" in value or "default_filter_chain" in value):
            name = value.get("name")
    return str(name) if name else None


@dataclass(frozen=True, slots=True)
class _Route:
    """A route, or something else in Envoy's configuration, that has a requirement of its own.

    `match` is None if it is not a route, and `first` is whether the routes before it have requirements of their own.
    `claimed` is whether Envoy prefers another virtual host for some of its hosts.
    """

    setting: Fields
    match: Fields | None
    hosts: tuple[str, ...]
    first: bool
    claimed: bool


def _has_own(value: object) -> bool:
    own = value.get("typed_per_filter_config") if isinstance(value, dict) else None
    return isinstance(own, dict) and _FILTER in own


def _routes(original: Original, reading: Reading) -> list[_Route]:
    """Return everything with requirements of its own."""
    found: list[_Route] = []
    domains = set(_domains(original.fields))

    def search(value: object, path: Path, hosts: tuple[str, ...], first: bool) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("domains"), tuple):
                hosts = _hosts(value["domains"])
            if _has_own(value):
                fields = reading.open(Original(value, _below(original.lines, path), "route"))
                own = fields.section("typed_per_filter_config")
                setting = None if own is None else own.section(_FILTER)
                match = fields.section("match")
                fields.ignore(*fields)
                if own is not None and setting is not None:
                    own.ignore(*own)
                    found.append(_Route(setting, match, hosts, first, _is_claimed(hosts, domains)))
            for name, member in value.items():
                search(member, (*path, name), hosts, False)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                search(
                    item,
                    (*path, index),
                    hosts,
                    path[-1:] == ("routes",) and all(map(_has_own, value[:index])),
                )

    search(original.fields, (), (), False)
    return found


def _hosts(domains: tuple[object, ...]) -> tuple[str, ...]:
    return tuple(str(domain).lower() for domain in domains)


def _domains(value: object) -> Iterator[str]:
    """Yield the domains of all virtual hosts."""
    if isinstance(value, dict):
        if isinstance(value.get("domains"), tuple):
            yield from _hosts(value["domains"])
        for member in value.values():
            yield from _domains(member)
    elif isinstance(value, tuple):
        for item in value:
            yield from _domains(item)


def _is_claimed(hosts: tuple[str, ...], domains: set[str]) -> bool:
    """Return whether a virtual host with other domains gets some requests for these hosts: the longer domain wins."""
    suffixes = [host[1:] for host in hosts if host.startswith("*")]
    others = [domain.partition(":")[0].removeprefix("*") for domain in domains.difference(hosts)]
    return any(other.endswith(suffix) for suffix in suffixes for other in others)


_CAMEL: Final = re.compile(r"[a-z]+(?:[A-Z][a-z0-9]*)+")


def _snake(original: Original) -> Original:
    """Return a document in which fields have the names of the protocol, which can also be written in camelCase."""

    def name(text: str) -> str:
        return (
            re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", text) if _CAMEL.fullmatch(text) else text
        )

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {name(member): walk(item) for member, item in value.items()}
        return tuple(map(walk, value)) if isinstance(value, tuple) else value

    fields = walk(original.fields)
    lines: dict[Path, int] = {}
    for path, line in original.lines.items():
        lines[tuple(name(step) if isinstance(step, str) else step for step in path)] = line
    return Original(fields if isinstance(fields, dict) else {}, lines)


# One filter


@dataclass(slots=True)
class _Provider(Reader):
    """A provider: the issuer that it became, and its audiences."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()


@dataclass(slots=True)
class _Filter:
    """One filter: its providers, and the requirements of its rules."""

    result: Result
    fields: Fields
    providers: dict[str, _Provider] = field(default_factory=dict)
    named: Fields | None = None

    def __post_init__(self) -> None:
        self.fields.ignore("@type")
        providers = self.fields.section("providers")
        for name, provider in providers.members() if providers is not None else ():
            self.providers[name] = _Provider(provider, _places(provider))
        self.named = self.fields.section("requirement_map")

    def add_issuers(self) -> None:
        """Add the issuers to the result, with all audiences that requirements name."""
        overrides: dict[str, set[str]] = {}
        _overrides(self.fields.values, overrides)
        for name, provider in self.providers.items():
            _Issuer(self.result, name, provider).convert(sorted(overrides.get(name, ())))

    def policy(self, routes: list[_Route]) -> dict[str, Any]:
        """Return the policy; the issuers of all filters must be in the result."""
        policy: dict[str, Any] = {}
        if self.fields.flag("bypass_cors_preflight"):
            policy["corsPreflight"] = "allow"
        self.fields.omit("strip_failure_response", "authgate's responses have no body")
        rules = [rule for route in routes for rule in self._of_route(route)]
        for rule in self.fields.sections("rules"):
            if rules and set(rules[-1]) <= {"allow", "deny", "anonymous"}:
                rule.ignore(*rule)
                rule.note(None, "is omitted: an earlier rule matches every request")
                continue
            rules += self._rule(rule)
        self._rest(rules)
        if self.named is not None:
            self.named.omit_rest("no rule uses them")
        if len(rules) == 1 and "anonymous" not in rules[0]:
            return {**policy, **rules[0]}
        return {**policy, "rules": rules}

    def _rest(self, rules: list[dict[str, Any]]) -> None:
        """Add the rule for requests that match no other one."""
        dynamic = "filter_state_rules" in self.fields
        self.fields.omit(
            "filter_state_rules", "other filters choose it; requests that match no rule are denied"
        )
        if rules and set(rules[-1]) <= {"allow", "deny", "anonymous"}:
            return
        if dynamic:
            rules.append(DENY_ALL)
            return
        self.fields.note("rules", "does not match every request: the others need no token, as in Envoy")
        rules.append(_OPEN)

    def _of_route(self, route: _Route) -> list[dict[str, Any]]:
        """Return the rule for a route with a requirement of its own."""
        setting = route.setting
        setting.ignore("@type")
        is_open = setting.flag("disabled")
        decision = _OPEN if is_open else self._of_name(setting.text("requirement_name"), setting)
        rule, complete = ({}, False) if route.match is None else self._match(route.match)
        named = [] if "*" in route.hosts else list(route.hosts)
        plain = all(re.fullmatch(r"(\*\.)?[A-Za-z0-9._-]+", host) for host in named)
        if complete and plain and route.first and not route.claimed:
            return [{**({"hosts": named} if named else {}), **rule, **decision}]
        if decision == _OPEN:
            setting.note(None, "cannot be written as a rule: these requests are not open")
            return []
        setting.note(None, "cannot be written as a rule: its requests, and others like them, are denied")
        return [{**rule, **DENY_ALL}]

    def _rule(self, rule: Fields) -> list[dict[str, Any]]:
        match = rule.section("match")
        if match is None:
            raise rule.wrong(None, "needs a match")
        requires = rule.section("requires")
        name = rule.text("requirement_name")
        decision = _OPEN
        if name:
            decision = self._of_name(name, rule)
        elif requires is not None:
            decision = self._requirement(requires)
        written, complete = self._match(match)
        if complete:
            return [{**written, **decision}]
        if decision == _OPEN:
            match.note(
                None, "cannot be written in a rule: these requests are not open, and later rules decide"
            )
            return []
        match.note(
            None, "cannot be written in a rule: these requests, and others with the same paths, are denied"
        )
        return [{**written, **DENY_ALL}]

    def _of_name(self, name: str, fields: Fields) -> dict[str, Any]:
        requirement = None if self.named is None else self.named.section(name)
        if requirement is None:
            fields.note("requirement_name", f"{name} is not in requirement_map: these requests are denied")
            return DENY_ALL
        return self._requirement(requirement)

    def _match(self, match: Fields) -> tuple[dict[str, Any], bool]:
        """Return the conditions of a rule, and whether they are complete."""
        rule: dict[str, Any] = {}
        complete = True
        paths: list[str] | None = None
        if "prefix" in match:
            paths = below(match.text("prefix"))
        elif "path" in match:
            paths = exact_path(match.text("path"))
        elif "path_separated_prefix" in match:
            prefix = match.text("path_separated_prefix")
            exact = exact_path(prefix)
            paths = None if exact is None else [prefix, f"{prefix}/*"]
        elif (regex := match.section("safe_regex")) is not None:
            regex.omit("google_re2", "expressions are RE2 in any case")
            paths = of_regex(regex.text("regex"), whole=True)
            if paths is None:
                complete = False
                paths = below(start_of(regex.text("regex")))  # more paths: what is not complete denies
        if paths is None:
            complete = False
        elif paths != ["/*"]:
            rule["paths"] = paths
        if not match.flag("case_sensitive", default=True):
            complete = False
            rule.pop("paths", None)
        for header in match.sections("headers"):
            complete = self._header(header, rule) and complete
        for name in _CONDITIONS:
            if name in match:
                match.omit(name, "rules have no such condition")
                complete = False
        return rule, complete

    def _header(self, header: Fields, rule: dict[str, Any]) -> bool:
        """Add the method or the host to the conditions; return whether the header has no other condition."""
        name = header.text("name").lower()
        matcher = header.section("string_match")
        exact = header.text("exact_match")
        inverted = header.flag("invert_match")
        if matcher is not None:
            exact = matcher.text("exact")
            if set(matcher.values) != {"exact"}:
                matcher.ignore(*matcher)
                exact = ""
        if exact and not inverted and name == ":method" and re.fullmatch(r"[A-Z][A-Z-]{0,31}", exact):
            return bool(rule.setdefault("methods", [exact]) == [exact])  # two different ones never match
        if exact and not inverted and name == ":authority" and re.fullmatch(r"[A-Za-z0-9_.-]+", exact):
            return bool(rule.setdefault("hosts", [exact]) == [exact])
        header.ignore(*header)
        header.note(None, "is omitted: rules have no condition on this header")
        return False

    def _requirement(self, requirement: Fields) -> dict[str, Any]:
        """Return the decision of a requirement."""
        if "requires_all" in requirement:
            requirement.omit("requires_all", "authgate reads one token: these requests are denied")
            return DENY_ALL
        any_of = requirement.section("requires_any")
        if any_of is not None:
            decisions = [self._requirement(item) for item in any_of.sections("requirements")]
            entries = [entry for decision in decisions for entry in decision.get("allow", ())]
            if _OPEN not in decisions:
                return {"allow": entries} if entries else DENY_ALL
            if not entries or self._accepts_all(entries):
                return _OPEN
            any_of.note(
                None, "needs a token: authgate cannot accept only some issuers where a token is optional"
            )
            return {"allow": entries}
        for name in ("allow_missing", "allow_missing_or_failed"):
            if name in requirement.values:
                requirement.section(name)
                if name == "allow_missing_or_failed":
                    requirement.note(
                        name, "does not allow invalid tokens in authgate, only requests without a token"
                    )
                return _OPEN
        narrowed = requirement.section("provider_and_audiences")
        holder = requirement if narrowed is None else narrowed
        name = holder.text("provider_name")
        wanted = () if narrowed is None else narrowed.texts("audiences")
        if not name:
            return _OPEN
        provider = self.providers.get(name)
        if provider is None or not provider.issuer:
            holder.note("provider_name", f"{name} has no issuer in the result: it allows no request")
            return DENY_ALL
        return {"allow": [self._entry(provider, wanted or provider.audiences)]}

    def _accepts_all(self, entries: list[dict[str, Any]]) -> bool:
        """Return whether these entries allow every token that the configuration accepts."""
        plain = {name for entry in entries if "expression" not in entry for name in entry["issuers"]}
        return plain == {item["gate"]["name"] for item in self.result.jwt}

    def _entry(self, provider: _Provider, wanted: tuple[str, ...]) -> dict[str, Any]:
        entry: dict[str, Any] = {"issuers": [provider.issuer]}
        if wanted and set(wanted) < set(self.result.issuer(provider.issuer)["issuer"]["audiences"]):
            entry["expression"] = has_audience(wanted)
        return entry


def _overrides(value: object, found: dict[str, set[str]]) -> None:
    """Collect the audiences that requirements add to those of each provider."""
    if isinstance(value, dict):
        own = value.get("provider_and_audiences")
        if isinstance(own, dict) and isinstance(own.get("audiences"), tuple):
            found.setdefault(str(own.get("provider_name")), set()).update(map(str, own["audiences"]))
        for member in value.values():
            _overrides(member, found)
    elif isinstance(value, tuple):
        for item in value:
            _overrides(item, found)


def _places(provider: Fields) -> tuple[Location, ...]:
    places = [
        header_place(header.text("name"), header.text("value_prefix"))
        for header in provider.sections("from_headers")
    ]
    places += [("query", name, "") for name in provider.texts("from_params")]
    places += [("cookie", name, "") for name in provider.texts("from_cookies")]
    return known_places(places)


@dataclass(slots=True)
class _Issuer:
    """Writes the jwt entry of a provider."""

    result: Result
    name: str
    provider: _Provider

    def convert(self, overrides: list[str]) -> None:
        """Add the entry, or the provider's audiences to that of the same issuer."""
        fields = self.provider.fields
        url = fields.text("issuer")
        own = fields.texts("audiences")
        keys = self._keys()
        rules = self._subjects()
        gate: dict[str, Any] = dict(keys or {})
        self._times(gate)
        self._forwarded()
        if not self.provider.places:
            return
        if not url or keys is None or rules is None:
            reason = "an issuer" if not url else "keys" if keys is None else "a condition on sub"
            fields.note(None, f"is omitted: authgate needs {reason} that it can use")
            return
        accepted = (
            list(dict.fromkeys([*own, *overrides]))
            if own or overrides
            else list(self.result.options.audiences)
        )
        if not own:
            fields.note(
                "audiences" if "audiences" in fields else None,
                "has no audiences, so Envoy accepts every audience, and authgate only those of --audience",
            )
            accepted = list(dict.fromkeys([*accepted, *self.result.options.audiences]))
        self.provider.audiences = own or self.result.options.audiences
        name = self.result.add_issuer(self.name, url, accepted, gate, rules)
        if name is None:
            fields.note(None, "is omitted: another provider has the same issuer and other settings")
        self.provider.issuer = name or ""

    def _keys(self) -> dict[str, Any] | None:
        fields = self.provider.fields
        remote, local = fields.section("remote_jwks"), fields.section("local_jwks")
        if remote is not None:
            return _remote(remote)
        if local is None:
            return None
        if "inline_string" in local:
            return {"staticKeys": {"inline": local.text("inline_string")}}
        if "filename" in local:
            local.omit("watched_directory", "authgate watches the file itself")
            return {"staticKeys": {"file": local.text("filename")}}
        local.omit_rest("authgate reads keys from a file or from the configuration")
        return None

    def _subjects(self) -> list[dict[str, Any]] | None:
        matcher = self.provider.fields.section("subjects")
        if matcher is None:
            return []
        if set(matcher.values) == {"exact"}:
            return [{"claim": "sub", "requiredValue": matcher.text("exact")}]
        expression = string_matcher(matcher, "claims.sub")
        if expression is None:
            matcher.omit_rest("an expression cannot have this condition")
            return None
        return [{"expression": expression, "message": "the subject is not allowed"}]

    def _times(self, gate: dict[str, Any]) -> None:
        fields = self.provider.fields
        fields.omit("require_expiration", "authgate always requires exp")
        skew = fields.scalar("clock_skew_seconds")
        seconds = int(skew) if isinstance(skew, int | float) and skew > 0 else _SKEW
        if seconds > _MAX_SKEW:
            fields.note("clock_skew_seconds", f"is limited to {_MAX_SKEW}")
        gate["leeway"] = gate["expiryLeeway"] = f"{min(seconds, _MAX_SKEW)}s"
        lifetime = duration(fields, "max_lifetime")
        if lifetime is not None:
            gate["maxTokenLifetime"] = lifetime
            fields.note(
                "max_lifetime", "limits exp minus iat in authgate, and the remaining lifetime in Envoy"
            )

    def _forwarded(self) -> None:
        fields = self.provider.fields
        fields.omit("forward", "to keep the token, use authgate snippets envoy --keep-authorization")
        fields.omit(
            "forward_payload_header",
            "authgate can send claims (headers.set) or a signed identity (identityToken)",
        )
        fields.omit("pad_forward_payload_header", "it belongs to forward_payload_header")
        fields.omit("jwt_cache_config", "the section cache replaces it")
        fields.omit("clear_route_cache", "the filter ext_authz has its own setting")
        for name in (
            "payload_in_metadata",
            "header_in_metadata",
            "failed_status_in_metadata",
            "normalize_payload_in_metadata",
        ):
            fields.omit(name, _METADATA)
        for header in fields.sections("claim_to_headers"):
            claim_header(self.result, header, header.text("header_name"), header.text("claim_name"))


def _remote(remote: Fields) -> dict[str, Any] | None:
    keys: dict[str, Any] = {}
    uri = remote.section("http_uri")
    gate: dict[str, Any] = {} if uri is None else {"jwksURL": uri.text("uri")}
    if uri is not None:
        uri.omit("cluster", "authgate connects to the host of the URL")
        timeout = duration(uri, "timeout")
        if timeout is not None and 0.1 <= parse_duration(timeout) <= 60:
            keys["timeout"] = timeout
        elif timeout is not None:
            uri.note("timeout", "is omitted: keys.timeout is between 100ms and 1m")
    refresh = duration(remote, "cache_duration")
    if refresh is not None and 1 <= parse_duration(refresh) <= 86400:
        keys["refresh"] = refresh
    elif refresh is not None:
        remote.note("cache_duration", "is omitted: keys.refresh is between 1s and 24h")
    remote.omit("async_fetch", "authgate always fetches keys in the background")
    remote.omit("retry_policy", "authgate always repeats failed fetches")
    if keys:
        gate["keys"] = keys
    return gate or None


def duration(fields: Fields, name: str) -> str | None:
    """Return a protobuf duration as authgate writes it."""
    value = fields.values.get(name)
    if isinstance(value, dict):
        below_name = fields.section(name)
        if below_name is None:
            return None
        seconds, nanos = below_name.scalar("seconds") or 0, below_name.scalar("nanos") or 0
        if not re.fullmatch(r"\d{1,9}", str(seconds)) or not isinstance(nanos, int) or not 0 <= nanos < 10**9:
            raise fields.wrong(name, "must be a duration")
        text = f"{int(seconds) + nanos / 1e9:.3f}".rstrip("0").rstrip(".") + "s"
    else:
        text = fields.text(name)
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?s", text):
        raise fields.wrong(name, "must be a duration in seconds, such as 5s")
    return text
