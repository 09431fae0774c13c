"""kube-apiserver's AuthenticationConfiguration, which shares only `jwt:` with authgate's configuration.

Source: k8s.io/apiserver, pkg/apis/apiserver/v1/types.go.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from authgate.config import Problem
from authgate.config.models.fields import LABEL, host_of
from authgate.config.problems import shown
from authgate.json_pointer import claim_name, claim_named
from authgate.tools.convert.search import Pattern, Values
from authgate.tools.convert.values import ConversionError, Converted, read_original
from authgate.vocabulary import DEFAULT_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authgate.config.problems import Path
    from authgate.tools.convert.values import Original

_ALGORITHMS = tuple(name for name in DEFAULT_ALGORITHMS if name not in ("EdDSA", "Ed25519"))
"""The signature algorithms that kube-apiserver accepts."""

_KIND = "AuthenticationConfiguration"
_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_HEAD = ("apiVersion", "kind", "jwt")

_PREFIXED = {"claim": None, "prefix": None, "expression": None}
_ISSUERS = [
    {
        "issuer": dict.fromkeys(
            ("url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy")
        ),
        "claimValidationRules": [dict.fromkeys(("claim", "requiredValue", "expression", "message"))],
        "claimMappings": {
            "username": _PREFIXED,
            "groups": _PREFIXED,
            "uid": dict.fromkeys(("claim", "expression")),
            "extra": [dict.fromkeys(("key", "valueExpression"))],
        },
        "userValidationRules": [dict.fromkeys(("expression", "message"))],
    }
]
"""The fields of both formats: mappings with their members, lists with their kind of entry, None for any value."""

_MEANT_WHEN_EMPTY = frozenset({"prefix", "requiredValue"})

_UNKNOWN = f"is omitted: it is not a known field of {_KIND}"
_LOST = {
    "anonymous": "is omitted: list the paths that need no token in policies.<name>.anonymous",
    "egressSelectorType": "is omitted: authgate has no egress selectors and connects to the issuer directly",
}
_CLAIMS: tuple[tuple[Pattern, ...], ...] = (
    ("claimMappings", "username", "claim"),
    ("claimMappings", "groups", "claim"),
    ("claimMappings", "uid", "claim"),
    ("claimValidationRules", ..., "claim"),
)
"""The fields of an issuer that name claims."""

_POINTER = (
    "is omitted: kube-apiserver has no JSON pointers; use an expression instead, such as"
    " claims.realm_access.roles"
)
_DISCOVERY_ONLY = (
    "is omitted: kube-apiserver finds keys only by discovery, so the issuer needs a discovery document"
)
_OMITTED_OF_GATE = {
    "algorithms": f"is omitted: kube-apiserver accepts {', '.join(_ALGORITHMS)} from every issuer",
    "jwksURL": _DISCOVERY_ONLY,
    "staticKeys": _DISCOVERY_ONLY,
    "maxTokenLifetime": "is omitted: use a claimValidationRules expression with claims.exp and claims.iat instead",
}


def from_authentication_configuration(text: str) -> Converted:
    """Return authgate's configuration with the issuers of an AuthenticationConfiguration; raises `ConversionError`.

    Each issuer gets the algorithms that kube-apiserver accepts, and a name unless its host can serve as one.
    """
    original = read_original(text)
    version, kind = original.fields.get("apiVersion"), original.fields.get("kind")
    if version not in _VERSIONS or kind != _KIND:
        raise ConversionError(
            [Problem("kind", f"must be {_KIND} of {_VERSIONS[0]}", f"{shown(kind)} of {shown(version)}")]
        )
    notes = [
        original.note((name,), _LOST.get(name, _UNKNOWN)) for name in original.fields if name not in _HEAD
    ]
    jwt = original.fields.get("jwt") or ()
    if not isinstance(jwt, tuple):
        raise ConversionError([original.note(("jwt",), "must be a list of issuers")])
    issuers = _copied(original, ("jwt",), jwt, _ISSUERS, notes)
    for place, name in _missing_names(Values({"jwt": issuers})):
        issuers[place]["gate"] = {"name": name}
        note = f"is {name} in metrics, logs and policies, because its host is not a unique name; change it if you like"
        notes.append(original.note(("jwt", place, "gate", "name"), note))
    for issuer in issuers:
        if isinstance(issuer, dict):
            for pattern in _CLAIMS:
                for found, claim in list(Values(issuer).texts(*pattern)):
                    _holder(issuer, found)["claim"] = claim_named(claim)
            issuer.setdefault("gate", {})["algorithms"] = list(_ALGORITHMS)
    head = {"apiVersion": "authgate.dev/v1alpha1", "kind": "AuthgateConfiguration"}
    return Converted({**head, "jwt": issuers}, tuple(notes))


def to_authentication_configuration(text: str) -> Converted:
    """Return the AuthenticationConfiguration with the issuers of a valid authgate configuration.

    Raises `ConversionError` if the text is not YAML.
    """
    original = read_original(text)
    notes = [
        original.note((name,), "is omitted: an AuthenticationConfiguration contains only issuers (jwt)")
        for name, value in original.fields.items()
        if name not in _HEAD and value is not None
    ]
    values = Values(original.fields)
    for path, value in values.find("jwt", ..., "gate", ...):
        if value is not None:
            note = _OMITTED_OF_GATE.get(str(path[-1]), "is omitted: only authgate has this setting")
            notes.append(original.note(path, note))
    for path, url in (
        *values.texts("jwt", ..., "issuer", "url"),
        *values.texts("jwt", ..., "issuer", "discoveryURL"),
    ):
        if url.startswith("http://"):
            notes.append(original.note(path, "is rejected by kube-apiserver, which accepts only https"))
    issuers = [
        _by_name({name: value for name, value in issuer.items() if name != "gate"}, original, path, notes)
        for path, issuer in values.find("jwt", ...)
        if isinstance(issuer, dict)
    ]
    return Converted({"apiVersion": _VERSIONS[0], "kind": _KIND, "jwt": issuers}, tuple(notes))


def _copied(original: Original, path: Path, value: object, known: Any, notes: list[Problem]) -> Any:
    """Return the part of a value that both formats have; add notes about other members unless they are empty.

    A value of the wrong type is copied, and `check` rejects it. Go treats "" and null as missing.
    """
    if isinstance(known, list) and isinstance(value, tuple):
        return [_copied(original, (*path, place), item, known[0], notes) for place, item in enumerate(value)]
    if not isinstance(known, dict) or not isinstance(value, dict):
        return value
    copied = {}
    for name, member in value.items():
        if member is None or (member == "" and name not in _MEANT_WHEN_EMPTY):
            continue
        if name in known:
            copied[name] = _copied(original, (*path, name), member, known[name], notes)
        else:
            notes.append(original.note((*path, name), _LOST.get(name, _UNKNOWN)))
    return copied


def _by_name(issuer: dict[str, Any], original: Original, path: Path, notes: list[Problem]) -> dict[str, Any]:
    """Return an issuer with claims named as in kube-apiserver; a pointer to a nested claim is omitted.

    Without it the mapping or rule is incomplete, and kube-apiserver rejects it.
    """
    for place in _CLAIMS:
        for found, claim in list(Values(issuer).texts(*place)):
            if not claim.startswith("/"):
                continue
            holder = _holder(issuer, found)
            name = claim_name(claim)
            if name is None:
                del holder["claim"]
                notes.append(original.note((*path, *found), _POINTER))
            else:
                holder["claim"] = name
    return issuer


def _holder(issuer: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the mapping of a path's last member, after copying every container on the path."""
    below: Any = issuer
    for step, after in pairwise(path):
        below[step] = list(below[step]) if isinstance(after, int) else dict(below[step])
        below = below[step]
    return cast("dict[str, Any]", below)


def _missing_names(values: Values) -> Iterator[tuple[int, str]]:
    """Yield a name for each issuer that shares its host with another one, or whose host is not a valid label."""
    urls = {int(path[1]): url for path, url in values.texts("jwt", ..., "issuer", "url")}
    hosts = Counter(host_of(url) for url in urls.values())
    taken = {host for host, count in hosts.items() if count == 1}
    for place, url in urls.items():
        host = host_of(url) or ""
        if host in taken and re.fullmatch(LABEL, host, re.ASCII):
            continue
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.partition("://")[2]).strip("-")[:55] or "issuer"
        if name in taken:
            name = f"{name}-{place}"
        taken.add(name)
        yield place, name
