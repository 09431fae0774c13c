"""The embedded issuer and kube API over real sockets: what they answer, count, and get wrong when asked to."""

from __future__ import annotations

import asyncio
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
from tests.support.faults import (
    Answer,
    CutOff,
    Delay,
    Drop,
    Fault,
    Flood,
    Hold,
    broken_json,
    failing,
    html,
    json_answer,
    redirect,
)
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
    """A running kube API, a client, and the account `default/demo`."""

    state: KubeState
    api: KubeAPI
    server: EmbeddedServer
    client: aiohttp.ClientSession

    async def get(self, path: str, authorization: str = ADMIN) -> tuple[int, Any]:
        """The status and JSON of a GET."""
        headers = {"Authorization": authorization} if authorization else {}
        async with self.client.get(self.server.url + path, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: object, authorization: str = ADMIN) -> tuple[int, Any]:
        """The status and JSON of a POST of JSON, or of bytes as they are."""
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        headers = {"Content-Type": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        async with self.client.post(self.server.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json()

    async def review(self, token: str, *audiences: str) -> Any:
        """The status of a TokenReview."""
        spec = {"token": token, "audiences": list(audiences)}
        code, answer = await self.post(TOKEN_REVIEWS_PATH, {"kind": "TokenReview", "spec": spec})
        assert code == 201
        return answer["status"]

    async def request_token(
        self, authorization: str = ADMIN, name: str = "demo", **spec: object
    ) -> tuple[int, Any]:
        """The status and JSON of a TokenRequest."""
        return await self.post(token_request_path("default", name), {"spec": spec}, authorization)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    """One key for all tests of this file."""
    return SigningKey.generate("RS256")


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that gives up after a while."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
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
    """A token of `default/demo`."""
    account = cluster.state.service_account("demo")
    return cluster.state.account_token(account, audiences or ("my-audience",))


# Discovery and keys


async def test_a_service_account_reads_the_keys(cluster: Cluster) -> None:
    """The JWKS is there for every token of the cluster's own audience, as its own media type."""
    headers = {"Authorization": f"Bearer {account_token(cluster, *cluster.state.api_audiences)}"}
    async with cluster.client.get(cluster.server.url + JWKS_PATH, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/jwk-set+json")
        assert await answer.json(content_type=None) == {"keys": [cluster.state.issuer.key.jwk()]}


async def test_the_discovery_document_names_keys_elsewhere(cluster: Cluster) -> None:
    """As a real server does, it advertises a jwks_uri of another host than the issuer's and its own."""
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
    """A caller without a token or a role gets 403, one with a bad token 401, both as a Status."""
    answered, status = await cluster.get(JWKS_PATH, authorization)
    assert (answered, status["code"], status["kind"], status["message"]) == (code, code, "Status", message)


async def test_a_public_cluster_shows_its_keys_without_a_token(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """With `public` nobody is asked for a token."""
    async with (
        EmbeddedServer(KubeAPI(KubeState(key, public=True))) as server,
        client.get(server.url + JWKS_PATH) as answer,
    ):
        assert answer.status == 200


async def test_a_rotated_key_is_published_at_once(cluster: Cluster) -> None:
    """The JWKS holds both keys right after a rotation."""
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
async def test_documents_are_only_read(cluster: Cluster, path: str) -> None:
    """Another method than GET is refused."""
    code, status = await cluster.post(path, {})
    assert (code, status["reason"]) == (405, "MethodNotAllowed")


# TokenReview


async def test_a_review_of_a_good_token(cluster: Cluster) -> None:
    """The answer is a whole TokenReview with the identity and the matching audience."""
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
    """A refused token is no error of the API: 201, no `authenticated`, and the reason."""
    assert await cluster.review("nonsense") == {"user": {}, "error": "invalid bearer token"}


async def test_a_static_token_is_reviewed_under_the_servers_audience(cluster: Cluster) -> None:
    """A static token's user has neither UID nor extra, and they are left out."""
    assert await cluster.review("somebodys") == {
        "authenticated": True,
        "user": {"username": "weak", "groups": ["system:authenticated"]},
        "audiences": ["https://kubernetes.default.svc"],
    }


async def test_reviews_need_a_role(cluster: Cluster) -> None:
    """A caller without the role gets the 403 that a kube-apiserver writes."""
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
    """A caller that was refused is served once the role is bound."""
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
async def test_a_body_that_is_no_review_is_refused(cluster: Cluster, body: bytes, code: int) -> None:
    """What cannot be read as a TokenReview with a token gets a Status of its own code."""
    answered, status = await cluster.post(TOKEN_REVIEWS_PATH, body)
    assert (answered, status["kind"], status["code"]) == (code, "Status", code)


async def test_a_body_of_another_type_is_refused(cluster: Cluster) -> None:
    """A body that does not say it is JSON gets 415."""
    headers = {"Authorization": ADMIN, "Content-Type": "text/plain"}
    async with cluster.client.post(
        cluster.server.url + TOKEN_REVIEWS_PATH, data=b"{}", headers=headers
    ) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (415, "UnsupportedMediaType")


async def test_reviews_are_not_listed(cluster: Cluster) -> None:
    """There is nothing to GET at the reviews' path."""
    code, status = await cluster.get(TOKEN_REVIEWS_PATH)
    assert (code, status["reason"]) == (405, "MethodNotAllowed")


async def test_reviews_are_recorded_without_their_tokens(cluster: Cluster) -> None:
    """Who asked, for what, and the verdict."""
    await cluster.review(account_token(cluster), "my-audience")
    await cluster.review("nonsense")
    assert list(cluster.api.reviews) == [
        ReviewRecord("admin", ("my-audience",), authenticated=True),
        ReviewRecord("admin", (), authenticated=False),
    ]


# TokenRequest


async def test_a_requested_token_passes_its_review(cluster: Cluster) -> None:
    """A token from the API names the account and is for the audience asked for."""
    code, answer = await cluster.request_token(audiences=["x"], expirationSeconds=700)
    assert (code, answer["kind"], answer["spec"]["expirationSeconds"]) == (201, "TokenRequest", 700)
    assert (await cluster.review(answer["status"]["token"], "x"))["authenticated"] is True


async def test_pyjwt_accepts_a_requested_token(cluster: Cluster) -> None:
    """A token from the API passes every check of PyJWT's own decode, by the published key."""
    _, answer = await cluster.request_token(audiences=["x"])
    _, document = await cluster.get(JWKS_PATH)
    claims = jwt.decode(
        answer["status"]["token"],
        jwt.PyJWK(document["keys"][0]),
        audience="x",
        issuer="https://kubernetes.default.svc",
    )
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_token_without_audiences_is_for_the_server(cluster: Cluster) -> None:
    """Without requested audiences, the token gets the server's own audience."""
    _, answer = await cluster.request_token()
    assert answer["spec"]["audiences"] == ["https://kubernetes.default.svc"]


async def test_a_token_can_be_bound_to_a_pod(cluster: Cluster) -> None:
    """A token bound to a pod of the account names it."""
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
    """Bad fields get the code and the words of a kube-apiserver."""
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
async def test_a_token_is_not_for_everybody(
    cluster: Cluster, authorization: str, name: str, code: int, message: str
) -> None:
    """A token is issued for an account that is there, to a caller who may."""
    answered, status = await cluster.request_token(authorization, name)
    assert (answered, status["message"]) == (code, message)


# Plain issuers


async def test_an_issuer_publishes_its_documents(key: SigningKey, client: aiohttp.ClientSession) -> None:
    """Discovery is below the issuer's path. It names the URL of the keys."""
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
    """Each issuer answers below its own path."""
    async with EmbeddedServer() as server:
        for name in ("a", "b"):
            server.add(OpenIDSite(Issuer(f"{server.url}/{name}", key)))
        async with client.get(server.url + "/b/.well-known/openid-configuration") as answer:
            assert (await answer.json())["issuer"] == server.url + "/b"


@pytest.mark.parametrize(("method", "code"), [("HEAD", 200), ("POST", 405)])
async def test_an_issuers_documents_are_only_read(
    key: SigningKey, client: aiohttp.ClientSession, method: str, code: int
) -> None:
    """Other methods than GET and HEAD are refused."""
    async with (
        EmbeddedServer(OpenIDSite(Issuer("https://issuer.example", key))) as server,
        client.request(method, server.url + "/jwks") as answer,
    ):
        assert answer.status == code


async def test_other_paths_are_not_found(cluster: Cluster) -> None:
    """A path of no site gets 404."""
    async with cluster.client.get(cluster.server.url + "/nowhere") as answer:
        assert answer.status == 404


# What is counted and remembered


async def test_requests_are_counted_by_path(cluster: Cluster) -> None:
    """Every request counts, whatever its answer."""
    await cluster.review("x")
    await cluster.review("x")
    await cluster.get(JWKS_PATH, "")
    assert (cluster.server.counts[TOKEN_REVIEWS_PATH], cluster.server.counts[JWKS_PATH]) == (2, 1)
    assert cluster.server.counts[DISCOVERY_PATH] == 0


async def test_requests_are_remembered_without_credentials(cluster: Cluster) -> None:
    """Method, path, query and headers are kept; neither the caller's nor a reviewed token is."""
    headers = {"Authorization": ADMIN, "Cookie": "secret=1", "X-Kept": "yes"}
    async with cluster.client.post(
        cluster.server.url + TOKEN_REVIEWS_PATH + "?dryRun=All",
        json={"spec": {"token": "t0ken"}},
        headers=headers,
    ) as answer:
        assert answer.status == 201
    record = cluster.server.requests[-1]
    assert (record.method, record.path, record.query) == ("POST", TOKEN_REVIEWS_PATH, "dryRun=All")
    assert record.headers["x-kept"] == "yes"
    assert not [secret for secret in ("the-admins", "secret=1", "t0ken") if secret in repr(record)]


async def test_long_tokens_reach_the_api(cluster: Cluster) -> None:
    """A caller's token may be as long as the gate accepts one."""
    cluster.state.static_token("long", groups=[MASTERS], token="a" * 16_384)
    code, _ = await cluster.get(JWKS_PATH, "Bearer " + "a" * 16_384)
    assert code == 200


# Faults


@pytest.mark.parametrize(
    ("fault", "code", "content_type", "body"),
    [
        (failing(500), 500, "text/plain", b"out of order\n"),
        (html(), 200, "text/html", b"<!doctype html><title>Sign in</title>\n"),
        (broken_json(), 200, "application/json", b'{"keys": ['),
        (json_answer({"keys": []}), 200, "application/json", b'{"keys":[]}'),
        (Answer(204), 204, "application/octet-stream", b""),
    ],
    ids=["500", "html", "broken", "other", "empty"],
)
async def test_an_answer_can_be_wrong(
    cluster: Cluster, fault: Answer, code: int, content_type: str, body: bytes
) -> None:
    """The fault's answer is given instead of the right one."""
    cluster.server.faults.set(JWKS_PATH, fault)
    async with cluster.client.get(cluster.server.url + JWKS_PATH) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (code, content_type, body)


async def test_an_answer_can_ask_to_wait(cluster: Cluster) -> None:
    """429 comes with its Retry-After."""
    cluster.server.faults.set(JWKS_PATH, failing(429, retry_after=7))
    async with cluster.client.get(cluster.server.url + JWKS_PATH) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_an_answer_can_be_a_redirect(cluster: Cluster) -> None:
    """The Location is the configured URL."""
    cluster.server.faults.set(JWKS_PATH, redirect("https://evil.example/"))
    async with cluster.client.get(cluster.server.url + JWKS_PATH, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "https://evil.example/")


async def test_a_fault_can_pass(cluster: Cluster) -> None:
    """A fault for one request leaves the next alone."""
    cluster.server.faults.set(JWKS_PATH, html(403), times=1)
    async with cluster.client.get(cluster.server.url + JWKS_PATH) as answer:
        assert answer.content_type == "text/html"
    assert (await cluster.get(JWKS_PATH))[0] == 200


async def test_faults_can_be_cleared(cluster: Cluster) -> None:
    """Without faults everything is answered rightly again, and another path always was."""
    cluster.server.faults.set(JWKS_PATH, failing())
    cluster.server.faults.set("/version", failing())
    assert (await cluster.get(DISCOVERY_PATH))[0] == 200
    cluster.server.faults.clear()
    assert [(await cluster.get(path))[0] for path in (JWKS_PATH, "/version")] == [200, 200]


async def test_a_flood_is_as_large_as_asked(cluster: Cluster) -> None:
    """The body is JSON of at least the size."""
    cluster.server.faults.set(JWKS_PATH, Flood(1_000_000))
    async with cluster.client.get(cluster.server.url + JWKS_PATH) as answer:
        body = await answer.read()
    assert len(body) >= 1_000_000
    assert list(json.loads(body)) == ["keys"]


async def test_an_endless_flood_ends_with_its_client(cluster: Cluster) -> None:
    """A client that has read enough closes the connection, and the server serves on."""
    cluster.server.faults.set(JWKS_PATH, Flood(), times=1)
    async with cluster.client.get(cluster.server.url + JWKS_PATH) as answer:
        await answer.content.readexactly(2_000_000)
        answer.close()
    assert (await cluster.get(JWKS_PATH))[0] == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (CutOff(), aiohttp.ClientPayloadError),
        (Drop(), aiohttp.ClientConnectionError),
    ],
    ids=["mid-body", "before"],
)
async def test_a_connection_can_break(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, fault: Fault, error: type[Exception]
) -> None:
    """The client sees a broken connection, and the server takes it for no error of its own."""
    cluster.server.faults.set(TOKEN_REVIEWS_PATH, fault)
    with pytest.raises(error):
        await cluster.post(TOKEN_REVIEWS_PATH, {})
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]


async def test_a_held_request_is_answered_when_the_fault_is_cleared(cluster: Cluster) -> None:
    """A server that hangs has the request, gives no answer, and gives the right one in the end."""
    cluster.server.faults.set(JWKS_PATH, Hold())
    asked = asyncio.create_task(cluster.get(JWKS_PATH))
    await cluster.server.arrived(JWKS_PATH)
    assert cluster.server.faults.held(JWKS_PATH) == 1
    assert not asked.done()
    cluster.server.faults.clear(JWKS_PATH)
    assert (await asked)[0] == 200
    assert cluster.server.faults.held(JWKS_PATH) == 0


async def test_an_answer_can_be_slow(cluster: Cluster) -> None:
    """A client with less patience than the delay gives up."""
    cluster.server.faults.set(JWKS_PATH, Delay(30))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await cluster.get(JWKS_PATH)


async def test_a_slow_answer_is_the_right_one(cluster: Cluster) -> None:
    """After the delay the request is answered as if nothing had been."""
    cluster.server.faults.set(JWKS_PATH, Delay(0.01))
    assert (await cluster.get(JWKS_PATH))[0] == 200


# Starting and stopping


async def test_a_server_has_no_url_before_it_has_a_port() -> None:
    """The error says what to do."""
    with pytest.raises(RuntimeError, match="start it first"):
        _ = EmbeddedServer().url


async def test_a_stopped_server_refuses_connections(cluster: Cluster) -> None:
    """Nobody listens after a stop, and stopping twice is fine."""
    await cluster.server.stop()
    await cluster.server.stop()
    assert not cluster.server.running
    with pytest.raises(aiohttp.ClientConnectorError):
        await cluster.get(JWKS_PATH)


async def test_a_server_comes_back_on_its_port(cluster: Cluster) -> None:
    """A restart keeps the URL, and starting twice is fine."""
    url = cluster.server.url
    await cluster.server.stop()
    await cluster.server.start()
    await cluster.server.start()
    assert cluster.server.url == url
    assert (await cluster.get(JWKS_PATH))[0] == 200


async def test_a_stop_drops_what_is_held(cluster: Cluster) -> None:
    """A stop does not wait for requests that hang."""
    cluster.server.faults.set(JWKS_PATH, Hold())
    asked = asyncio.create_task(cluster.get(JWKS_PATH))
    await cluster.server.arrived(JWKS_PATH)
    async with asyncio.timeout(5):
        await cluster.server.stop()
    with pytest.raises(aiohttp.ClientError):
        await asked


async def test_a_taken_port_is_an_error(cluster: Cluster) -> None:
    """A second server on the port of another does not start."""
    second = EmbeddedServer(port=int(cluster.server.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    assert not second.running


# TLS


async def test_a_client_that_trusts_the_authority_is_served(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """The certificate satisfies a client that verifies as strictly as OpenSSL can."""
    certificate = throwaway_certificate()
    context = certificate.client_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with EmbeddedServer(KubeAPI(KubeState(key)), certificate=certificate) as server:
        assert server.url.startswith("https://127.0.0.1:")
        for host in ("127.0.0.1", "localhost"):
            async with client.get(server.url.replace("127.0.0.1", host) + "/livez", ssl=context) as answer:
                assert answer.status == 200


async def test_a_client_that_trusts_others_is_not_served(
    key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """Nobody else's authority vouches for the server."""
    async with EmbeddedServer(KubeAPI(KubeState(key)), certificate=throwaway_certificate()) as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.get(server.url + "/livez", ssl=throwaway_certificate().client_context())


# The scenario of `authgate dev`


async def test_the_scenarios_files_are_their_owners_alone(tmp_path: Path, key: SigningKey) -> None:
    """The folder is 0700, its files 0600."""
    async with running_scenario(tmp_path / "new", key=key) as scenario:
        assert scenario.folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in scenario.folder.iterdir()} == {0o600}


async def test_an_earlier_scenarios_files_are_replaced(tmp_path: Path, key: SigningKey) -> None:
    """A second run in the same folder leaves nothing of the first, and no wider mode."""
    folder = tmp_path / "twice"
    async with running_scenario(folder, key=key) as scenario:
        first = scenario.token_file.read_text()
        scenario.token_file.chmod(0o644)
    async with running_scenario(folder, key=key) as scenario:
        assert scenario.token_file.read_text() != first
        assert scenario.token_file.stat().st_mode & 0o777 == 0o600


async def test_a_folder_that_others_can_read_is_refused(tmp_path: Path, key: SigningKey) -> None:
    """Tokens are not written where others look, and the folder's mode is left alone."""
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError, match="chmod 700"):
        async with running_scenario(tmp_path, key=key):
            pass
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("file", "audience"),
    [("token", AUDIENCE), ("other-audience.token", OTHER_AUDIENCE), ("reviewed.token", LEGACY_AUDIENCE)],
)
async def test_the_scenarios_tokens_are_what_they_are_called(
    tmp_path: Path, key: SigningKey, file: str, audience: str
) -> None:
    """Each token is good for its own audience and no other."""
    async with running_scenario(tmp_path / "s", key=key) as scenario:
        token = (scenario.folder / file).read_text()
        accepted = [
            one
            for one in (AUDIENCE, OTHER_AUDIENCE, LEGACY_AUDIENCE)
            if isinstance(review(scenario.state, token, [one]), Authenticated)
        ]
    assert accepted == [audience]


async def test_the_scenarios_kubeconfig_reviews_tokens(
    tmp_path: Path, key: SigningKey, client: aiohttp.ClientSession
) -> None:
    """By the kubeconfig's server, authority and token file a caller reads the keys and reviews tokens."""
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


async def test_the_scenario_ends_with_its_context(tmp_path: Path, key: SigningKey) -> None:
    """The server is stopped afterwards, and the files are kept."""
    async with running_scenario(tmp_path / "s", key=key) as scenario:
        assert scenario.api_url == scenario.server.url
    assert (scenario.server.running, scenario.token_file.exists()) == (False, True)
