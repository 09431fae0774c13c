"""The embedded issuer and Kubernetes API over real sockets, and the scenario of `authgate dev`."""

from __future__ import annotations

import io
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
import yaml

from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.dev.kube import MASTERS, KubeState, Permission
from authgate.dev.kube_api import (
    DISCOVERY_PATH,
    JWKS_PATH,
    TOKEN_REVIEWS_PATH,
    KubeAPI,
    ReviewRecord,
)
from authgate.dev.review import Authenticated, review
from authgate.dev.scenario import AUDIENCE, LEGACY_AUDIENCE, OTHER_AUDIENCE
from authgate.dev.tls import throwaway_certificate
from tests.support.embedded_server import EmbeddedServer
from tests.support.openid import OpenIDSite
from tests.support.scenario import running_scenario
from tests.support.token_requests import TokenRequests, token_request_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

IN_EVERY_LOOP = True

ADMIN = "Bearer the-admins"
WEAK = "Bearer somebodys"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Kubernetes API, a client, and the account `default/demo`."""

    state: KubeState
    api: KubeAPI
    server: EmbeddedServer
    client: aiohttp.ClientSession

    async def get(self, path: str, authorization: str = ADMIN) -> tuple[int, Any]:
        """Return the status and JSON of a GET."""
        headers = {"Authorization": authorization} if authorization else {}
        async with self.client.get(self.server.url + path, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: object, authorization: str = ADMIN) -> tuple[int, Any]:
        """Return the status and JSON of a POST; `bytes` are sent unchanged, anything else as JSON."""
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        headers = {"Content-Type": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        async with self.client.post(self.server.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json()

    async def review(self, token: str, *audiences: str) -> Any:
        """Return the status of a TokenReview."""
        spec = {"token": token, "audiences": list(audiences)}
        code, answer = await self.post(TOKEN_REVIEWS_PATH, {"kind": "TokenReview", "spec": spec})
        assert code == 201
        return answer["status"]

    async def request_token(
        self, authorization: str = ADMIN, name: str = "demo", **spec: object
    ) -> tuple[int, Any]:
        """Return the status and JSON of a TokenRequest."""
        return await self.post(token_request_path("default", name), {"spec": spec}, authorization)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    """One key for all tests of this file."""
    return SigningKey.generate("RS256")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a timeout of 60 s."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def cluster(key: SigningKey, client: aiohttp.ClientSession) -> AsyncIterator[Cluster]:
    """A running cluster with an administrator, a user without rights, and an account."""
    state = KubeState(key)
    state.static_token("admin", groups=[MASTERS], token=ADMIN.removeprefix("Bearer "))
    state.static_token("weak", token=WEAK.removeprefix("Bearer "))
    state.service_account("demo")
    api = KubeAPI(state)
    async with EmbeddedServer(TokenRequests(state), api) as server:
        yield Cluster(state, api, server, client)


def account_token(cluster: Cluster, *audiences: str) -> str:
    """Return a token of `default/demo`."""
    account = cluster.state.service_account("demo")
    return cluster.state.account_token(account, audiences or ("my-audience",))


# Discovery and keys


async def test_a_service_account_reads_the_keys(cluster: Cluster) -> None:
    """Every token for the cluster's own audience can read them. They have the media type of a JWKS."""
    headers = {"Authorization": f"Bearer {account_token(cluster, *cluster.state.api_audiences)}"}
    async with cluster.client.get(cluster.server.url + JWKS_PATH, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/jwk-set+json")
        assert await answer.json(content_type=None) == {"keys": [cluster.state.issuer.key.jwk()]}


async def test_the_discovery_document_names_keys_at_another_host(cluster: Cluster) -> None:
    """Like a real server's, its jwks_uri has neither the issuer's host nor the server's own."""
    code, document = await cluster.get(DISCOVERY_PATH)
    assert (code, document["issuer"]) == (200, "https://kubernetes.default.svc")
    assert document["jwks_uri"] == "https://192.0.2.2:6443/openid/v1/jwks"


@pytest.mark.parametrize(
    ("authorization", "code", "message"),
    [
        ("", 403, 'forbidden: User "system:anonymous" cannot get path "/openid/v1/jwks"'),
        (WEAK, 403, 'forbidden: User "weak" cannot get path "/openid/v1/jwks"'),
        ("Bearer nonsense", 401, "Unauthorized"),
    ],
    ids=["anonymous", "unbound", "unknown"],
)
async def test_the_keys_need_a_permitted_caller(
    cluster: Cluster, authorization: str, code: int, message: str
) -> None:
    """A caller without a token or a role gets 403. A caller with a bad token gets 401. Both are a Status."""
    answered, status = await cluster.get(JWKS_PATH, authorization)
    assert (answered, status["code"], status["kind"], status["message"]) == (code, code, "Status", message)


async def test_a_public_cluster_shows_its_keys_without_a_token(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """With `public`, no credential is required."""
    async with (
        EmbeddedServer(KubeAPI(KubeState(key, public=True))) as server,
        client.get(server.url + JWKS_PATH) as answer,
    ):
        assert answer.status == 200


async def test_a_rotated_key_is_published_at_once(cluster: Cluster) -> None:
    """The JWKS contains both keys right after a rotation."""
    cluster.state.issuer.rotate(SigningKey.generate("ES256"))
    _, document = await cluster.get(JWKS_PATH)
    assert [one["alg"] for one in document["keys"]] == ["ES256", "RS256"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_health_is_public(cluster: Cluster, path: str) -> None:
    """Probes need no token."""
    async with cluster.client.get(cluster.server.url + path) as answer:
        assert (answer.status, await answer.text()) == (200, "ok")


async def test_the_version_is_public(cluster: Cluster) -> None:
    """The version needs no token."""
    code, version = await cluster.get("/version", "")
    assert (code, version["major"]) == (200, "1")


@pytest.mark.parametrize("path", [JWKS_PATH, DISCOVERY_PATH, "/version", "/livez"])
async def test_documents_are_read_only(cluster: Cluster, path: str) -> None:
    """Only GET is allowed."""
    code, status = await cluster.post(path, {})
    assert (code, status["reason"]) == (405, "MethodNotAllowed")


# TokenReview


async def test_a_review_of_a_good_token(cluster: Cluster) -> None:
    """The response is a complete TokenReview with the identity and the matching audience."""
    account = cluster.state.service_account("demo")
    token = cluster.state.account_token(account, claims={"jti": "7"})
    code, answer = await cluster.post(
        TOKEN_REVIEWS_PATH, {"spec": {"token": token, "audiences": ["my-audience", "b"]}}
    )
    assert code == 201
    assert answer == {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {},
        "spec": {"token": token, "audiences": ["my-audience", "b"]},
        "status": {
            "authenticated": True,
            "user": {
                "username": "system:serviceaccount:default:demo",
                "uid": account.uid,
                "groups": [
                    "system:serviceaccounts",
                    "system:serviceaccounts:default",
                    "system:authenticated",
                ],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=7"]},
            },
            "audiences": ["my-audience"],
        },
    }


async def test_a_review_of_a_bad_token(cluster: Cluster) -> None:
    """A rejected token is not an API error: the status is 201, without `authenticated`, and with the reason."""
    assert await cluster.review("nonsense") == {"user": {}, "error": "invalid bearer token"}


async def test_a_static_token_is_reviewed_for_the_servers_audience(cluster: Cluster) -> None:
    """A static token's user has neither UID nor extra, so the response omits them."""
    assert await cluster.review("somebodys") == {
        "authenticated": True,
        "user": {"username": "weak", "groups": ["system:authenticated"]},
        "audiences": ["https://kubernetes.default.svc"],
    }


async def test_reviews_need_a_role(cluster: Cluster) -> None:
    """A caller without the role gets the same 403 as from a kube-apiserver."""
    code, status = await cluster.post(TOKEN_REVIEWS_PATH, {"spec": {"token": "x"}}, WEAK)
    assert code == 403
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'tokenreviews.authentication.k8s.io is forbidden: User "weak" cannot create resource '
        '"tokenreviews" in API group "authentication.k8s.io" at the cluster scope',
        "reason": "Forbidden",
        "details": {"group": "authentication.k8s.io", "kind": "tokenreviews"},
        "code": 403,
    }


async def test_a_role_binding_takes_effect_at_once(cluster: Cluster) -> None:
    """A caller that got 403 is served as soon as the role is bound."""
    cluster.state.allow("weak", Permission.REVIEW_TOKENS)
    code, _ = await cluster.post(TOKEN_REVIEWS_PATH, {"spec": {"token": "x"}}, WEAK)
    assert code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b"[]", 400),
        (b'{"kind": "Pod"}', 400),
        (b'{"spec": []}', 400),
        (b'{"spec": {"token": 5}}', 400),
        (b'{"spec": {"token": "x", "audiences": "y"}}', 400),
        (b'{"spec": {"token": "x", "audiences": [1]}}', 400),
        (b'{"spec": {"token": ""}}', 400),
        (b'{"spec": null}', 400),
        (b"{}", 400),
        (b" " * 1_100_000, 413),
    ],
    ids=[
        "text", "bytes", "deep", "list", "kind", "spec", "token", "audiences", "audience", "empty", "null", "none",
        "large",
    ],
)  # fmt: skip
async def test_a_body_that_is_not_a_review_is_refused(cluster: Cluster, body: bytes, code: int) -> None:
    """Each kind of invalid body gets a Status with its own code."""
    answered, status = await cluster.post(TOKEN_REVIEWS_PATH, body)
    assert (answered, status["kind"], status["code"]) == (code, "Status", code)


async def test_a_body_of_another_type_is_refused(cluster: Cluster) -> None:
    """A body without the media type of JSON gets 415."""
    headers = {"Authorization": ADMIN, "Content-Type": "text/plain"}
    async with cluster.client.post(
        cluster.server.url + TOKEN_REVIEWS_PATH, data=b"{}", headers=headers
    ) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (415, "UnsupportedMediaType")


async def test_reviews_cannot_be_listed(cluster: Cluster) -> None:
    """GET is not allowed at the path of reviews."""
    code, status = await cluster.get(TOKEN_REVIEWS_PATH)
    assert (code, status["reason"]) == (405, "MethodNotAllowed")


async def test_reviews_are_recorded_without_their_tokens(cluster: Cluster) -> None:
    """A record has the caller, the audiences and the verdict."""
    await cluster.review(account_token(cluster), "my-audience")
    await cluster.review("nonsense")
    assert list(cluster.api.reviews) == [
        ReviewRecord("admin", ("my-audience",), authenticated=True),
        ReviewRecord("admin", (), authenticated=False),
    ]


# TokenRequest


async def test_a_requested_token_passes_its_review(cluster: Cluster) -> None:
    """The token names the account and has the requested audience."""
    code, answer = await cluster.request_token(audiences=["x"], expirationSeconds=700)
    assert (code, answer["kind"], answer["spec"]["expirationSeconds"]) == (201, "TokenRequest", 700)
    assert (await cluster.review(answer["status"]["token"], "x"))["authenticated"] is True


async def test_pyjwt_accepts_a_requested_token(cluster: Cluster) -> None:
    """PyJWT verifies it with the published key and all its own checks."""
    _, answer = await cluster.request_token(audiences=["x"])
    _, document = await cluster.get(JWKS_PATH)
    claims = jwt.decode(
        answer["status"]["token"],
        jwt.PyJWK(document["keys"][0]),
        audience="x",
        issuer="https://kubernetes.default.svc",
    )
    assert claims["exp"] - claims["iat"] == 3600


async def test_the_default_audience_is_the_servers(cluster: Cluster) -> None:
    """A token that is requested without audiences has the server's own."""
    _, answer = await cluster.request_token()
    assert answer["spec"]["audiences"] == ["https://kubernetes.default.svc"]


async def test_a_token_can_be_bound_to_a_pod(cluster: Cluster) -> None:
    """The token contains the pod, which must belong to the account."""
    account = cluster.state.service_account("demo")
    pod = cluster.state.pod(account, "p1")
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p1", "uid": pod.uid}
    _, answer = await cluster.request_token(audiences=["x"], boundObjectRef=reference)
    extra = (await cluster.review(answer["status"]["token"], "x"))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod.uid]


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**32 + 1}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"expirationSeconds": "700"}, 400, "cannot unmarshal expirationSeconds"),
        ({"expirationSeconds": True}, 400, "cannot unmarshal expirationSeconds"),
        ({"audiences": "x"}, 400, "cannot unmarshal audiences"),
        ({"boundObjectRef": {"kind": "Pod", "name": "deleted"}}, 404, 'pods "deleted" not found'),
        ({"boundObjectRef": {"kind": "Node", "name": "deleted"}}, 404, 'nodes "deleted" not found'),
        ({"boundObjectRef": {"kind": "Secret", "name": "deleted"}}, 404, 'secrets "deleted" not found'),
        ({"boundObjectRef": {"kind": "Pod", "name": "others"}}, 400, "different serviceaccount name"),
        ({"boundObjectRef": {"kind": "Secret", "name": "s", "uid": "x"}}, 409, "does not match the UID"),
        (
            {"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "x"}},
            400,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
    ],
    ids=["short", "long", "text", "bool", "audience", "pod", "node", "secret", "other-pod", "uid", "kind"],
)
async def test_a_token_request_out_of_range_is_refused(
    cluster: Cluster, spec: dict[str, Any], code: int, message: str
) -> None:
    """Bad fields get the status and message of a kube-apiserver."""
    cluster.state.pod(cluster.state.service_account("other"), "others")
    cluster.state.secret("s")
    answered, status = await cluster.request_token(**spec)
    assert (answered, status["code"]) == (code, code)
    assert message in status["message"]


@pytest.mark.parametrize(
    ("authorization", "name", "code", "message"),
    [
        (ADMIN, "nobody", 404, 'serviceaccounts "nobody" not found'),
        (
            WEAK,
            "demo",
            403,
            (
                'serviceaccounts "demo" is forbidden: User "weak" cannot create resource '
                '"serviceaccounts/token" in API group "" in the namespace "default"'
            ),
        ),
        ("Bearer nonsense", "demo", 401, "Unauthorized"),
    ],
    ids=["unknown-account", "no-role", "bad-token"],
)
async def test_a_token_request_needs_an_account_and_permission(
    cluster: Cluster, authorization: str, name: str, code: int, message: str
) -> None:
    """Others get the error of a kube-apiserver."""
    answered, status = await cluster.request_token(authorization, name)
    assert (answered, status["message"]) == (code, message)


# Plain issuers


async def test_an_issuer_publishes_its_documents(key: SigningKey, client: aiohttp.ClientSession) -> None:
    """The discovery document is below the issuer's path. It contains the URL of the keys."""
    async with EmbeddedServer() as server:
        issuer = Issuer(server.url + "/realms/corp", key, jwks_uri=server.url + "/certs")
        server.add(OpenIDSite(issuer))
        async with client.get(issuer.url + "/.well-known/openid-configuration") as answer:
            document = await answer.json()
        async with client.get(document["jwks_uri"]) as answer:
            assert await answer.json(content_type=None) == {"keys": [key.jwk()]}


async def test_a_discovery_document_can_have_another_url(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """With a prefix, the server publishes the document of another issuer below it."""
    site = OpenIDSite(Issuer("https://issuer.example", key), discovery_prefix="/mirror/")
    async with (
        EmbeddedServer(site) as server,
        client.get(server.url + "/mirror/.well-known/openid-configuration") as answer,
    ):
        assert (await answer.json())["issuer"] == "https://issuer.example"


async def test_two_issuers_share_a_server(key: SigningKey, client: aiohttp.ClientSession) -> None:
    """Each issuer has its documents below its own path."""
    async with EmbeddedServer() as server:
        for name in ("a", "b"):
            server.add(OpenIDSite(Issuer(f"{server.url}/{name}", key)))
        async with client.get(server.url + "/b/.well-known/openid-configuration") as answer:
            assert (await answer.json())["issuer"] == server.url + "/b"


@pytest.mark.parametrize(("method", "code"), [("HEAD", 200), ("POST", 405)])
async def test_an_issuers_documents_are_read_only(
    key: SigningKey, client: aiohttp.ClientSession, method: str, code: int
) -> None:
    """Other methods than GET and HEAD are refused."""
    async with (
        EmbeddedServer(OpenIDSite(Issuer("https://issuer.example", key))) as server,
        client.request(method, server.url + "/jwks") as answer,
    ):
        assert answer.status == code


async def test_other_paths_are_not_found(cluster: Cluster) -> None:
    """A path that belongs to no site gets 404."""
    async with cluster.client.get(cluster.server.url + "/nowhere") as answer:
        assert answer.status == 404


async def test_long_tokens_are_accepted(cluster: Cluster) -> None:
    """The maximum is that of the gate."""
    cluster.state.static_token("long", groups=[MASTERS], token="a" * 16_384)
    code, _ = await cluster.get(JWKS_PATH, "Bearer " + "a" * 16_384)
    assert code == 200


# Start and stop


async def test_a_server_has_no_url_before_its_start() -> None:
    """The error names the remedy."""
    with pytest.raises(RuntimeError, match="start it first"):
        _ = EmbeddedServer().url


async def test_a_stopped_server_refuses_connections(cluster: Cluster) -> None:
    """A second stop does nothing."""
    await cluster.server.stop()
    await cluster.server.stop()
    assert not cluster.server.running
    with pytest.raises(aiohttp.ClientConnectorError):
        await cluster.get(JWKS_PATH)


async def test_a_restart_keeps_the_port(cluster: Cluster) -> None:
    """The URL is the same, and a second start does nothing."""
    url = cluster.server.url
    await cluster.server.stop()
    await cluster.server.start()
    await cluster.server.start()
    assert cluster.server.url == url
    assert (await cluster.get(JWKS_PATH))[0] == 200


async def test_a_port_in_use_is_an_error(cluster: Cluster) -> None:
    """A second server on the same port does not start."""
    second = EmbeddedServer(port=int(cluster.server.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    assert not second.running


# TLS


async def test_a_client_that_trusts_the_authority_is_served(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """The certificate is valid even under OpenSSL's strict verification."""
    certificate = throwaway_certificate()
    context = certificate.client_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with EmbeddedServer(KubeAPI(KubeState(key)), certificate=certificate) as server:
        assert server.url.startswith("https://127.0.0.1:")
        for host in ("127.0.0.1", "localhost"):
            async with client.get(server.url.replace("127.0.0.1", host) + "/livez", ssl=context) as answer:
                assert answer.status == 200


async def test_a_client_that_trusts_another_authority_is_not_served(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """It rejects the server's certificate."""
    async with EmbeddedServer(KubeAPI(KubeState(key)), certificate=throwaway_certificate()) as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.get(server.url + "/livez", ssl=throwaway_certificate().client_context())


# The scenario of `authgate dev`


async def test_only_the_owner_can_read_the_scenarios_files(tmp_path: Path, key: SigningKey) -> None:
    """The folder has mode 0700, and its files have 0600."""
    async with running_scenario(tmp_path / "new", key=key) as scenario:
        assert scenario.folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in scenario.folder.iterdir()} == {0o600}


async def test_the_files_of_an_earlier_scenario_are_replaced(tmp_path: Path, key: SigningKey) -> None:
    """A second run in the same folder writes new tokens with the correct mode."""
    folder = tmp_path / "twice"
    async with running_scenario(folder, key=key) as scenario:
        first = scenario.token_file.read_text()
        scenario.token_file.chmod(0o644)
    async with running_scenario(folder, key=key) as scenario:
        assert scenario.token_file.read_text() != first
        assert scenario.token_file.stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_others_can_read_is_refused(tmp_path: Path, key: SigningKey) -> None:
    """The folder's mode is not changed."""
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError, match="chmod 700"):
        async with running_scenario(tmp_path, key=key):
            pass
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("file", "audience"),
    [("token", AUDIENCE), ("other-audience.token", OTHER_AUDIENCE), ("reviewed.token", LEGACY_AUDIENCE)],
)
async def test_the_scenarios_tokens_have_the_audience_of_their_names(
    tmp_path: Path, key: SigningKey, file: str, audience: str
) -> None:
    """Each token is valid only for its own audience."""
    async with running_scenario(tmp_path / "s", key=key) as scenario:
        token = (scenario.folder / file).read_text()
        accepted = [
            one
            for one in (AUDIENCE, OTHER_AUDIENCE, LEGACY_AUDIENCE)
            if isinstance(review(scenario.state, token, [one]), Authenticated)
        ]
    assert accepted == [audience]


async def test_the_scenarios_kubeconfig_can_review_tokens(
    tmp_path: Path, key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """Its server, authority and token file are enough to read the keys and to review tokens."""
    async with running_scenario(tmp_path / "s", key=key) as scenario:
        kubeconfig = yaml.safe_load(scenario.kubeconfig.read_text())
        server, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        context = ssl.create_default_context(cafile=server["certificate-authority"])
        token_file = scenario.folder / user["tokenFile"]
        headers = {"Authorization": f"Bearer {token_file.read_text()}"}
        async with client.get(server["server"] + JWKS_PATH, headers=headers, ssl=context) as answer:
            assert answer.status == 200
        spec = {"token": scenario.reviewed_file.read_text(), "audiences": [LEGACY_AUDIENCE]}
        async with client.post(
            server["server"] + TOKEN_REVIEWS_PATH, json={"spec": spec}, headers=headers, ssl=context
        ) as answer:
            assert (await answer.json())["status"]["authenticated"] is True


async def test_the_scenario_stops_with_its_context(tmp_path: Path, key: SigningKey) -> None:
    """The server stops, and the files are kept."""
    async with running_scenario(tmp_path / "s", key=key) as scenario:
        assert scenario.api_url == scenario.server.url
    assert (scenario.server.running, scenario.token_file.exists()) == (False, True)
