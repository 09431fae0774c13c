"""The requests that the Kubernetes client library builds, without logging or keeping tokens."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from authgate.cluster.api import NonResourceAttributes, ResourceAttributes
from authgate.cluster.token_request import BoundObject, TokenSpec
from authgate.cluster.transport import RawAnswer
from authgate.cluster.typed_api import TypedAPI
from authgate.model import Identity

TOKEN = "reviewed-token-0123456789"
ALICE = Identity("alice", "uid-1", ("g", "h"), (("a", ("1", "2")), ("z", ("3",))), email="a@example.com")
ANSWER = RawAnswer(201, "", b"{}")


class Posted:
    """Records what a `TypedAPI` posts."""

    def __init__(self, answer: RawAnswer = ANSWER) -> None:
        self.path = ""
        self.body: Any = None
        self.api = TypedAPI(self._post)
        self._answer = answer

    async def _post(self, path: str, body: bytes) -> RawAnswer:
        self.path, self.body = path, json.loads(body)
        return self._answer


async def test_a_token_review() -> None:
    """It has the token and the audiences. The answer is returned unchanged."""
    posted = Posted()
    assert await posted.api.review_token(TOKEN, ("a", "b")) is ANSWER
    assert posted.path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert posted.body == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": TOKEN, "audiences": ["a", "b"]},
    }


async def test_an_access_review_of_a_path() -> None:
    """It has name, uid, groups and every extra value of the identity, and nothing else."""
    posted = Posted()
    await posted.api.review_access(ALICE, NonResourceAttributes("/metrics", "get"))
    assert posted.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert posted.body == {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "alice",
            "uid": "uid-1",
            "groups": ["g", "h"],
            "extra": {"a": ["1", "2"], "z": ["3"]},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        },
    }


async def test_an_access_review_of_a_resource() -> None:
    """It has every attribute under its own name, and no path."""
    posted = Posted()
    attributes = ResourceAttributes("get", "services", "apps", "v1", "prod", "proxy", "web")
    await posted.api.review_access(ALICE, attributes)
    assert posted.body["spec"]["resourceAttributes"] == {
        "verb": "get",
        "resource": "services",
        "group": "apps",
        "version": "v1",
        "namespace": "prod",
        "subresource": "proxy",
        "name": "web",
    }
    assert "nonResourceAttributes" not in posted.body["spec"]


async def test_an_identity_without_groups() -> None:
    """Empty lists and texts are sent as such, not as missing."""
    posted = Posted()
    await posted.api.review_access(Identity("alice", "", (), ()), NonResourceAttributes("/", "get"))
    spec = posted.body["spec"]
    assert (spec["uid"], spec["groups"], spec["extra"]) == ("", [], {})


async def test_a_review_of_the_gates_own_access() -> None:
    """It names no user. The server uses the one who sends it."""
    posted = Posted()
    await posted.api.review_own_access(ResourceAttributes("list", "pods", namespace="prod"))
    assert posted.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert posted.body["kind"] == "SelfSubjectAccessReview"
    assert list(posted.body["spec"]) == ["resourceAttributes"]
    asked = {name: value for name, value in posted.body["spec"]["resourceAttributes"].items() if value}
    assert asked == {"verb": "list", "resource": "pods", "namespace": "prod"}


async def test_a_token_request() -> None:
    """The path names the account. The body has everything else."""
    posted = Posted()
    wanted = TokenSpec(namespace="prod", account="web", audiences=("my-audience",), lifetime=3600)
    await posted.api.request_token(wanted)
    assert posted.path == "/api/v1/namespaces/prod/serviceaccounts/web/token"
    assert posted.body == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["my-audience"], "expirationSeconds": 3600},
    }


@pytest.mark.parametrize("kind", ["Pod", "Secret"])
async def test_a_request_for_a_bound_token(kind: Any) -> None:
    """The object is named by kind and name; the server finds its uid."""
    posted = Posted()
    bound = BoundObject(kind, "it")
    wanted = TokenSpec(namespace="prod", account="web", audiences=("a",), lifetime=600, bound_to=bound)
    await posted.api.request_token(wanted)
    assert posted.body["spec"]["boundObjectRef"] == {"apiVersion": "v1", "kind": kind, "name": "it"}


async def test_a_path_has_one_segment_per_name() -> None:
    """A name cannot lead to another path, whatever it contains."""
    posted = Posted()
    wanted = TokenSpec(namespace="prod", account="../../x?y", audiences=("a",), lifetime=600)
    await posted.api.request_token(wanted)
    assert posted.path == "/api/v1/namespaces/prod/serviceaccounts/..%2F..%2Fx%3Fy/token"


READ_ANSWER = """
import sys
from types import SimpleNamespace
from kubernetes_asyncio.client import ApiClient, Configuration

client = object.__new__(ApiClient)
client.configuration = Configuration(host="")
read = client.deserialize(SimpleNamespace(data=sys.argv[1]), "V1TokenReview").status
print(read.authenticated, read.user.groups)
"""


def test_the_librarys_models_read_some_answers_wrongly() -> None:
    """They read a rejection as accepted and one group as five. `reviews` rejects both, so it parses answers itself."""
    user = {"username": "alice", "groups": "staff"}
    answer = {"spec": {"token": TOKEN}, "status": {"authenticated": "false", "user": user}}
    # In a process of its own: in this one, the library is loaded in part.
    done = subprocess.run(
        [sys.executable, "-c", READ_ANSWER, json.dumps(answer)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True ['s', 't', 'a', 'f', 'f']\n"


async def test_the_library_keeps_no_answer() -> None:
    """It would keep the last one, which contains the token under review."""
    posted = Posted(RawAnswer(201, "", TOKEN.encode()))
    await posted.api.review_token(TOKEN, ("a",))
    client = vars(posted.api)["_authentication"].api_client
    assert client.last_response is None
    assert TOKEN not in repr(vars(client))


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_the_library_logs_and_raises_nothing(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Its errors and its debug log would contain the server's answer."""
    posted = Posted(RawAnswer(status, "", TOKEN.encode()))
    with caplog.at_level(logging.DEBUG):
        answer = await posted.api.review_token(TOKEN, ("a",))
    assert (answer.status, caplog.text) == (status, "")
