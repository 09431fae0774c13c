"""kube-rbac-proxy: the flags of its container and its configuration file, as a cluster, an issuer and policies.

Source: kube-rbac-proxy 0.21, cmd/kube-rbac-proxy/app, pkg/authz, pkg/proxy and pkg/filters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.tools.convert.fields import Fields, Reading
from authgate.tools.convert.manifests import (
    arguments,
    container_of,
    containers,
    embedded,
    is_workload,
    objects,
    parse_flag,
    rest_of_file,
)
from authgate.tools.convert.results import (
    CLUSTER_NAME,
    DENY_ALL,
    REVIEWS_ONLY,
    Result,
    issuer_entry,
    issuer_label,
    literal,
    plain_path,
    with_paths,
)
from authgate.tools.convert.values import ConversionError, Converted, Original, read_original

if TYPE_CHECKING:
    from collections.abc import Callable

    from authgate.tools.convert.fields import Options
    from authgate.tools.convert.manifests import Object

_NAME: Final = "kube-rbac-proxy"
_VERBS: Final = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SAME_VERBS: Final = ["GET", "PATCH", "DELETE"]
"""The methods that kube-rbac-proxy and kube-apiserver name by the same verb for paths outside the API."""
_TLS: Final = "the proxy in front of authgate accepts TLS"
_UPSTREAM: Final = "the proxy in front of authgate sends requests to the app"
_LOG: Final = "log.level and log.format replace it"
_OMITTED: Final = {
    "insecure-listen-address": _TLS,
    "secure-listen-address": _TLS,
    "tls-cert-file": _TLS,
    "tls-cipher-suites": _TLS,
    "tls-min-version": _TLS,
    "tls-private-key-file": _TLS,
    "tls-reload-interval": _TLS,
    "http2-disable": _TLS,
    "http2-max-concurrent-streams": _TLS,
    "http2-max-size": _TLS,
    "upstream": _UPSTREAM,
    "upstream-ca-file": _UPSTREAM,
    "upstream-client-cert-file": _UPSTREAM,
    "upstream-client-key-file": _UPSTREAM,
    "upstream-force-h2c": _UPSTREAM,
    "proxy-endpoints-port": "authgate's probes are on server.admin",
    "client-ca-file": "authgate does not read client certificates, and denies requests without a token",
    **dict.fromkeys(
        (
            "add-dir-header",
            "alsologtostderr",
            "log-backtrace-at",
            "log-dir",
            "log-file",
            "log-file-max-size",
            "log-flush-frequency",
            "logtostderr",
            "one-output",
            "skip-headers",
            "skip-log-headers",
            "stderrthreshold",
            "v",
            "vmodule",
        ),
        _LOG,
    ),
}
_NO_AUDIENCE: Final = (
    "auth-token-audiences is missing, so kube-rbac-proxy accepts tokens for the API server: give the audience of the"
    " clients' tokens with --audience; authgate doctor shows the API server's audience"
)
_REWRITES: Final = (
    "an access review of authgate has no values from the query or from headers, so the policy denies every"
    " request"
)
_OTHER_OBJECT: Final = "only containers of kube-rbac-proxy and their configuration files are converted"
_PATTERN: Final = "is omitted: a rule has no such pattern, so these paths are"


def from_kube_rbac_proxy(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that replaces kube-rbac-proxy; raises `ConversionError`.

    The text is a manifest with its containers and the ConfigMap or Secret of --config-file, or that file alone.
    """
    reading = Reading(_NAME)
    result = Result(reading, options)
    instances = _instances(text, reading)
    for instance in instances:
        name = options.policy if len(instances) == 1 else instance.name
        result.add_policy(name, _policy(result, instance, several=len(instances) > 1))
    _separate(result)
    return result.converted()


@dataclass(frozen=True, slots=True)
class _Instance:
    """A container of kube-rbac-proxy: its flags, and the `authorization` of its configuration file.

    `readable` is whether the configuration file is in the input, if there is one.
    """

    name: str
    flags: Fields
    authorization: Fields | None
    readable: bool = True


def _instances(text: str, reading: Reading) -> list[_Instance]:
    try:
        alone = read_original(text)
    except ConversionError:
        alone = None
    if alone is not None and "kind" not in alone.fields:
        root = reading.open(alone)
        return [_Instance(_NAME, Fields(reading, alone, {}, ()), root.section("authorization"))]
    items = objects(text, reading)
    found: list[_Instance] = []
    used: set[str] = set()
    for item in filter(is_workload, items):
        for container in containers(item):
            if _NAME in str(container.values.get("image")) or container.text("name") == _NAME:
                found.append(_instance(container, items, used, reading))
            else:
                container.ignore(*container)
                container.note(None, "is omitted: it is another container")
    for item in items:
        if item.label in used:
            rest_of_file(item)
        elif not is_workload(item):
            item.fields.omit_rest(_OTHER_OBJECT)
    if not found:
        raise ConversionError(
            [Problem("the file", "has no container with the image or name kube-rbac-proxy")]
        )
    return found


def _instance(container: Fields, items: list[Object], used: set[str], reading: Reading) -> _Instance:
    flags = arguments(container, items, used, reading)
    container_of(container)
    path = _one(flags, "config-file")
    if not path:
        return _Instance(container.text("name"), flags, None)
    file = embedded(path.rpartition("/")[2], items, used)
    root = None
    if file is not None:
        root = reading.open(Original(read_original(file.text).fields, {(): file.line}, file.label))
    if root is None:
        flags.note(
            "config-file",
            f"names {path}, which is not in exactly one ConfigMap or Secret of the input: convert the workload with"
            " this file only; until then the policy denies every request",
        )
    return _Instance(
        container.text("name"),
        flags,
        None if root is None else root.section("authorization"),
        root is not None,
    )


def _one(flags: Fields, name: str, default: str = "") -> str:
    """Return the last value of a flag, which is the one that counts."""
    values = flags.texts(name)
    return values[-1] if values else default


def _listed(flags: Fields, name: str) -> list[str]:
    """Return the values of a flag that is a comma-separated list, or is repeated."""
    return [item for value in flags.texts(name) for item in value.split(",") if item]


def _policy(result: Result, instance: _Instance, *, several: bool) -> dict[str, Any]:
    flags = instance.flags
    flags.omit_all(_OMITTED)
    issuer = _one(flags, "oidc-issuer")
    policy: dict[str, Any] = {}
    _cluster(result, flags)
    if issuer:
        name = _issuer(result, flags, issuer)
        accepted = result.issuer(name)["issuer"]["audiences"]
        policy["allow"] = [{"issuers": [name]}]
        flags.omit("auth-token-audiences", "kube-rbac-proxy verifies only tokens of the OIDC issuer")
    else:
        flags.omit_rest(
            "they have no effect without oidc-issuer", [name for name in flags if name.startswith("oidc-")]
        )
        accepted = _listed(flags, "auth-token-audiences") or list(result.options.audiences)
        if not accepted:
            flags.note(None, _NO_AUDIENCE)
        result.cluster["audiences"] = list(dict.fromkeys([*result.cluster["audiences"], *accepted]))
        policy["allow"] = [{"issuers": [CLUSTER_NAME]}]
    if several and accepted:
        policy["audiences"] = accepted
    _headers(result, flags)
    policy["rules"] = _rules(instance)
    return policy


def _cluster(result: Result, flags: Fields) -> None:
    """Write the cluster, whose API reviews every token, as kube-rbac-proxy does."""
    cluster = result.cluster
    cluster.setdefault("name", CLUSTER_NAME)
    cluster.setdefault("audiences", [])
    if kubeconfig := _one(flags, "kubeconfig"):
        cluster["kubeconfig"] = kubeconfig
    review = cluster.setdefault("tokenReview", {"mode": "always"})
    for name, ours, convert in (("kube-api-qps", "qps", float), ("kube-api-burst", "burst", int)):
        text = _one(flags, name)
        try:
            number = convert(text or 0)
        except ValueError:
            raise flags.wrong(name, "must be a number") from None
        if number > 0:
            review[ours] = number


def _issuer(result: Result, flags: Fields, url: str) -> str:
    name = result.issuer_name(issuer_label(url))
    same = [item["gate"]["name"] for item in result.jwt if item["issuer"]["url"] == url]
    client = _one(flags, "oidc-clientID")
    algorithms = list(flags.texts("oidc-sign-alg")) or ["RS256"]
    mappings = {
        "username": {
            "claim": _one(flags, "oidc-username-claim", "email"),
            "prefix": _one(flags, "oidc-username-prefix"),
        },
        "groups": {
            "claim": _one(flags, "oidc-groups-claim", "groups"),
            "prefix": _one(flags, "oidc-groups-prefix"),
        },
    }
    flags.omit(
        "oidc-ca-file", f"copy the file's certificates to issuer.certificateAuthority of the jwt entry {name}"
    )
    entry = issuer_entry(url, [client] if client else [], name=name, algorithms=algorithms)
    entry["claimMappings"] = mappings
    if not same:
        result.jwt.append(entry)
        return name
    known = result.issuer(same[0])
    if client not in known["issuer"]["audiences"]:
        known["issuer"]["audiences"].append(client)
        known["issuer"]["audienceMatchPolicy"] = "MatchAny"
    if known["claimMappings"] != mappings or known["gate"]["algorithms"] != algorithms:
        raise flags.wrong("oidc-issuer", "differs in another container: convert the containers separately")
    return str(same[0])


def _headers(result: Result, flags: Fields) -> None:
    names = (
        "auth-header-user-field-name",
        "auth-header-groups-field-name",
        "auth-header-groups-field-separator",
    )
    text = _one(flags, "auth-header-fields-enabled", "false")
    enabled = parse_flag(text)
    if enabled is None:
        raise flags.wrong("auth-header-fields-enabled", "must be true or false")
    if not enabled:
        flags.omit_rest("they have no effect without auth-header-fields-enabled", names)
        return
    user, groups, separator = (
        _one(flags, name, default)
        for name, default in zip(names, ("x-remote-user", "x-remote-groups", "|"), strict=True)
    )
    quoted = separator.replace("\\", "\\\\").replace("'", "\\'")
    headers = {
        "preset": "none",
        "set": [
            {"name": user, "expression": "user.username"},
            {"name": groups, "expression": f"user.groups.join('{quoted}')"},
        ],
    }
    if result.headers and result.headers != headers:
        flags.note("auth-header-fields-enabled", "is omitted: another container has other header names")
    else:
        result.headers = headers


def _rules(instance: _Instance) -> list[dict[str, Any]]:
    """Return the rules: ignored paths, static permissions, and access reviews for the allowed paths."""
    flags, authorization = instance.flags, instance.authorization
    reviews = _reviews(instance)
    static = [] if authorization is None or reviews == [DENY_ALL] else _static(authorization, flags)
    for name in ("allow-paths", "ignore-paths"):
        flags.texts(name)
    if authorization is not None and reviews == [DENY_ALL]:
        authorization.omit_rest("the policy denies every request")
    ignored, ignored_below = _patterns(flags, "ignore-paths", "not open without a token")
    rules: list[dict[str, Any]] = []
    if ignored:
        rules.append({"paths": ignored, "anonymous": True})
    rules += static
    for guard, pattern in ignored_below:
        rules += [*with_paths(reviews, [guard]), {"paths": [pattern], "anonymous": True}]
    if "allow-paths" not in flags:
        return rules + reviews
    allowed, allowed_below = _patterns(flags, "allow-paths", "denied")
    patterns = [_segments(pattern) for pattern in (*allowed, *(pattern for _, pattern in allowed_below))]
    rules = [
        rule for rule in static if "paths" in rule and any(match(rule["paths"][0]) for match in patterns)
    ]
    if len(rules) < len([rule for rule in static if "paths" in rule]):
        flags.note("allow-paths", "does not have every path of static: requests for the others are denied")
    decide = [*(rule for rule in static if "paths" not in rule), *reviews]
    if allowed:
        rules += with_paths(decide, allowed)
    for guard, pattern in allowed_below:
        rules += [{"paths": [guard], **DENY_ALL}, *with_paths(decide, [pattern])]
    return [*rules, DENY_ALL]


def _segments(pattern: str) -> Callable[[str], object]:
    """Return a function that matches paths against a pattern; its stars do not match a slash."""
    return re.compile("[^/]*".join(map(re.escape, pattern.split("*"))), re.DOTALL).fullmatch


def _reviews(instance: _Instance) -> list[dict[str, Any]]:
    """Return rules that review access for each method, or that deny every request."""
    authorization = instance.authorization
    if not instance.readable:
        return [DENY_ALL]
    attributes = None if authorization is None else authorization.section("resourceAttributes")
    if authorization is None or attributes is None:
        if authorization is not None:
            authorization.omit("rewrites", "it has no effect without resourceAttributes")
        instance.flags.note(
            None,
            "has access reviews of paths only for GET, PATCH and DELETE: for POST, PUT and other methods the verb is"
            " create, update or * in kube-rbac-proxy and the method in authgate; such requests are denied",
        )
        return [{"methods": _SAME_VERBS, "accessReview": {"nonResource": "request"}}, DENY_ALL]
    names = ("namespace", "apiGroup", "apiVersion", "resource", "subresource", "name")
    values = {name: attributes.text(name) for name in names}
    if "rewrites" in authorization:
        authorization.omit("rewrites", _REWRITES)
        authorization.note("resourceAttributes", "is omitted with rewrites")
        return [DENY_ALL]
    if not values["resource"] or any(re.search(r"[{}*]", text) for text in values.values()):
        authorization.note(
            "resourceAttributes",
            "is omitted: authgate needs a resource, and no braces or stars; the policy denies every request",
        )
        return [DENY_ALL]
    ours = dict(zip(names, ("namespace", "group", "version", "resource", "subresource", "name"), strict=True))
    resource = {ours[name]: text for name, text in values.items() if text}
    rules: list[dict[str, Any]] = [
        {"methods": [method], "accessReview": {"resource": {**resource, "verb": verb}}}
        for method, verb in _VERBS.items()
    ]
    return [*rules, {"accessReview": {"resource": {**resource, "verb": "*"}}}]


def _static(authorization: Fields, flags: Fields) -> list[dict[str, Any]]:
    """Return rules for permissions that kube-rbac-proxy grants without an access review."""
    attributes = authorization.section("resourceAttributes")
    methods = {verb: method for method, verb in _VERBS.items()}
    rules: list[dict[str, Any]] = []
    for entry in authorization.sections("static"):
        names = ("namespace", "apiGroup", "resource", "subresource", "name")
        wanted = {name: entry.text(name) for name in names}
        verb, path, of_resource = entry.text("verb"), entry.text("path"), entry.flag("resourceRequest")
        allow = _who(entry)
        if of_resource != (attributes is not None) or of_resource != (path == ""):
            entry.note(
                None, "is omitted: it never matches, because resourceRequest does not fit resourceAttributes"
            )
        elif attributes is not None and any(
            text and text != attributes.text(name) for name, text in wanted.items()
        ):
            entry.note(None, "is omitted: it never matches, because it differs from resourceAttributes")
        elif attributes is None and any(wanted.values()):
            entry.note(None, "is omitted: it never matches a request for a path, because it names a resource")
        elif verb and verb not in methods:
            entry.note(None, "is omitted: only the verbs get, create, update, patch and delete have a method")
        elif path and not plain_path(path):
            entry.note(None, "is omitted: a rule cannot have such a path")
        else:
            rule: dict[str, Any] = {"methods": [methods[verb]]} if verb else {}
            if path:
                rule["paths"] = [path]
            same = next((known for known in rules if {**known, "allow": 0} == {**rule, "allow": 0}), None)
            if same is not None:
                same["allow"].append(allow)
            else:
                rules.append({**rule, "allow": [allow]})
            entry.note(
                None, "becomes a rule that alone decides about these requests: they have no access review"
            )
    return rules


def _who(entry: Fields) -> dict[str, Any]:
    user = entry.section("user") or entry.section("User")
    name = "" if user is None else user.text("name")
    groups = () if user is None else user.texts("groups")
    allow: dict[str, Any] = {}
    account = re.fullmatch(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})", name)
    if account:
        allow["serviceAccounts"] = [f"{account[1]}/{account[2]}"]
    elif name:
        allow["users"] = [literal(name)]
    if groups and user is not None:
        allow["groups"] = [literal(group) for group in groups]
        user.note(
            "groups",
            "is required by authgate; kube-rbac-proxy ignores it and allows users without these groups",
        )
    return allow or {"users": ["*"]}


def _patterns(flags: Fields, name: str, otherwise: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the paths of a flag, and those that end in a star: what is deeper, and the pattern with that excluded.

    In kube-rbac-proxy a star matches within one segment; at the end of a rule it matches everything below.
    """
    exact: list[str] = []
    below: list[tuple[str, str]] = []
    for pattern in _listed(flags, name):
        segments = pattern.split("/")
        if (
            not plain_path(pattern.replace("*", "x"))
            or re.search(r"[\[?\\]", pattern)
            or any(segment.count("*") > 1 for segment in segments)
        ):
            flags.note(name, f"{pattern} {_PATTERN} {otherwise}")
        elif segments[-1] == "*":
            below.append((f"{pattern}/*", pattern))
        else:
            exact.append(pattern)
    return exact, sorted(below, key=lambda pair: -pair[1].count("/"))


def _separate(result: Result) -> None:
    """Deny in each policy the issuers that it does not allow, because its rules do not use its `allow`."""
    if not result.cluster["audiences"] and result.jwt:
        result.cluster["audiences"] = [REVIEWS_ONLY]
    names = [CLUSTER_NAME, *(item["gate"]["name"] for item in result.jwt)]
    for policy in result.policies.values():
        (allowed,) = policy.pop("allow")
        others = [name for name in names if name not in allowed["issuers"]]
        if others:
            policy["deny"] = [{"issuers": others}]
        policy["rules"] = policy.pop("rules")
