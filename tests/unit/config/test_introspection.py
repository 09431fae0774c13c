"""`introspection`: what is accepted, and what is refused at which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.config import ConfigError, load

if TYPE_CHECKING:
    from pathlib import Path

JWT = {
    "issuer": {"url": "https://corp.example.com", "audiences": ["my-app"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
}
CLUSTER = {"audiences": ["my-app"], "tokenReview": {"legacyAudiences": ["https://kubernetes.default.svc"]}}


def server(name: str = "opaque", **members: Any) -> dict[str, Any]:
    """An entry of `introspection`; a member that is None is left out."""
    entry = {
        "name": name,
        "endpoint": "https://login.example.com/introspect",
        "clientAuth": {"clientID": "authgate", "secretFile": "/nonexistent/secret"},
        "audiences": ["my-app"],
        "claimMappings": {"username": {"claim": "sub", "prefix": f"{name}:"}},
        **members,
    }
    return {key: value for key, value in entry.items() if value is not None}


def problems(folder: Path, *entries: dict[str, Any], **sections: Any) -> dict[str, str]:
    """The problems of a configuration by path; an empty mapping if it is valid."""
    file = folder / "authgate.yaml"
    file.write_text(yaml.safe_dump({"introspection": list(entries), **sections}))
    try:
        load(file, {})
    except ConfigError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def auth(**members: Any) -> dict[str, Any]:
    """A `clientAuth` section."""
    return {"clientID": "authgate", **members}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-endpoint": ({"endpoint": None}, "", "needs endpoint, or issuer"),
    "http": ({"endpoint": "http://login.example.com/introspect"}, ".endpoint", "must be https://"),
    "relative": ({"endpoint": "/introspect"}, ".endpoint", "must be an absolute URL"),
    "user-info": ({"endpoint": "https://a:b@login.example.com/"}, ".endpoint", "user name or password"),
    "http-issuer": ({"issuer": "http://login.example.com"}, ".issuer", "must be https://"),
    "issuer-with-query": ({"issuer": "https://login.example.com/?a=b"}, ".issuer", "must not have a query"),
    "no-audiences": ({"audiences": None}, ".audiences", "is required: the audiences"),
    "empty-audiences": ({"audiences": []}, ".audiences", "must not be empty"),
    "no-mappings": ({"claimMappings": None}, ".claimMappings", "is required"),
    "no-client": ({"clientAuth": None}, ".clientAuth", "is required"),
    "no-name": ({"name": None}, ".name", "is required"),
    "inline-secret": (
        {"clientAuth": auth(secret="hunter2")},
        ".clientAuth.secret",
        "is not a known field",
    ),
    "no-secret": ({"clientAuth": auth()}, ".clientAuth.secretFile", "is required with method client_secret"),
    "no-key": (
        {"clientAuth": auth(method="private_key_jwt")},
        ".clientAuth.keyFile",
        "is required with method private_key_jwt",
    ),
    "secret-and-key": (
        {"clientAuth": auth(secretFile="/a", keyFile="/b")},
        ".clientAuth.keyFile",
        "must not be given with method client_secret_basic",
    ),
    "certificate-over-http": (
        {
            "endpoint": "http://127.0.0.1:1/introspect",
            "clientAuth": auth(method="tls_client_auth", keyFile="/a", certFile="/b"),
        },
        ".clientAuth.method",
        "needs an https:// endpoint",
    ),
    "hmac": (
        {"clientAuth": auth(method="private_key_jwt", keyFile="/a", algorithm="HS256")},
        ".clientAuth.algorithm",
        "HMAC",
    ),
    "no-issuers": ({"tokens": "all"}, ".issuers", "is required with tokens: all"),
    "issuers-of-opaque": ({"issuers": ["corp.example.com"]}, ".issuers", "needs tokens: all"),
    "unknown-issuer": ({"tokens": "all", "issuers": ["corp"]}, ".issuers[0]", "is not the name of an entry"),
    "prefix": ({"prefix": "a b"}, ".prefix", "characters that tokens can begin with"),
    "unverified-email": (
        {"claimMappings": {"username": {"expression": "claims.email"}}},
        ".claimMappings.username.expression",
        "email_verified",
    ),
}


@pytest.mark.parametrize(("members", "path", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_entry_is_refused(tmp_path: Path, members: dict[str, Any], path: str, message: str) -> None:
    """The problem is at the field, with the reason; no value of a secret field is shown."""
    found = problems(tmp_path, server(**members), jwt=[JWT])
    assert message in found[f"introspection[0]{path}"]
    assert "hunter2" not in str(found)


def test_an_entry_is_enough(tmp_path: Path) -> None:
    """Neither a cluster nor an issuer is needed beside it; its names and audiences are known to policies."""
    policy = {"audiences": ["my-app"], "allow": [{"issuers": ["opaque"]}]}
    assert problems(tmp_path, server(), policies={"default": policy}) == {}


def test_an_opaque_token_has_one_server(tmp_path: Path) -> None:
    """Entries differ by their prefix, and beside legacyAudiences each needs one."""
    github = server("github", prefix="gho_")
    assert problems(tmp_path, server(), github) == {}
    assert problems(tmp_path, github, cluster=CLUSTER) == {}
    assert "introspection[1].prefix" in problems(tmp_path, server(), server("other"))
    assert "introspection[1].prefix" in problems(tmp_path, github, server("other", prefix="gho_"))
    found = problems(tmp_path, server(), cluster=CLUSTER)
    assert "legacyAudiences" in found["introspection[0].prefix"]


def test_names_and_issuers_are_unique(tmp_path: Path) -> None:
    """A name, an issuer and a named entry of `jwt` belong to one entry."""
    assert (
        "must be unique" in problems(tmp_path, server("corp.example.com"), jwt=[JWT])["introspection[0].name"]
    )
    one: dict[str, Any] = {
        "issuer": "https://login.example.com",
        "tokens": "all",
        "issuers": ["corp.example.com"],
    }
    assert problems(tmp_path, server(**one), jwt=[JWT]) == {}
    found = problems(tmp_path, server(**one), server("other", prefix="x", **one), jwt=[JWT])
    assert {"introspection[1].issuer", "introspection[1].issuers[0]"} <= found.keys()


def test_tokens_of_a_cluster_are_not_sent_to_an_authorization_server(tmp_path: Path) -> None:
    """An issuer belongs to one entry, and the cluster's tokens are nobody else's business."""
    issuer = "https://oidc.example.com/cluster"
    published: dict[str, Any] = {"keysFrom": "issuer", "tokenReview": {"mode": "never"}}
    for how in ({}, published):
        cluster = {"audiences": ["my-app"], "issuers": [issuer], **how}
        found = problems(tmp_path, server(issuer=issuer), cluster=cluster)
        assert "cluster.issuers" in found["introspection[0].issuer"]


def test_a_key_must_fit_its_algorithm_or_certificate(tmp_path: Path) -> None:
    """A key for another algorithm is rejected. A file that does not exist yet is a warning."""
    key = tmp_path / "key.pem"
    key.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
    signed = auth(method="private_key_jwt", keyFile=str(key))
    found = problems(tmp_path, server(clientAuth=signed))
    assert "cannot sign" in found["introspection[0].clientAuth.keyFile"] or "can sign with RS256" in str(
        found
    )
    assert problems(tmp_path, server(clientAuth={**signed, "algorithm": "ES256"})) == {}
    key.write_bytes(_pem(rsa.generate_private_key(65537, 2048)))
    assert problems(tmp_path, server(clientAuth=signed)) == {}
    key.write_text("secret")
    assert (
        "no PEM private key"
        in problems(tmp_path, server(clientAuth=signed))["introspection[0].clientAuth.keyFile"]
    )
    file = tmp_path / "valid.yaml"
    file.write_text(yaml.safe_dump({"introspection": [server()]}))
    [warning] = [one for one in load(file, {}).warnings if "secretFile" in one.path]
    assert "cannot be read" in warning.message


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
