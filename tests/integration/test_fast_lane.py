"""Requests get the same responses, connection state, metrics and logs with and without the fast lane."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authgate.config import load
from authgate.dev.keys import SigningKey
from authgate.service import Service
from tests.support.audit_lines import audit_lines
from tests.support.http_corpus import requests
from tests.support.key_pool import KeyPool
from tests.support.logs import configured

ISSUER = "https://issuer.example"
_QUIET_ROUNDS = 5  # a request of the general server takes a few turns of its loop


@dataclass(frozen=True)
class Pair:
    """The same configuration served with and without the lane, and tokens for both."""

    fast: Service
    plain: Service
    fast_client: Client
    plain_client: Client
    tokens: dict[str, str]
    key: SigningKey


class Loop(threading.Thread):
    """An event loop in a thread, so that the test can use blocking sockets."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(60)  # type: ignore[arg-type]  # a coroutine


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two gates that differ only in the lane."""
    with _running(tmp_path_factory.mktemp("lane"), "deny") as it:
        yield it


@contextmanager
def _running(folder: Path, audit: str) -> Iterator[Pair]:
    key = KeyPool().key("RS256")
    forged = KeyPool().key("RS256", 1)
    (folder / "keys.json").write_text(json.dumps({"keys": [key.jwk()]}))
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "app", "sub": "jane", "exp": now + 3600, "iat": now}
    tokens = {
        "good": key.sign(claims),
        "expired": key.sign({**claims, "exp": now - 10}),
        "denied": key.sign({**claims, "sub": "mallory"}),
        "forged": forged.sign(claims, {"kid": key.kid}),
    }
    loop = Loop()
    loop.start()
    services = [_service(folder, lane, audit) for lane in (True, False)]
    for service in services:
        loop.do(service.start())
    clients = [Client(service) for service in services]
    yield Pair(services[0], services[1], clients[0], clients[1], tokens, key)
    for service in services:
        loop.do(service.stop())
    loop.do(_lingering_connections_end())
    loop.loop.call_soon_threadsafe(loop.loop.stop)
    loop.join(60)


async def _lingering_connections_end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _service(folder: Path, lane: bool, audit: str) -> Service:
    path = folder / f"{lane}.yaml"
    path.write_text(f"""
jwt:
- issuer: {{url: "{ISSUER}", audiences: [app]}}
  claimMappings: {{username: {{claim: sub, prefix: "corp:"}}}}
  gate: {{name: corp, staticKeys: {{file: {folder}/keys.json}}}}
policies:
  default: {{deny: [{{users: ["corp:mallory"]}}]}}
  open: {{anonymous: ["/healthz"]}}
  rules:
    allow: [{{users: ["corp:nobody"]}}]
    corsPreflight: allow
    rules:
    - {{paths: ["/public/*"], anonymous: true}}
    - hosts: [app.example]
      methods: [GET]
      paths: ["/staff/*"]
      deny: [{{users: ["corp:mallory"]}}]
      allow: [{{users: ["corp:jane"]}}]
    - {{paths: ["/raw/*"], rawPath: allow, allow: [{{issuers: [corp]}}]}}
    - {{paths: ["/by/*"], expression: '"corp:" + request.segments[1] == user.username'}}
    - {{paths: ["/claims"], expression: 'claims.sub == "jane"'}}
    - {{paths: ["/fails"], expression: 'claims.missing == "jane"'}}
    shadow:
      rules: [{{paths: ["/by/*"], expression: 'request.path == "/by/joe"'}}]
server: {{listen: ["127.0.0.1:0"], admin: "127.0.0.1:0", proxy: nginx, fastLane: {str(lane).lower()}}}
cache: {{ttl: 1h, negativeTTL: 1h}}
log: {{audit: {audit}}}
limits: {{maxHeaders: 16, maxHeaderBytes: 4096, maxTokenBytes: 2048}}
""")
    return Service(load(path, {}).config, {})


def _tcp(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


class Client:
    """Send bytes to one service. A second connection shows when the service has processed them."""

    def __init__(self, service: Service) -> None:
        self._address = _tcp(service.verify_addresses[0])
        self._admin_address = _tcp(service.admin_address or "")

    def exchange(self, pieces: list[bytes]) -> tuple[bytes, str]:
        """Send pieces that are read one by one; return all answers without dates, and whether the connection ended."""
        with (
            socket.create_connection(self._admin_address, timeout=60) as beside,
            socket.create_connection(self._address, timeout=60) as client,
        ):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received, fate = b"", "open"
            for piece in pieces:
                with suppress(ConnectionError):
                    client.settimeout(60)
                    client.sendall(piece)
                more, fate = self._all_of(client, beside)
                received += more
        return _without_random_ids(re.sub(rb"\r\nDate: [^\r]*", b"", received)), fate

    def _all_of(self, client: socket.socket, beside: socket.socket) -> tuple[bytes, str]:
        """Read until the single-threaded service has answered several later requests and nothing more arrived."""
        client.setblocking(False)
        received, quiet = b"", 0
        while quiet < _QUIET_ROUNDS:
            _ask(beside)
            quiet += 1
            try:
                while chunk := client.recv(65536):
                    received, quiet = received + chunk, 0
            except BlockingIOError:
                continue
            except ConnectionError:
                pass
            return received, "closed"
        return received, "open"


def _ask(beside: socket.socket) -> None:
    beside.sendall(b"GET /livez HTTP/1.1\r\nHost: beside\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        more = beside.recv(65536)
        assert more, "the admin port has closed the connection"
        answer += more


def _without_random_ids(answer: bytes) -> bytes:
    """Replace ids that authgate generates: 32 hexadecimal digits that are not those of the corpus."""
    given = b"0123456789abcdef0123456789abcdef"
    return re.sub(rb"(X-Request-Id: )(?!%b)[0-9a-f]{32}\r" % given, rb"\1random\r", answer)


def _counters(service: Service) -> dict[str, str]:
    lines = service.metrics.render().decode().splitlines()
    told = [
        line.rsplit(" ", 1)
        for line in lines
        if not line.startswith(("#", "process_", "authgate_config_last"))
    ]
    return {name: value for name, value in told if "_bucket" not in name and "_sum" not in name}


def test_the_corpus_gets_the_same_answers(pair: Pair) -> None:
    """Each request is sent twice, alone and before a good one, with and without the lane."""
    corpus = requests(pair.tokens)
    for name, request in corpus.items():
        for pieces in ([request], [request, corpus["good"]], [request + corpus["good"]]):
            fast, plain = pair.fast_client.exchange(pieces), pair.plain_client.exchange(pieces)
            assert fast == plain, name
    assert _counters(pair.fast) == _counters(pair.plain)


def test_every_answer_to_a_request_has_an_id(pair: Pair) -> None:
    """A well-formed id is the request's own. Bytes that are no request have no id."""
    corpus = requests(pair.tokens)
    ids = {}
    for name in ("good", *(name for name in corpus if name.startswith("id: ") or "as tracing" in name)):
        answer = pair.fast_client.exchange([corpus[name]])[0]
        pair.plain_client.exchange([corpus[name]])  # the counters of both are compared
        ids[name.removeprefix("id: ")] = re.findall(rb"X-Request-Id: ([^\r]*)", answer)
    given = ("longest", "denied", "expired", "rules", "unknown path", "not a path")
    assert ids == {
        **{name: [b"random"] for name in ids},
        "other case": [b"7F000001:8296_7F00001E:1F90_4F7B0A69"],
        "spaces around": [b"Root=1-67891233-abcdef01"],
        "accepted: as tracing sends it": [b"0123456789abcdef0123456789abcdef"],
        **{name: [b"i" * 128] for name in given},
    }


def test_audit_lines_are_the_same(tmp_path: Path) -> None:
    """Each line has the same attributes with and without the lane, except for its duration and for generated ids."""
    shown: dict[str, list[dict[str, Any]]] = {}
    with _running(tmp_path, "all") as pair:
        for name, request in requests(pair.tokens).items():
            if re.match("accepted: [A-Z]+ /", name):
                continue  # only 100 decisions with the same reason get a line
            both = []
            for client in (pair.fast_client, pair.plain_client):
                stream = configured()
                client.exchange([request])
                both.append([_comparable(line["attributes"]) for line in audit_lines(stream.getvalue())])
            assert both[0] == both[1], name
            shown[name] = both[0]
    ((line,),) = (shown["id: rules"],)
    assert line == {
        "authgate.decision": "allow",
        "authgate.reason": "authenticated",
        "authgate.policy": "rules",
        "authgate.rule": "rules[1]",
        "authgate.source": "cache",
        "authgate.issuer": "corp",
        "user.name": "corp:jane",
        "http.request.id": "i" * 128,
        "http.request.method": "GET",
        "server.address": "app.example",
        "url.path": "/staff/a",
    }
    assert [line["client.address"] for line in shown["accepted: as nginx sends it"]] == ["192.0.2.7"]


def test_audit_lines_of_new_tokens_of_a_known_sender_are_the_same(tmp_path: Path) -> None:
    """Each line has the id of its own token, the rule of its own request, and what decided."""
    shown = []
    with _running(tmp_path, "all") as pair:
        now = int(time.time())
        for number, path in enumerate(["/staff/a", "/staff/a", "/raw/a", "/staff/a", "/elsewhere", "/raw/b"]):
            claims = {
                "iss": ISSUER,
                "aud": "app",
                "sub": "jane",
                "exp": now + 3600,
                "iat": now,
                "jti": str(number),
            }
            head = (
                "GET /policies/rules/verify HTTP/1.1",
                "Host: gate",
                f"Authorization: Bearer {pair.key.sign(claims)}",
                f"X-Request-Id: {number}",
                f"X-Original-URI: {path}",
                "X-Original-Method: GET",
                "X-Original-Host: app.example",
            )
            request = "".join(f"{line}\r\n" for line in (*head, "")).encode()
            for _ in range(2):
                both = [_decided(client, request) for client in (pair.fast_client, pair.plain_client)]
                assert both[0] == both[1]
                shown.append(both[0][1])
    assert [line.get("authgate.rule") for line in shown[::2]] == [
        "rules[1]",
        "rules[1]",
        "rules[2]",
        "rules[1]",
        None,
        "rules[2]",
    ]
    assert len({line["authgate.token.id"] for line in shown}) == 6


def _decided(client: Client, request: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the answer to a request and the attributes of its audit line."""
    stream = configured()
    answer, _ = client.exchange([request])
    (line,) = (line for line in audit_lines(stream.getvalue()) if line["body"] == "decision")
    return answer, _comparable(line["attributes"])


def _comparable(attributes: dict[str, Any]) -> dict[str, Any]:
    made = re.compile(r"(?!0123456789abcdef)[0-9a-f]{32}")
    return {
        name: "random" if name == "http.request.id" and made.fullmatch(text) else text
        for name, text in attributes.items()
        if name != "authgate.duration"
    }


def test_most_of_the_corpus_is_decided(pair: Pair) -> None:
    """Two services that refuse everything would also agree. Most requests must reach the gate, and many pass."""
    answers = []
    for request in requests(pair.tokens).values():
        pair.plain_client.exchange([request])  # the counters of both are compared
        answers.append(pair.fast_client.exchange([request])[0])
    allowed = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    decided = allowed + sum(b"X-Auth-Reason" in answer for answer in answers)
    assert decided > 0.6 * len(answers)
    assert allowed > 0.4 * len(answers)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_streams_split_anywhere_get_the_same_answers(pair: Pair, data: st.DataObject) -> None:
    """Pipelined requests, split at random places, have the same result with and without the lane."""
    corpus = list(requests(pair.tokens).values())
    stream = b"".join(data.draw(st.lists(st.sampled_from(corpus), min_size=1, max_size=4)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=4)))
    ends = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(ends) if start != end]
    assert pair.fast_client.exchange(pieces) == pair.plain_client.exchange(pieces)
    assert _counters(pair.fast) == _counters(pair.plain)
