"""ORY Oathkeeper's configuration and access rules, as issuers and a policy with rules.

Source: Oathkeeper 25.4, spec/config.schema.json, rule, proxy/request_handler.go, pipeline and credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from authgate.config import Problem
from authgate.config.models.fields import parse_duration
from authgate.expressions import (
    MAX_LENGTH,
    Expects,
    ExpressionError,
    MissingExtraError,
    Sees,
    Variables,
    compile_expression,
)
from authgate.tools.convert.fields import Fields, Reading
from authgate.tools.convert.locations import Reader, header_place, known_places, read_locations
from authgate.tools.convert.paths import covers, of_regex, overlap, start_of
from authgate.tools.convert.results import (
    DENY_ALL,
    Result,
    both,
    claim_header,
    either,
    issuer_label,
    quoted,
)
from authgate.tools.convert.values import ConversionError, Converted, Original, read_originals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config.problems import Path
    from authgate.tools.convert.fields import Options
    from authgate.tools.convert.locations import Location

_NAME: Final = "Oathkeeper"
_OPEN: Final = {"anonymous": True}
_HANDLERS: Final = ("authenticators", "authorizers", "mutators")
_KNOWN: Final = (
    "allowed_algorithms cache introspection_request_headers introspection_url jwks_max_wait jwks_ttl jwks_urls"
    " pre_authorization prefix preserve_host required_scope retry scope_strategy target_audience token_from"
    " trusted_issuers"
)
_SECRET_FILE: Final = "/etc/authgate/introspection/secret"
_PROXY: Final = "the proxy in front of authgate replaces it"
_CONFIG: Final = {
    "serve": _PROXY,
    "errors": "authgate always answers with a status and headers; the proxy can have error pages",
    "log": "the section log replaces it",
    "tracing": "authgate writes no traces for it",
    "profiling": "authgate has no such setting",
    "version": "it belongs to the file",
    "$schema": "it belongs to the file",
    "sqa": "authgate sends no usage statistics",
}
_UNUSABLE: Final = {
    "bearer_token": "authgate cannot ask a session server",
    "cookie_session": "authgate cannot ask a session server",
    "oauth2_client_credentials": "authgate does not log clients in",
}
_DENIES: Final = {
    "keto_engine_acp_ory": "authgate cannot ask Keto",
    "remote": "authgate cannot ask a remote authorizer",
    "remote_json": "authgate cannot ask a remote authorizer",
}
_NOT_OPEN: Final = "cannot be written in a rule that is open: its requests need a token"
_SUBJECT: Final = re.compile(r"\{\{-?\s*(?:print\s+)?\.Subject\s*-?\}\}")
_EXTRA: Final = re.compile(r"\{\{-?\s*(?:print\s+)?\.Extra((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*-?\}\}")


def from_oathkeeper(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that decides as Oathkeeper's rules; raises `ConversionError`.

    The text has the configuration and the list of access rules, as documents of YAML or JSON in any order; or manifests
    of kind `Rule`.
    """
    reading = Reading(_NAME)
    result = Result(reading, options)
    config, rules = _documents(text, reading)
    if not rules:
        raise ConversionError(
            [Problem("the file", "has no access rules: add their list after a line with ---")]
        )
    pipeline = _Pipeline(result, config)
    converted = [pipeline.rule(rule) for rule in rules]
    pipeline.note_unused()
    pipeline.add_issuers()
    written = _ordered(converted)
    result.add_policy(options.policy, {"rules": written})
    return result.converted()


def _documents(text: str, reading: Reading) -> tuple[Fields | None, list[Fields]]:
    """Return the root of the configuration, if there is one, and the rules."""
    config: Fields | None = None
    rules: list[Fields] = []
    for value, lines in read_originals(text):
        if isinstance(value, tuple):
            rules += [_rule(item, index, lines, reading) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            root = reading.open(Original(value, lines))
            if value.get("kind") == "Rule":
                root.ignore("apiVersion", "kind", "metadata", "status")
                spec = root.section("spec")
                rules += [] if spec is None else [spec]
            elif "match" in value and "authenticators" in value:
                rules.append(root)
            elif config is None:
                config = root
            else:
                raise root.wrong(None, "is a second configuration: convert them separately")
    return config, rules


def _rule(value: object, index: int, lines: dict[Path, int], reading: Reading) -> Fields:
    below = {path[1:]: line for path, line in lines.items() if path[:1] == (index,)}
    if not isinstance(value, dict):
        raise ConversionError([Original({}, below).note((), "must be an access rule")])
    return reading.open(Original(value, below, f"rule {value.get('id') or index}"))


@dataclass(slots=True)
class _Settings:
    """The settings of a handler: the rule's, and the global ones that the rule does not override."""

    own: Fields | None
    common: Fields | None

    def _holder(self, name: str) -> Fields | None:
        return next(
            (fields for fields in (self.own, self.common) if fields is not None and name in fields), None
        )

    def texts(self, name: str) -> tuple[str, ...]:
        holder = self._holder(name)
        return () if holder is None else holder.texts(name)

    def text(self, name: str) -> str:
        holder = self._holder(name)
        return "" if holder is None else holder.text(name)

    def section(self, name: str) -> Fields | None:
        holder = self._holder(name)
        return None if holder is None else holder.section(name)

    def omit(self, name: str, why: str) -> None:
        holder = self._holder(name)
        if holder is not None:
            holder.omit(name, why)


@dataclass(slots=True)
class _Source(Reader):
    """An authenticator of a rule that reads tokens: the issuers that it became, and its condition on their tokens."""

    rule: Fields
    settings: _Settings
    kind: str
    audiences: tuple[str, ...] = ()
    names: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Written:
    """A rule: its conditions for authgate, and how it decides.

    `regex` is the expression for the path if a rule's paths cannot have it; `conditions` are then those of all paths.
    `path` is the expression in any case.
    """

    fields: Fields
    conditions: dict[str, Any] | None
    regex: str = ""
    path: str = ""
    sources: list[_Source] = field(default_factory=list)
    open: bool = False
    denied: bool = False
    decided: bool = False
    """Whether an authenticator decides about every request, so that none after it is used."""
    taken: list[tuple[frozenset[Location], str]] = field(default_factory=list)
    """The tokens that only the authenticators so far decide about: their places, and how they begin."""
    pipeline: Any = None

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of allow."""
        if self.denied:
            return []
        return [entry for source in self.sources if (entry := self.pipeline.entry(source)) is not None]

    @property
    def condition(self) -> str:
        """The conditions as an expression, for a rule whose path has a regular expression."""
        conditions = self.conditions or {}
        parts = [f"request.path.matches({quoted(self.regex)})"]
        if "methods" in conditions:
            parts.append(f"request.method in [{', '.join(map(quoted, conditions['methods']))}]")
        if "hosts" in conditions:
            hosts = conditions["hosts"]
            plain = [host for host in hosts if not host.startswith("*")]
            ends = [f"request.host.endsWith({quoted(host[1:])})" for host in hosts if host.startswith("*")]
            parts.append(
                either([*ends, *([f"request.host in [{', '.join(map(quoted, plain))}]"] if plain else [])])
            )
        return both(*parts)

    def decision(self) -> dict[str, Any]:
        """Return the part of the rule that decides, for a rule without a regular expression."""
        entries = self.entries()
        if self.denied:
            return DENY_ALL
        if self.open and (not self.sources or self.pipeline.accepts_all(self.sources)):
            return dict(_OPEN)
        if self.open:
            self.fields.note(
                "authenticators",
                "need a token: authgate cannot check conditions on optional tokens of an open rule",
            )
        return {"allow": entries} if entries else DENY_ALL


class _Pipeline:
    """The handlers of the configuration, and the issuers that they become."""

    def __init__(self, result: Result, config: Fields | None) -> None:
        self._result = result
        self._glob = False
        self._common: dict[str, dict[str, Fields]] = {kind: {} for kind in _HANDLERS}
        self._disabled: set[str] = set()
        self._handlers: dict[tuple[str, str], Fields] = {}
        self._sources: list[_Source] = []
        self._scheme = False
        if config is not None:
            self._read(config)

    def _read(self, config: Fields) -> None:
        config.omit_all(_CONFIG)
        access = config.section("access_rules")
        if access is not None:
            strategy = access.text("matching_strategy") or "regexp"
            if strategy not in ("glob", "regexp"):
                raise access.wrong("matching_strategy", "must be regexp or glob")
            self._glob = strategy == "glob"
            access.omit("repositories", "the rules are read from the input only")
        for kind in _HANDLERS:
            handlers = config.section(kind)
            for name, handler in handlers.members() if handlers is not None else ():
                if not handler.flag("enabled"):
                    self._disabled.add(f"{kind}/{name}")
                self._handlers[kind, name] = handler
                common = handler.section("config")
                if common is not None:
                    self._common[kind][name] = common
                    common.ignore(*(known for known in _KNOWN.split() if known in common))
                    common.omit("subject", "requests without a token have no user name")
                    if name in _UNUSABLE or name in _DENIES:
                        common.omit_rest("nothing in authgate uses it")

    # One rule

    def rule(self, rule: Fields) -> _Written:
        """Read a rule."""
        rule.ignore("id")
        for name in ("version", "description"):
            rule.omit(name, "it only describes the rule")
        rule.omit("upstream", _PROXY)
        rule.omit("errors", _CONFIG["errors"])
        match = rule.section("match")
        if match is None:
            raise rule.wrong(None, "needs a match")
        conditions, regex, path = self._match(match)
        written = _Written(rule, conditions, regex, path, pipeline=self)
        for handler in rule.sections("authenticators"):
            self._authenticator(handler, written)
        authorizer = rule.section("authorizer")
        if authorizer is None or not self._authorizes(authorizer):
            written.denied = True
        mutators = rule.sections("mutators")
        if not mutators:
            rule.note(None, "has no mutators, so Oathkeeper denies its requests")
            written.denied = True
        for mutator in mutators:
            if not self._mutate(mutator):
                written.denied = True
        if conditions is None:
            rule.note(
                "match",
                "cannot be written in a rule: its requests are denied, unless another rule matches them",
            )
        elif regex and written.open:
            rule.note("match", _NOT_OPEN)
        return written

    def _settings(self, kind: str, handler: Fields) -> tuple[str, _Settings, bool]:
        name = handler.text("handler")
        self._handlers.pop((kind, name), None)
        enabled = f"{kind}/{name}" not in self._disabled
        if not enabled:
            handler.note(None, f"uses {name}, which is not enabled: its requests are denied")
        return name, _Settings(handler.section("config"), self._common[kind].get(name)), enabled

    def _authenticator(self, handler: Fields, written: _Written) -> None:
        name, settings, enabled = self._settings("authenticators", handler)
        own = settings.own
        if not enabled:
            written.denied = True
        reads = name in ("jwt", "oauth2_introspection")
        places = _places(settings) if reads or name == "bearer_token" else ()
        prefix = settings.text("prefix") if name == "oauth2_introspection" else ""
        if written.decided or (reads and _is_taken(written.taken, places, name, prefix)):
            if own is not None:
                own.ignore(*own)
            handler.note(None, "is omitted: the authenticators before it decide about all of its requests")
            return
        written.taken += [(frozenset(places), prefix)] if places else []
        if name in ("noop", "anonymous"):
            written.open = True
            if own is not None:
                own.omit("subject", "requests without a token have no user name")
            return
        if reads:
            source = _Source(own or handler, places, written.fields, settings, name)
            written.sources.append(source)
            self._sources.append(source)
            return
        if own is not None:
            own.ignore(*own)
        if name == "unauthorized":
            written.decided = True
        else:
            handler.note(None, f"is omitted: {_UNUSABLE.get(name, 'authgate does not know it')}")

    def _authorizes(self, authorizer: Fields) -> bool:
        name, settings, enabled = self._settings("authorizers", authorizer)
        if settings.own is not None:
            settings.own.ignore(*settings.own)
        if name == "allow":
            return enabled
        if name != "deny":
            authorizer.note(None, f"denies: {_DENIES.get(name, 'authgate does not know it')}")
        return False

    def _mutate(self, mutator: Fields) -> bool:
        """Read a mutator; return whether it is enabled."""
        name, settings, enabled = self._settings("mutators", mutator)
        if name == "noop":
            return enabled
        if name != "header":
            mutator.note(None, f"is omitted: {_mutator_reason(name)}")
            for fields in (settings.own, settings.common):
                if fields is not None:
                    fields.ignore(*fields)
            return enabled
        for fields in (settings.own, settings.common):
            headers = None if fields is None else fields.section("headers")
            if headers is None:
                continue
            for header in headers:
                claim = _claim_of(headers.text(header))
                if claim is None:
                    headers.note(header, "is omitted: only the subject or one claim can be a header")
                else:
                    claim_header(self._result, headers, header, claim)
        return enabled

    def _match(self, match: Fields) -> tuple[dict[str, Any] | None, str, str]:
        """Return the conditions of a rule, or None, and `regex` and `path` of `_Written`."""
        rule: dict[str, Any] = {}
        methods = [method.upper() for method in match.texts("methods")]
        if "authority" in match or "full_method" in match:
            match.omit_rest("rules for gRPC are not converted")
            return None, "", ""
        if not methods:
            match.ignore("url")
            match.note(None, "has no methods, so it matches no request in Oathkeeper")
            return None, "", ""
        rule["methods"] = list(dict.fromkeys(methods))
        url = match.text("url")
        parts = _split(url, glob=self._glob)
        if parts is None or not all(re.fullmatch(r"[A-Z][A-Z-]{0,31}", method) for method in methods):
            return None, "", ""
        hosts = _hosts(parts[0])
        if hosts is None:
            return None, "", ""
        if hosts:
            rule["hosts"] = hosts
        if not self._scheme:
            self._scheme = True
            match.note(
                "url",
                "has its scheme and port omitted: authgate does not know them; the proxy must check them",
            )
        path = parts[1]
        paths = of_regex(path, whole=True)
        expression = f"^{path}$"
        if paths is None:
            return (rule, expression, expression) if _compiles(expression) else (None, "", "")
        if paths != ["/*"]:
            rule["paths"] = paths
        return rule, "", expression

    def note_unused(self) -> None:
        """Note the handlers that no rule uses."""
        for (kind, name), handler in self._handlers.items():
            handler.note(None, "is omitted: no rule uses it")
            common = self._common[kind].get(name)
            if common is not None:
                common.ignore(*common)

    # Issuers

    def add_issuers(self) -> None:
        """Add the issuers of all rules to the result."""
        read_locations(self._result, self._sources, ("token_from",), "")
        for source in self._sources:
            if source.places:
                (self._add_jwt if source.kind == "jwt" else self._add_introspection)(source)
            else:
                source.fields.ignore(*source.fields)

    def _add_jwt(self, source: _Source) -> None:
        settings, fields = source.settings, source.fields
        source.audiences = settings.texts("target_audience")
        accepted = source.audiences or self._result.options.audiences
        if not source.audiences:
            fields.note(None, "has no target_audience: authgate accepts only the audiences of --audience")
        urls = settings.texts("jwks_urls")
        issuers = settings.texts("trusted_issuers")
        if not issuers:
            fields.note(
                None, "is omitted: it has no trusted_issuers, and authgate needs the issuer of the tokens"
            )
        keys: dict[str, Any] = {}
        for name, ours, least, most in (
            ("jwks_ttl", "refresh", 1, 86400),
            ("jwks_max_wait", "timeout", 0.1, 60),
        ):
            seconds = _seconds(settings, name)
            if seconds is not None and least <= seconds <= most:
                keys[ours] = settings.text(name)
            elif seconds is not None:
                settings.omit(name, f"keys.{ours} has other bounds")
        for url in issuers:
            location = _keys_of(url, urls)
            if location is None:
                fields.note(
                    None, f"has the issuer {url} omitted: it is not clear which of jwks_urls has its keys"
                )
                continue
            algorithms = list(settings.texts("allowed_algorithms")) or ["RS256"]
            gate: dict[str, Any] = {"algorithms": algorithms, **location, **({"keys": keys} if keys else {})}
            self._add_issuer(source, url, list(accepted), gate)

    def _add_issuer(self, source: _Source, url: str, accepted: list[str], gate: dict[str, Any]) -> None:
        name = self._result.add_issuer(issuer_label(url), url, accepted, gate, [])
        if name is None:
            source.fields.note(None, f"has the issuer {url} omitted: another rule has other settings for it")
        else:
            source.names.append(name)

    def _add_introspection(self, source: _Source) -> None:
        settings, fields = source.settings, source.fields
        source.audiences = settings.texts("target_audience")
        endpoint, prefix = settings.text("introspection_url"), settings.text("prefix")
        client = "authgate"
        for name in ("retry", "preserve_host"):
            settings.omit(name, "authgate has its own timeout and repeats no request")
        pre = settings.section("pre_authorization")
        if pre is not None and pre.flag("enabled"):
            client = pre.text("client_id") or client
        if pre is not None:
            pre.omit_rest("authgate authenticates with a client secret or a key, without a token of its own")
        headers = settings.section("introspection_request_headers")
        if headers is not None:
            headers.omit_rest("clientAuth replaces them")
        server: dict[str, Any] = {
            "endpoint": endpoint,
            "clientAuth": {"clientID": client, "secretFile": _SECRET_FILE},
            "audiences": list(source.audiences or self._result.options.audiences),
            "cache": self._cache(settings),
            "claimMappings": {"username": {"claim": "sub", "prefix": "opaque:"}},
        }
        if prefix:
            server["prefix"] = prefix
        issuers = settings.texts("trusted_issuers")
        if len(issuers) == 1:
            server["issuer"] = issuers[0]
        elif issuers:
            server["claimValidationRules"] = [
                {
                    "expression": f"claims.iss in [{', '.join(map(quoted, issuers))}]",
                    "message": "unknown issuer",
                }
            ]
        if not source.audiences:
            fields.note(None, "has no target_audience: authgate accepts only the audiences of --audience")
        known = self._result.introspection
        same = next(
            (
                item
                for item in known
                if item["endpoint"] == endpoint and item.get("prefix") == server.get("prefix")
            ),
            None,
        )
        if same is not None and {**same, "name": "", "audiences": ""} == {
            **server,
            "name": "",
            "audiences": "",
        }:
            same["audiences"] = list(dict.fromkeys([*same["audiences"], *server["audiences"]]))
            source.names.append(same["name"])
        elif any(item.get("prefix") == server.get("prefix") for item in known):
            fields.note(
                None,
                "is omitted: another rule sends the same tokens to another endpoint, or with other settings",
            )
        else:
            name = self._result.issuer_name(issuer_label(endpoint))
            known.append({"name": name, **server})
            source.names.append(name)
            fields.note(None, f"needs the client secret for the endpoint in {_SECRET_FILE}")

    @staticmethod
    def _cache(settings: _Settings) -> dict[str, str]:
        cache = settings.section("cache")
        ttl = "0s"
        if cache is not None:
            cache.omit("max_cost", "cache.maxBytes replaces it")
            if cache.flag("enabled"):
                ttl = cache.text("ttl") or "60s"
        return {"ttl": ttl, "negativeTTL": "0s"}

    # Entries

    def entry(self, source: _Source) -> dict[str, Any] | None:
        """Return the entry of allow for an authenticator, or None if it accepts no token."""
        if not source.names:
            return None
        parts = [*self._audience(source), *self._scopes(source)]
        if None in parts:
            return None
        entry: dict[str, Any] = {"issuers": list(dict.fromkeys(source.names))}
        conditions = [part for part in parts if part]
        return {**entry, "expression": both(*conditions)} if conditions else entry

    def accepts_all(self, sources: list[_Source]) -> bool:
        """Return whether the authenticators accept every token that the configuration accepts."""
        names = {item["gate"]["name"] for item in self._result.jwt} | {
            item["name"] for item in self._result.introspection
        }
        plain = [
            entry
            for source in sources
            if (entry := self.entry(source)) is not None and "expression" not in entry
        ]
        return {name for entry in plain for name in entry["issuers"]} == names

    def _audience(self, source: _Source) -> Iterator[str]:
        """Yield the condition that the token has every audience of the authenticator."""
        accepted = {
            audience
            for item in self._result.jwt
            if item["gate"]["name"] in source.names
            for audience in item["issuer"]["audiences"]
        } | {
            audience
            for item in self._result.introspection
            if item["name"] in source.names
            for audience in item["audiences"]
        }
        wanted = source.audiences or self._result.options.audiences
        if len(accepted) > 1 and wanted:
            listed = ", ".join(map(quoted, wanted))
            every = "all" if source.audiences else "exists"
            yield f"[{listed}].{every}(a, claims.aud == a || (type(claims.aud) == list && a in dyn(claims.aud)))"

    def _scopes(self, source: _Source) -> Iterator[str | None]:
        """Yield the conditions on the scopes of the token; None if there is a scope, but no strategy to compare it."""
        wanted = source.settings.texts("required_scope")
        strategy = source.settings.text("scope_strategy") or "none"
        if not wanted:
            return
        if strategy not in ("exact", "hierarchic", "wildcard"):
            source.fields.note(None, "is omitted: it requires scopes without a scope_strategy")
            yield None
            return
        if strategy == "wildcard":
            source.fields.note(
                None, "has scopes with wildcards: authgate compares the scopes of tokens literally"
            )
        granted = "claims.?scp.or(claims.?scope).or(claims.?scopes).orValue([])"
        if source.kind != "jwt":
            granted = "claims.?scope.orValue([])"
        listed = f"(type({granted}) == list ? dyn({granted}) : dyn(string({granted}).split(' ')))"
        for scope in wanted:
            parts = scope.split(".")
            names = (
                [".".join(parts[: end + 1]) for end in range(len(parts))]
                if strategy == "hierarchic"
                else [scope]
            )
            if len(names) == 1:
                yield f"{quoted(scope)} in {listed}"
            else:
                yield f"[{', '.join(map(quoted, names))}].exists(s, s in {listed})"


def _ordered(rules: list[_Written]) -> list[dict[str, Any]]:
    """Return the rules for authgate: those for paths, and one for all paths that have a regular expression.

    Oathkeeper denies a request that matches several rules, or no rule.
    """
    _use_expressions(rules)
    exact = [rule for rule in rules if rule.conditions is not None and not rule.regex]
    broad = [rule for rule in rules if rule.conditions is not None and rule.regex]
    first: list[_Written] = []
    for index, rule in enumerate(exact):
        for other in exact[:index]:
            ours, theirs = rule.conditions or {}, other.conditions or {}
            if not overlap(ours, theirs):
                continue
            if covers(theirs, ours):
                first.insert(0, _deny(rule))
            elif covers(ours, theirs):
                first.append(_deny(other))
            else:
                _deny(rule)
                _deny(other)
    exact = list(dict.fromkeys([*first, *exact]))
    for rule in broad:
        for other in exact:
            paths = (other.conditions or {}).get("paths", ("/*",))
            if overlap(rule.conditions or {}, {**(other.conditions or {}), "paths": ["/*"]}) and any(
                "*" not in path and _matches(rule.regex, path) for path in paths
            ):
                _deny(rule)
                _deny(other)
    entries: list[dict[str, Any]] = []
    for rule in broad:
        others = [
            f"!({other.condition})"
            for other in broad
            if other is not rule and overlap(rule.conditions or {}, other.conditions or {})
        ]
        if not rule.entries():
            rule.fields.note("match", "has no rule in the result: its requests are denied")
        for entry in rule.entries():
            own = [entry["expression"]] if "expression" in entry else []
            expression = both(rule.condition, *others, *own)
            if len(expression) > MAX_LENGTH:
                rule.fields.note(
                    "match", "is omitted: too many rules have regular expressions: convert fewer at once"
                )
            else:
                entries.append({**entry, "expression": expression})
    written = [{**(rule.conditions or {}), **rule.decision()} for rule in exact]
    return [*written, {"allow": entries} if entries else DENY_ALL]


def _use_expressions(rules: list[_Written]) -> None:
    """Let rules decide by a regular expression if their paths may match a request that one of another rule matches."""
    while (mixed := next((rule for rule in rules if _is_mixed(rule, rules)), None)) is not None:
        mixed.regex = mixed.path
        mixed.conditions = {
            name: those for name, those in (mixed.conditions or {}).items() if name != "paths"
        }
        if mixed.open:
            mixed.fields.note("match", _NOT_OPEN)


def _is_mixed(rule: _Written, rules: list[_Written]) -> bool:
    """Return whether paths with stars and a regular expression of another rule may match the same request."""
    paths = (rule.conditions or {}).get("paths", ("/*",))
    if rule.conditions is None or rule.regex or not any("*" in path for path in paths):
        return False
    ours = {**rule.conditions, "paths": ["/*"]}
    starts = [path.partition("*")[0] for path in paths]
    return any(
        start.startswith(other_start) or other_start.startswith(start)
        for other in rules
        if other.regex and other.conditions is not None and overlap(ours, other.conditions)
        for other_start in (start_of(other.regex),)
        for start in starts
    )


def _deny(rule: _Written) -> _Written:
    rule.denied = True
    rule.fields.note(
        "match", "overlaps another rule: Oathkeeper denies requests that match both, and so does this one"
    )
    return rule


def _is_taken(
    taken: list[tuple[frozenset[Location], str]], places: tuple[Location, ...], name: str, prefix: str
) -> bool:
    """Return whether earlier authenticators decide about the tokens that one reads: no other one gets them then."""
    return any(
        not there.isdisjoint(places)
        # A JWT begins with a brace, which is an "e" in base64url.
        and (prefix.startswith(begin) or (name == "jwt" and begin.startswith("e")))
        for there, begin in taken
    )


def _places(settings: _Settings) -> tuple[tuple[str, str, str], ...]:
    token_from = settings.section("token_from")
    if token_from is None:
        return known_places(())
    header, query, cookie = (token_from.text(name) for name in ("header", "query_parameter", "cookie"))
    if header:
        bearer = header.lower() == "authorization"
        return known_places([header_place(header, "Bearer " if bearer else "")])
    return known_places([("query", query, "")] if query else [("cookie", cookie, "")])


def _keys_of(issuer: str, urls: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the settings for an issuer's keys: the only URL, or the only one on its host; None if unclear."""
    host = urlsplit(issuer).hostname
    candidates = urls if len(urls) == 1 else [url for url in urls if urlsplit(url).hostname == host]
    if len(candidates) != 1:
        return None
    url = candidates[0]
    if url.startswith("file://"):
        return {"staticKeys": {"file": url.removeprefix("file://")}}
    return {"jwksURL": url} if url.startswith(("https://", "http://")) else None


def _seconds(settings: _Settings, name: str) -> float | None:
    text = settings.text(name)
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError:
        raise ConversionError([Problem(name, "must be a duration such as 30s or 1m")]) from None


def _mutator_reason(name: str) -> str:
    if name == "id_token":
        return "identityToken with signing sends a signed identity"
    return "authgate sends headers only" if name == "cookie" else "authgate asks no other server"


def _claim_of(template: str) -> str | None:
    """Return the claim of a header's template, with dots between nested names, or None."""
    if _SUBJECT.fullmatch(template.strip()):
        return "sub"
    extra = _EXTRA.fullmatch(template.strip())
    return extra[1][1:] if extra is not None else None


def _compiles(pattern: str) -> bool:
    try:
        compile_expression(f"request.path.matches({quoted(pattern)})", Sees.REQUEST, Expects.BOOL)
    except ExpressionError:
        return False
    except MissingExtraError:
        pass  # the check of the result reports it
    return True


def _matches(pattern: str, path: str) -> bool:
    """Return whether a path matches an expression, in time that is linear in both."""
    try:
        expression = compile_expression(f"{quoted(path)}.matches({quoted(pattern)})", Sees.NOW, Expects.BOOL)
    except (ExpressionError, MissingExtraError):
        return True
    return expression.holds(Variables()) is not False


def _split(url: str, *, glob: bool) -> tuple[list[tuple[bool, str]], str] | None:
    """Return the parts of a URL pattern's host, each with whether it is a pattern, and the path as an expression."""
    parts: list[tuple[bool, str]] = []
    depth, start = 0, 0
    for index, letter in enumerate(url):
        if letter == "<":
            depth += 1
            if depth == 1:
                parts.append((False, url[start:index]))
                start = index + 1
        elif letter == ">":
            depth -= 1
            if depth == 0:
                parts.append((True, url[start:index]))
                start = index + 1
            elif depth < 0:
                return None
    if depth:
        return None
    parts.append((False, url[start:]))
    host: list[tuple[bool, str]] = []
    path: str | None = None
    after = False
    for pattern, text in parts:
        rest = text
        if not after:
            if pattern or "://" not in text:
                continue
            after, rest = True, text.partition("://")[2]
        if path is None and not pattern and "/" in rest:
            before, _, below = rest.partition("/")
            host.append((False, before))
            path = re.escape(f"/{below}").replace("\\/", "/")
        elif path is None:
            host.append((pattern, rest))
        else:
            path += _expression(rest, glob=glob) if pattern else re.escape(rest).replace("\\/", "/")
    return None if path is None else ([part for part in host if part[1]], path)


def _expression(pattern: str, *, glob: bool) -> str:
    """Return a part of a path as a regular expression."""
    if not glob:
        grouped = re.fullmatch(r"\([^()]*\)", pattern) is not None
        return pattern if grouped or pattern in (".*", "[^/]+", "[^/]*") else f"({pattern})"
    texts = {"**": ".*", "*": "[^/.]*"}
    if pattern in texts:
        return texts[pattern]
    plain = re.fullmatch(r"\{([^{}*?\[\]]+)\}", pattern)
    options = plain[1].split(",") if plain else None
    return (
        f"({'|'.join(map(re.escape, options))})" if options else "("
    )  # not an expression, so it is not converted


def _hosts(parts: list[tuple[bool, str]]) -> list[str] | None:
    """Return the hosts of a pattern, [] for any, or None if a rule cannot have them."""
    if parts and not parts[-1][0]:
        text = re.sub(r":\d+$", "", parts[-1][1])
        parts = [*parts[:-1], *([(False, text)] if text else [])]
    if len(parts) == 1 and parts[0][0]:
        pattern = parts[0][1]
        if pattern in (".*", ".+", "[^/]+", "[^/]*", "**"):
            return []
        options = [option.replace("\\.", ".") for option in pattern.strip("{}").split("|")]
        return options if all(map(_is_host, options)) else None
    if len(parts) == 1 and _is_host(parts[0][1]):
        return [parts[0][1].lower()]
    if len(parts) == 2 and parts[0] in ((True, ".*"), (True, "**")) and parts[1][1].startswith("."):
        host = parts[1][1][1:]
        return [f"*.{host.lower()}"] if _is_host(host) else None
    return None


def _is_host(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text) is not None
