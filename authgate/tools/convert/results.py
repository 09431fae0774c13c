"""The configuration that a conversion builds, and the parts that several conversions share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from authgate.config.models.fields import LABEL, host_of
from authgate.tools.convert.values import Converted
from authgate.vocabulary import IDENTITY_HEADER_PATTERN, PRESET_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authgate.tools.convert.fields import Fields, Options, Reading

DENY_ALL: Final[dict[str, Any]] = {"deny": [{"users": ["*"]}]}
"""The part of a policy or a rule that denies every request."""

CLUSTER_NAME: Final = "home"
REVIEWS_ONLY: Final = "authgate-access-reviews-only"
"""The audience of a cluster that only reviews access: no token has it."""

_POLICY: Final = re.compile(r"[^a-z0-9]+")
_PLAIN_PATH: Final = re.compile(r"/[^%;?#\\\x00-\x1f\x7f-\xa0]*")


@dataclass(slots=True)
class Result:
    """The sections of a configuration, which conversions fill."""

    reading: Reading
    options: Options
    cluster: dict[str, Any] = field(default_factory=dict)
    jwt: list[dict[str, Any]] = field(default_factory=list)
    introspection: list[dict[str, Any]] = field(default_factory=list)
    credential: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)

    def converted(self) -> Converted:
        """Return the configuration and the notes."""
        if self.options.proxy is not None:
            self.server["proxy"] = self.options.proxy
        sections = {
            "cluster": self.cluster,
            "jwt": self.jwt,
            "introspection": self.introspection,
            "credential": self.credential,
            "policies": self.policies,
            "headers": self.headers,
            "server": self.server,
        }
        document: dict[str, object] = {"apiVersion": "authgate.dev/v1alpha1", "kind": "AuthgateConfiguration"}
        if self.headers.get("set") == []:
            del self.headers["set"]
        document |= {name: value for name, value in sections.items() if value}
        return Converted(document, self.reading.finish())

    def issuer(self, name: str) -> dict[str, Any]:
        """Return the jwt entry with this `gate.name`."""
        return next(item for item in self.jwt if item["gate"]["name"] == name)

    def issuer_name(self, wanted: str) -> str:
        """Return a name for a further issuer: the wanted text as a label, with a number if it is taken."""
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-")[:55] or "issuer"
        taken = {item["gate"]["name"] for item in self.jwt} | {item["name"] for item in self.introspection}
        name, number = label, 1
        while name in taken or name == CLUSTER_NAME or not re.fullmatch(LABEL, name, re.ASCII):
            number += 1
            name = f"{label}-{number}"
        return name

    def add_issuer(
        self,
        wanted: str,
        url: str,
        accepted: Iterable[str],
        gate: dict[str, Any],
        rules: list[dict[str, Any]],
    ) -> str | None:
        """Add an issuer whose user names are `sub` after its own name, or add audiences to the entry that it has.

        Return its `gate.name`, or None if it has an entry with other settings.
        """
        same = next((item for item in self.jwt if item["issuer"]["url"] == url), None)
        if same is None:
            name = self.issuer_name(wanted)
            entry = issuer_entry(url, list(accepted), name=name, **gate)
            if rules:
                entry["claimValidationRules"] = rules
            entry["claimMappings"] = {"username": {"claim": "sub", "prefix": f"{name}:"}}
            self.jwt.append(entry)
            return name
        name = str(same["gate"]["name"])
        if same["gate"] != {"name": name, **gate} or same.get("claimValidationRules", []) != rules:
            return None
        merged = list(dict.fromkeys([*same["issuer"]["audiences"], *accepted]))
        same["issuer"] = issuer_entry(url, merged)["issuer"]
        return name

    def add_policy(self, wanted: str, policy: dict[str, Any]) -> str:
        """Add a policy and return its name: the wanted text as a DNS label, with a number if it is taken."""
        label = _POLICY.sub("-", wanted.lower()).strip("-")[:55].rstrip("-") or "policy"
        name, number = label, 1
        while name in self.policies:
            number += 1
            name = f"{label}-{number}"
        self.policies[name] = policy
        return name


def audiences(result: Result, given: Iterable[str], fields: Fields, name: str, missing: str) -> list[str]:
    """Return the accepted audiences: those of the input, or else those of the caller; a note if there are neither."""
    found = list(dict.fromkeys(given)) or list(result.options.audiences)
    if not found:
        fields.note(name if name in fields else None, missing if name in fields else f"{name} {missing}")
    return found


def issuer_entry(url: str, accepted: list[str], **gate: object) -> dict[str, Any]:
    """Return a jwt entry without claim mappings."""
    issuer: dict[str, Any] = {"url": url, "audiences": accepted}
    if len(accepted) > 1:
        issuer["audienceMatchPolicy"] = "MatchAny"
    return {"issuer": issuer, "gate": dict(gate)}


def issuer_label(url: str) -> str:
    """Return the host of an issuer, or its name."""
    return host_of(url) or url


def literal(text: str) -> str:
    """Return a pattern of policies that matches exactly this text."""
    return re.sub(r"(\\*)\*", r"\1\1\\*", text)


def plain_path(path: str) -> bool:
    """Return whether a path without patterns can be written in a rule."""
    segments = path.split("/")[1:]
    return (
        _PLAIN_PATH.fullmatch(path) is not None
        and "*" not in path
        and all(segments[:-1])
        and {".", ".."}.isdisjoint(segments)
    )


def with_paths(rules: Iterable[Mapping[str, Any]], paths: list[str]) -> list[dict[str, Any]]:
    """Return rules limited to these paths."""
    return [{"paths": paths, **rule} for rule in rules]


def quoted(text: str) -> str:
    """Return a string of CEL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def has_audience(wanted: Iterable[str]) -> str:
    """Return an expression: the token is for one of these audiences."""
    listed = ", ".join(map(quoted, wanted))
    return f"[{listed}].exists(a, claims.aud == a || (type(claims.aud) == list && a in dyn(claims.aud)))"


def both(*conditions: str) -> str:
    """Return an expression that is true if all conditions are."""
    return conditions[0] if len(conditions) == 1 else " && ".join(f"({text})" for text in conditions)


def either(conditions: Iterable[str]) -> str:
    """Return an expression that is true if one of the conditions is."""
    texts = list(dict.fromkeys(conditions))
    return texts[0] if len(texts) == 1 else " || ".join(f"({text})" for text in texts)


def claim_header(result: Result, fields: Fields, name: str, claim: str) -> None:
    """Add a header with a claim, whose name has dots between the names of nested claims; `fields` are the request."""
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in claim.split("."))
    headers = result.headers.setdefault("set", [])
    taken = {str(item["name"]).lower(): item.get("claim") for item in headers}
    if taken.get(name.lower()) == pointer:
        return
    reserved = name.lower().startswith(PRESET_PREFIXES["oauth2-proxy"].lower())
    if name.lower() in taken or reserved or not re.fullmatch(IDENTITY_HEADER_PATTERN, name):
        fields.note(None, "is omitted: authgate cannot send this header, or sends another claim in it")
        return
    headers.append({"name": name, "claim": pointer})


def string_matcher(fields: Fields, subject: str) -> str | None:
    """Return an expression for a text and a StringMatcher of Envoy, or None if there is no equivalent."""
    fold = fields.flag("ignore_case")
    value = f"{subject}.lowerAscii()" if fold else subject
    for name, written in (
        ("exact", "{0} == {1}"),
        ("prefix", "{0}.startsWith({1})"),
        ("suffix", "{0}.endsWith({1})"),
        ("contains", "{0}.contains({1})"),
    ):
        if name in fields:
            text = fields.text(name)
            return written.format(value, quoted(text.lower() if fold else text)) if text.isascii() else None
    regex = fields.section("safe_regex")
    if regex is not None:
        regex.omit("google_re2", "CEL has RE2 as well")
        pattern = f"^(?:{regex.text('regex')})$"
        return None if fold else f"{subject}.matches({quoted(pattern)})"
    return None
