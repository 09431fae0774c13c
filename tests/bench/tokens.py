"""Many tokens like those of ServiceAccounts, signed once and kept in the cache folder."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives import serialization

from authgate.dev.compact import JsonObject
from authgate.dev.keys import PrivateKey, SigningKey, new_private_key, usual_shape

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "my-audience"
_LIFETIME = 10 * 365 * 86400
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file with a token on each line: `count` of them after the first `skip`."""

    path: Path
    count: int
    skip: int = 0

    def read(self) -> list[str]:
        """Return the tokens."""
        return self.path.read_text("ascii").split()[self.skip : self.skip + self.count]

    def split(self, first: int) -> tuple[TokenFile, TokenFile]:
        """Return the first tokens, and the others."""
        return (
            TokenFile(self.path, first, self.skip),
            TokenFile(self.path, self.count - first, self.skip + first),
        )


class TokenStore:
    """Keys and tokens in a private folder. Missing ones are created; existing ones are reused."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._keys: dict[str, SigningKey] = {}

    def key(self, algorithm: str) -> SigningKey:
        """Return the key that signs every token of an algorithm."""
        if algorithm not in self._keys:
            self._keys[algorithm] = self._load(algorithm)
        return self._keys[algorithm]

    def jwks(self, *algorithms: str) -> JsonObject:
        """Return the public keys as a JWK Set."""
        return {"keys": [self.key(algorithm).jwk() for algorithm in algorithms]}

    def good(self, algorithm: str, count: int) -> TokenFile:
        """Return tokens that are valid for years."""
        return self._tokens(f"{algorithm}-good", algorithm, count, expired=False)

    def expired(self, count: int) -> TokenFile:
        """Return RS256 tokens with a valid signature that expired an hour ago."""
        return self._tokens("RS256-expired", "RS256", count, expired=True)

    def forged(self, count: int) -> TokenFile:
        """Return RS256 tokens with one changed letter in the signature."""
        path = self._folder / "RS256-forged.txt"
        tokens = [_forged(token) for token in self.good("RS256", count).read()]
        _write(path, tokens)
        return TokenFile(path, count)

    def garbage(self, count: int) -> TokenFile:
        """Return random texts of the length of a token."""
        path = self._folder / "garbage.txt"
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        _write(path, ["".join(random.choices(letters, k=900)) for _ in range(count)])
        return TokenFile(path, count)

    def _tokens(self, name: str, algorithm: str, count: int, *, expired: bool) -> TokenFile:
        path = self._folder / f"{name}.txt"
        there = path.read_text("ascii").split() if path.exists() else []
        if len(there) < count:
            key = self.key(algorithm)

            def sign(number: int) -> list[str]:
                size = min(_CHUNK, count - number)
                return [key.sign(_claims(number + one, expired=expired)) for one in range(size)]

            with ThreadPoolExecutor(os.cpu_count()) as threads:  # signing releases the interpreter's lock
                for chunk in threads.map(sign, range(len(there), count, _CHUNK)):
                    there += chunk
            _write(path, there)
        return TokenFile(path, count)

    def _load(self, algorithm: str) -> SigningKey:
        path = self._folder / f"{algorithm}.pem"
        if path.exists():
            # Older versions of cryptography have no ML-DSA, so its type is not part of `PrivateKey`.
            private = cast("PrivateKey", serialization.load_pem_private_key(path.read_bytes(), None))
        else:
            private = new_private_key(usual_shape(algorithm))
            pem = private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            path.touch(mode=0o600)
            path.write_bytes(pem)
        return SigningKey.of(private, algorithm=algorithm)


def _claims(number: int, *, expired: bool) -> JsonObject:
    """Return the claims that kube-apiserver writes into a pod's token. Every pod and every token is different."""
    now = int(time.time())
    return {
        "aud": [AUDIENCE],
        "exp": now - 3600 if expired else now + _LIFETIME,
        "iat": now - 7200,
        "iss": ISSUER,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": "production",
            "node": {"name": f"node-{number % 50}", "uid": str(uuid.uuid4())},
            "pod": {"name": f"web-7d4b9c6f5-{number:05d}", "uid": str(uuid.uuid4())},
            "serviceaccount": {"name": "web", "uid": "3b7c9d6e-5f0a-4a2b-9c1d-8e7f6a5b4c3d"},
            "warnafter": now + 3607,
        },
        "nbf": now - 7200,
        "sub": "system:serviceaccount:production:web",
    }


def _forged(token: str) -> str:
    head, _, signature = token.rpartition(".")
    middle = len(signature) // 2
    other = "B" if signature[middle] != "B" else "C"
    return f"{head}.{signature[:middle]}{other}{signature[middle + 1 :]}"


def _write(path: Path, tokens: list[str]) -> None:
    scratch = path.with_suffix(".new")
    scratch.touch(mode=0o600)
    scratch.write_text("\n".join(tokens) + "\n", "ascii")
    scratch.replace(path)


def gate_document(jwks: JsonObject, *, listen: str, admin: str) -> str:
    """Return a configuration for these tokens: an issuer with static keys, a policy, and default values."""
    keys = cast("list[dict[str, str]]", jwks["keys"])
    algorithms = sorted({key["alg"] for key in keys})
    return json.dumps(  # JSON is YAML
        {
            "jwt": [
                {
                    "issuer": {"url": ISSUER, "audiences": [AUDIENCE]},
                    "claimMappings": {"username": {"claim": "sub", "prefix": ""}, "uid": {"claim": "jti"}},
                    "gate": {
                        "name": "bench",
                        "algorithms": algorithms,
                        "staticKeys": {"inline": jwks},
                    },
                }
            ],
            "policies": {"default": {"allow": [{"issuers": ["bench"], "groups": ["system:authenticated"]}]}},
            "server": {"listen": [listen], "admin": admin},
            "cache": {"ttl": "1h"},
            "shutdown": {"delay": "0s", "timeout": "1s"},
        },
        indent=2,
    )
