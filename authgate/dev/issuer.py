"""A minimal OpenID provider: the documents it publishes and the tokens it signs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from authgate.dev.compact import Clock, JsonObject, changed
from authgate.dev.keys import SigningKey

WELL_KNOWN = "/.well-known/openid-configuration"


def path_of(url: str) -> str:
    """Return the decoded path of a URL."""
    return unquote(urlsplit(url).path)


class Issuer:
    """Sign with one key, and publish this key and older ones.

    `bad_keys` are published unchanged after the valid keys. `discovery_changes` are applied to the discovery document
    (`OMIT` removes a member). Both may be changed at any time.
    """

    def __init__(
        self, url: str, key: SigningKey, *, jwks_uri: str | None = None, clock: Clock = time.time
    ) -> None:
        self.url = url
        self.jwks_uri = url.rstrip("/") + "/jwks" if jwks_uri is None else jwks_uri
        self.clock = clock
        self.bad_keys: list[JsonObject] = []
        self.discovery_changes: JsonObject = {}
        self._key = key
        self._published = [key]

    @property
    def key(self) -> SigningKey:
        """The current signing key."""
        return self._key

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The currently published keys."""
        return tuple(self._published)

    @property
    def jwks_path(self) -> str:
        """The path of the JWKS on its server."""
        return path_of(self.jwks_uri)

    @property
    def discovery_path(self) -> str:
        """The path of the discovery document (OpenID Connect Discovery 1.0 section 4.1)."""
        return path_of(self.url).rstrip("/") + WELL_KNOWN

    def announce(self, key: SigningKey) -> None:
        """Publish a key that does not sign yet."""
        self._published.append(key)

    def withdraw(self, *keys: SigningKey) -> None:
        """Stop publishing these keys; the signing key keeps signing."""
        self._published = [key for key in self._published if key not in keys]

    def rotate(self, key: SigningKey | None = None, *, overlap: bool = True) -> SigningKey:
        """Sign with a new key from now on, by default a generated one; without overlap, publish only this key."""
        new = self._key.successor() if key is None else key
        older = [known for known in self._published if known is not new] if overlap else []
        self._key, self._published = new, [new, *older]
        return new

    def mint(
        self,
        subject: str = "user-1",
        audience: str | Sequence[str] = "my-audience",
        *,
        lifetime: float = 3600.0,
        claims: Mapping[str, object] | None = None,
        headers: Mapping[str, object] | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """Return a token with the usual claims, valid from now on for `lifetime` seconds.

        `claims` and `headers` replace, add and (with `OMIT`) remove members; `key` need not be published.
        """
        now = int(self.clock())
        usual: JsonObject = {
            "iss": self.url,
            "sub": subject,
            "aud": audience if isinstance(audience, str) else list(audience),
            "iat": now,
            "nbf": now,
            "exp": int(now + lifetime),
            "jti": str(uuid.uuid4()),
        }
        return (key or self._key).sign(changed(usual, claims), {"typ": "JWT", **(headers or {})})

    def jwks(self) -> JsonObject:
        """Return the JWK Set (RFC 7517 section 5): the signing key, the other published keys, then the bad keys."""
        return {"keys": [*(key.jwk() for key in self._published), *self.bad_keys]}

    def discovery(self) -> JsonObject:
        """Return the discovery document with the members that kube-apiserver writes, and the changes applied."""
        usual: JsonObject = {
            "issuer": self.url,
            "jwks_uri": self.jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self._published}),
        }
        return changed(usual, self.discovery_changes)
