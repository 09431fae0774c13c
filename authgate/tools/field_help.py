"""Explain one field of the configuration: its meaning, type, default, an example, and its value now."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Finding, effective, format_duration, json_schema
from authgate.config.problems import dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config import LoadedConfig
    from authgate.config.problems import Path

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d*)\]")
_PATH: Final = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[\d*\])*|")
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TYPES: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
EXAMPLES: Final[dict[str, object]] = {
    "accessReview.cluster": "home",
    "admin.policy": "metrics",
    "alb.keysURL": "https://public-keys.example.com",
    "alb.region": "eu-west-1",
    "anonymous": ["/healthz"],
    "audiences": ["my-app"],
    "basic.usernames": ["oauth2"],
    "boundAudiences": ["my-app"],
    "boundClaims": {"/realm_access/roles": ["admin"]},
    "boundSubject": "system:serviceaccount:shop:web",
    "certFile": "/etc/authgate/tls.crt",
    "certificateAuthority": "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
    "claim": "/realm_access/roles",
    "clientAuth.audience": "https://login.example.com",
    "clientAuth.clientID": "authgate",
    "clientAuth.keyID": "authgate-1",
    "clientAuth.secretFile": "/etc/authgate/client-secret",
    "clientCAFile": "/etc/authgate/clients.pem",
    "cluster.context": "home",
    "cluster.issuers": ["https://old-cluster.example.com"],
    "cluster.kubeconfig": "/etc/authgate/kubeconfig",
    "cookie": "session",
    "discoveryURL": "https://login.example.com/.well-known/openid-configuration",
    "endpoint": "https://login.example.com/introspect",
    "exchange.audiences": {"default": ["my-app"]},
    "exchange.listen": "0.0.0.0:8082",
    "expression": "'admin' in user.groups",
    "extra[].key": "example.org/department",
    "extra[].valueExpression": "claims.department",
    "file": "/etc/authgate/keys.json",
    "gate.name": "login",
    "gate.tenants": ["00000000-0000-0000-0000-000000000000"],
    "groups": ["developers"],
    "groups.expression": "claims.groups",
    "groupsClaim": "groups",
    "header": "X-Token",
    "headers.set[].claim": "/department",
    "headers.set[].expression": "user.username",
    "hosts": ["app.example.com", "*.apps.example.com"],
    "identityToken.audience": "my-app",
    "inline": {"keys": []},
    "introspection[].issuer": "https://login.example.com",
    "introspection[].name": "login",
    "issuer.url": "https://login.example.com",
    "issuers": ["login"],
    "jwksURL": "https://login.example.com/keys",
    "keyFile": "/etc/authgate/tls.key",
    "keyFiles": ["/etc/authgate/signing.pem"],
    "legacyAudiences": ["https://kubernetes.default.svc.cluster.local"],
    "message": "the account is locked",
    "methods": ["GET", "HEAD"],
    "paths": ["/admin/*"],
    "prefix": "login:",
    "query": "access_token",
    "resource.resource": "services",
    "role.claimMappings": {"department": "X-Department"},
    "scheme": "Bearer",
    "server.grpc": "0.0.0.0:9001",
    "serviceAccounts": ["shop/web", "ci/*"],
    "set[].name": "X-Department",
    "signing.issuer": "https://authgate.example.com",
    "spiffe.trustDomain": "example.org",
    "tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "tracing.caFile": "/etc/authgate/collector-ca.pem",
    "tracing.headersFile": "/etc/authgate/collector-headers",
    "uid.claim": "sub",
    "uid.expression": "claims.sub",
    "userClaim": "email",
    "username.claim": "sub",
    "username.expression": "'login:' + claims.sub",
    "users": ["alice", "system:serviceaccount:shop:*"],
    "verb": "get",
    "watch.namespaces": ["shop"],
}
"""Examples of fields without a default, by the end of their path; a longer end takes precedence."""
_ANYTHING: Final = "any value"
ANY: Final = "<name>"
"""Replaces the name of a policy or another name that the user chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field: `path` has `[]` for an entry of a list and `<name>` for a name that the user chooses.

    `default` is JSON, None if there is no default; `variable` is None if no variable of the environment sets the field.
    `members` are the paths and meanings of the fields of a mapping, or of the entries of a list.
    """

    path: str
    meaning: str
    type: str
    default: str | None
    required: bool
    variable: str | None
    example: object
    members: tuple[tuple[str, str], ...]


class UnknownFieldError(Exception):
    """The configuration has no such field; the message names a similar one, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A place in the schema: the property with its description, and the schema of the value."""

    steps: tuple[str, ...]
    meaning: str
    schema: dict[str, Any]
    required: bool = False
    default: str | None = None
    alternative: dict[str, Any] | None = None
    """The schema of a list of such values, if that is allowed, too."""


def explain_field(path: str) -> Field:
    """Explain the field at a path such as `server.listen` or `jwt[0].issuer.url`; raises `UnknownFieldError`."""
    schema = _schema()
    node = _Node(steps=(), meaning=str(schema["description"]), schema=schema)
    if not _PATH.fullmatch(path):
        raise UnknownFieldError(
            f"{path!r} is not the path of a field; write it as server.listen or jwt[0].issuer.url"
        )
    for step in steps_of(path):
        following = _step(schema, node, step)
        if following is None:
            raise UnknownFieldError(_unknown(path, schema, step))
        node = following
    return _field(schema, node)


@cache
def _schema() -> dict[str, Any]:
    return json_schema()


def all_fields() -> Iterator[str]:
    """Yield the path of every field, in the order of the schema."""
    schema = _schema()
    yield from _below(schema, _Node(steps=(), meaning="", schema=schema))


def current_values(loaded: LoadedConfig, path: str) -> Iterator[tuple[str, object, str, int | None]]:
    """Yield path, value, source and line of each value of a configuration at a path, or below it.

    A list without an index, and `<name>`, match every entry. The line is None for a value that is not from the file.
    """
    wanted = tuple(steps_of(path))
    for found, value, source in effective(loaded):
        if _matches(found, wanted):
            line = loaded.located(Finding(found, "")).line if source.startswith("file ") else None
            yield dotted(found), value, source, line


def steps_of(path: str) -> list[str | int | None]:
    """Return the steps of a path: names, indexes, and None for `[]`."""
    steps: list[str | int | None] = []
    for match in _STEP.finditer(path):
        if match[1] is not None:
            steps.append(match[1])
        else:
            steps.append(int(match[2]) if match[2] else None)
    return steps


def _matches(found: Path, wanted: tuple[str | int | None, ...]) -> bool:
    """Report whether a path begins with the wanted one, which may leave out indexes."""
    if not wanted:
        return True
    if not found:
        return False
    first, *rest = wanted
    if first is None or (isinstance(found[0], int) and not isinstance(first, int)):
        return isinstance(found[0], int) and _matches(found[1:], wanted if first is not None else tuple(rest))
    return (first in {found[0], ANY} or first == "*") and _matches(found[1:], tuple(rest))


def _step(schema: dict[str, Any], node: _Node, step: str | int | None) -> _Node | None:
    """Return the node of one step, or None; a list may be entered without an index."""
    inner = node.schema
    if not isinstance(step, str):
        items = (node.alternative or inner).get("items")
        if items is None:
            return None
        return _node(schema, (*node.steps, "[]"), {"description": node.meaning}, items)
    if "items" in inner and "properties" not in inner:
        entry = _step(schema, node, None)
        return None if entry is None else _step(schema, entry, step)
    known = inner.get("properties", {})
    if step in known:
        required = step in inner.get("required", ())
        return _node(schema, (*node.steps, step), known[step], known[step], required=required)
    named = inner.get("additionalProperties") or next(iter(inner.get("patternProperties", {}).values()), None)
    if isinstance(named, dict) and "properties" not in inner:
        return _node(schema, (*node.steps, ANY), {"description": node.meaning}, named)
    return None


def _node(
    schema: dict[str, Any],
    steps: tuple[str, ...],
    outer: dict[str, Any],
    value: dict[str, Any],
    *,
    required: bool = False,
) -> _Node:
    inner = _resolved(schema, value)
    alternative = None
    if "oneOf" in inner:
        first, second = inner["oneOf"]
        inner, alternative = _resolved(schema, first), second
    meaning = outer.get("description") or inner.get("description", "")
    default = _default(outer, inner) if "default" in outer else None
    return _Node(
        steps=steps,
        meaning=meaning,
        schema=inner,
        required=required,
        default=default,
        alternative=alternative,
    )


def _default(outer: dict[str, Any], inner: dict[str, Any]) -> str:
    value = outer["default"]
    return format_duration(value) if _is_duration(inner) and value is not None else json.dumps(value)


def _is_duration(value: dict[str, Any]) -> bool:
    return value.get("type") == ["string", "number"]


def _resolved(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and leave out null."""
    while True:
        options = [each for each in value.get("anyOf", ()) if each != {"type": "null"}]
        if len(options) == 1:
            value = options[0]
        elif "$ref" in value:
            value = schema["$defs"][value["$ref"].rpartition("/")[2]]
        else:
            return value


def _field(schema: dict[str, Any], node: _Node) -> Field:
    path = _joined(node.steps)
    inside = _entry(schema, node) or node
    members = tuple(
        (_joined((*inside.steps, name)), str(_node(schema, (), below, below).meaning))
        for name, below in inside.schema.get("properties", {}).items()
    )
    kind = _type(schema, node.schema)
    return Field(
        path=path,
        meaning=node.meaning,
        type=kind if node.alternative is None else f"{kind}, or a list of mappings",
        default=node.default,
        required=node.required,
        variable=_variable(node.steps),
        example=None if members else _example(path, node),
        members=members,
    )


def _type(schema: dict[str, Any], value: dict[str, Any]) -> str:
    value = _resolved(schema, value)
    if "enum" in value or "const" in value:
        return f"one of {', '.join(value['enum'])}" if "enum" in value else str(value["const"])
    if "anyOf" in value:
        kinds = [_type(schema, each) for each in value["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != _ANYTHING)
    if _is_duration(value):
        kind = "duration, such as 500ms, 30s, 5m or 1h"
        limits = {name: format_duration(value[name]) for name in ("minimum", "maximum") if name in value}
    elif value.get("type") == "array":
        return f"list of {_plural(_type(schema, value['items']))}"
    elif value.get("type") == "object":
        return "mapping" if "properties" in value else "mapping with names that you choose"
    else:
        kind = _TYPES.get(str(value.get("type")), _ANYTHING)
        limits = {name: f"{value[name]:g}" for name in ("minimum", "maximum") if name in value}
    if len(limits) == 2:
        return f"{kind}, {limits['minimum']} to {limits['maximum']}"
    return kind + "".join(f", {name} {limit}" for name, limit in limits.items())


def _plural(kind: str) -> str:
    name, comma, rest = kind.partition(",")
    return f"{name if name.startswith('one of') else name + 's'}{comma}{rest}"


def _variable(steps: tuple[str, ...]) -> str | None:
    if not steps or "[]" in steps or ANY in steps:
        return None
    return "AUTHGATE_" + "__".join(_CAPITAL.sub("_", step).upper() for step in steps)


def _example(path: str, node: _Node) -> object:
    """Return a value to copy: from the table, else the default, else the first of the possible values, else None."""
    value = node.schema
    words = path.split(".")
    for start in range(len(words)):
        if ".".join(words[start:]) in EXAMPLES:
            return EXAMPLES[".".join(words[start:])]
    if node.default not in {None, "null"}:
        return node.default if _is_duration(value) else json.loads(str(node.default))
    if "enum" in value:
        return value["enum"][0]
    if "const" in value:
        return value["const"]
    return True if value.get("type") == "boolean" else value.get("minimum")


def _joined(steps: tuple[str, ...]) -> str:
    return "".join(step if step == "[]" else f".{step}" for step in steps).removeprefix(".")


def _below(schema: dict[str, Any], node: _Node) -> Iterator[str]:
    for name in node.schema.get("properties", {}):
        child = _step(schema, node, name)
        if child is not None:
            yield _joined(child.steps)
            yield from _below(schema, _entry(schema, child) or child)


def _entry(schema: dict[str, Any], node: _Node) -> _Node | None:
    """Return the node of the entries of a list or of a mapping with names that the user chooses, or None."""
    return None if "properties" in node.schema else _step(schema, node, None) or _step(schema, node, ANY)


def _unknown(path: str, schema: dict[str, Any], step: str | int | None) -> str:
    known = list(all_fields())
    plain = _joined(tuple("[]" if not isinstance(each, str) else each for each in steps_of(path)))
    guess = nearest(plain, known) or next(
        (each for each in known if re.split(r"[.\[]", each)[-1].casefold() == str(step).casefold()), None
    )
    hint = f"; did you mean {guess}?" if guess else "; see the list of 'authgate config explain'"
    return f"the configuration has no field {path!r}{hint}"
