"""A kube-apiserver (coreos/go-oidc) verifies tokens of the gate with the keys that the gate publishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.tls import throwaway_certificate
from authgate.server.exchange import GRANT, JWT_TYPE
from tests.support.kube import ControlPlane, PlaneOptions
from tests.support.process import free_port, until
from tests.support.service import knowing, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADA = {"sub": "ada", "jti": "j-1", "groups": ["dev"]}


async def test_a_kube_apiserver_accepts_exchanged_and_identity_tokens(
    new_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    """An API server with the gate as an issuer gives the allowed identity, for both kinds of token."""
    corp = Issuer("https://issuer.example.com", SigningKey.generate("ES256"))
    certificate = throwaway_certificate(["127.0.0.1"])
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    chain.write_bytes(certificate.certificate_pem)
    key.write_bytes(certificate.key_pem)
    address = f"127.0.0.1:{free_port()}"
    url = f"https://{address}"
    document = {
        "jwt": [knowing(corp)],
        "signing": {"issuer": url},
        "identityToken": {"audience": "cluster"},
        "exchange": {
            "listen": address,
            "tls": {"certFile": str(chain), "keyFile": str(key)},
            "audiences": {"default": ["cluster"]},
        },
    }
    trust = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {
                    "url": url,
                    "certificateAuthority": certificate.ca_pem.decode(),
                    "audiences": ["cluster"],
                },
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": "gate:"},
                    "groups": {"claim": "groups", "prefix": ""},
                },
            }
        ],
    }
    options = PlaneOptions(authentication_config=json.dumps(trust))
    async with running(document) as gate, new_control_plane(options) as plane:
        mine = corp.mint("ada", claims=ADA)
        form = {
            "grant_type": GRANT,
            "subject_token_type": JWT_TYPE,
            "audience": "cluster",
            "subject_token": mine,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        ca = certificate.client_context()
        answer = await gate.client.post(f"{url}/token", urlencode(form).encode(), headers.items(), trust=ca)
        stated = (await gate.request(mine)).value("X-Auth-Identity")
        for token in (json.loads(answer.body)["access_token"], stated):

            async def named(token: str = token) -> bool:
                review = await plane.admin.review_token(token)
                return (review.username, review.groups) == ("gate:corp:ada", ("dev", "system:authenticated"))

            await until(named, within=30)
