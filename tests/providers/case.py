"""The cases of this folder: a token of each identity provider, and its near misses, as the YAML files describe them.

Values are invented; shapes follow each provider's public documentation. Times in claims are those of the page in
docs/providers. A test moves them, so that the token was issued a moment ago.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import jwt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authgate.dev.compact import JsonObject, json_bytes, segment
from authgate.dev.keys import SigningKey
from tests.support.key_pool import KeyPool

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_TIMES: Final = ("exp", "nbf", "iat", "auth_time")
_POOL: Final = KeyPool()


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A token that differs from the accepted one, and the reason code of its denial."""

    name: str
    reason: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One provider: its published documents, its token, the identity in that token, and the near misses."""

    name: str
    discovery: Mapping[str, Any] | None
    keys: Mapping[str, Any]
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    request_header: str
    padded: bool
    identity: str
    groups: tuple[str, ...]
    near: tuple[NearMiss, ...]
    example: tuple[Mapping[str, Any], ...]
    """Requests under the policy example of the page: their policy, method and path, changed claims, and status."""

    @property
    def key(self) -> SigningKey:
        """The provider's signing key, with the kid of the token's header."""
        return _POOL.key(str(self.header["alg"]), kid=self.header.get("kid"))

    @property
    def hosts(self) -> set[str]:
        """The hosts that serve the documents."""
        return {host for url in self.documents() if (host := urlsplit(url).hostname) is not None}

    def documents(self) -> dict[str, bytes]:
        """Return the published documents by URL."""
        published = {}
        if self.discovery is not None:
            url = self.keys.get("discovery") or self.discovery["issuer"].rstrip("/") + WELL_KNOWN
            published[url] = json_bytes(self.discovery)
        if "url" in self.keys:
            published[self.keys["url"]] = self._key_document()
        return published

    def _key_document(self) -> bytes:
        match self.keys.get("format", "jwks"):
            case "pem":  # one key at its own address
                return self.key.public_pem()
            case "certificates":
                return json_bytes({str(self.key.kid): _certificate(self.key)})
            case _:
                jwk = _merged(self.key.jwk(), self.keys.get("jwk", {}))
                more = self.keys.get("members", {})
                return json_bytes({"keys": [jwk, *self.keys.get("others", ())], **more})

    def token(self, changes: Mapping[str, Any] | None = None) -> str:
        """Return a signed token; `changes` are those of a near miss.

        `header` and `claims` replace members, and null removes one. `age` is the token's age in seconds. `text`
        replaces the whole token.
        """
        changes = changes or {}
        if "text" in changes:
            return str(changes["text"])
        issued = self.claims.get("iat", self.claims["exp"] - 120)
        seconds = round(time.time()) - 1 - issued - changes.get("age", 0)
        header, claims = _moved(self.header, seconds), _moved(self.claims, seconds)
        header, claims = (
            _merged(header, changes.get("header", {})),
            _merged(claims, changes.get("claims", {})),
        )
        if self.padded:
            return self._signed_with_padding(header, claims)
        return self.key.sign_raw(json_bytes(header), json_bytes(claims))

    def _signed_with_padding(self, header: JsonObject, claims: JsonObject) -> str:
        """Return a token whose segments have base64 padding, which is part of what is signed."""
        signed = ".".join(_padded(segment(json_bytes(members))) for members in (header, claims))
        signature = jwt.get_algorithm_by_name(self.key.algorithm).sign(
            signed.encode("ascii"), self.key.private
        )
        return f"{signed}.{_padded(segment(signature))}"


@cache
def case(name: str) -> Case:
    """Return a provider's case."""
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    near = tuple(NearMiss(item.pop("name"), item.pop("reason"), item) for item in data["near"])
    return Case(
        name=name,
        discovery=data.get("discovery"),
        keys=data.get("keys", {}),
        header=data["header"],
        claims=data["claims"],
        request_header=data.get("request_header", "Authorization"),
        padded=data.get("padded", False),
        identity=data["identity"],
        groups=tuple(data.get("groups", ())),
        near=near,
        example=tuple(data["example"]),
    )


def case_names() -> list[str]:
    """Return the names of all cases, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _merged(members: Mapping[str, Any], changes: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def _moved(claims: Mapping[str, Any], seconds: int) -> JsonObject:
    def moved(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(key, below) for key, below in value.items()}
        return value + seconds if name in _TIMES and isinstance(value, int) else value

    return {name: moved(name, value) for name, value in claims.items()}


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def _certificate(key: SigningKey) -> str:
    """Return a self-signed certificate of the key as PEM."""
    assert isinstance(key.private, rsa.RSAPrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key.private, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode("ascii")
