"""dadrus/heimdall in decision mode, and the server that it gets its keys and introspection responses from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from tests.bench.server import Server, free_port
from tests.bench.tokens import AUDIENCE, ISSUER

if TYPE_CHECKING:
    from authgate.dev.compact import JsonObject
    from tests.bench.stage import Stage

_INTROSPECTION: Final = {
    "active": True,
    "iss": ISSUER,
    "aud": [AUDIENCE],
    "sub": "system:serviceaccount:production:web",
    "exp": 4_000_000_000,
}


@contextmanager
def heimdall(stage: Stage, program: Path, *, introspection: bool) -> Iterator[Server]:
    """Run heimdall with its JWT authenticator, which caches keys, or with introspection, which caches responses.

    Both have the default cache in memory. Metrics and tracing are off. Its access log cannot be disabled, so it goes to
    /dev/null.
    """
    with _provider(stage.jwks) as provider:

        def command(port: int) -> list[str | Path]:
            path = stage.folder / f"heimdall-{port}.json"
            path.write_text(json.dumps(_configuration(stage.folder, port, provider, introspection)))
            return [program, "serve", "decision", "--insecure", "--config", path]

        with stage.peer("heimdall", command, log=Path("/dev/null")) as server:
            yield server


def _configuration(folder: Path, port: int, provider: str, introspection: bool) -> JsonObject:
    assertions: JsonObject = {"issuers": [ISSUER], "audience": [AUDIENCE]}
    if introspection:
        kind = "oauth2_introspection"
        config = {"introspection_endpoint": {"url": f"{provider}/introspect"}, "assertions": assertions}
    else:
        kind = "jwt"
        assertions["allowed_algorithms"] = ["RS256"]  # by default, heimdall accepts only PSS and ECDSA
        config = {"jwks_endpoint": {"url": f"{provider}/jwks"}, "assertions": assertions}
    rule = {
        "id": "bench",
        "match": {"routes": [{"path": "/verify"}], "methods": ["GET"]},
        "execute": [{"authenticator": "token"}, {"finalizer": "user"}],
    }
    rules = folder / f"heimdall-{port}-rules.json"
    rules.write_text(json.dumps({"version": "1alpha4", "name": "bench", "rules": [rule]}))
    user = {"headers": {"X-Auth-Request-User": "{{ .Subject.ID }}"}}
    return {
        "serve": {"host": "127.0.0.1", "port": port},
        "management": {"host": "127.0.0.1", "port": free_port()},
        "log": {"level": "panic", "format": "gelf"},
        "metrics": {"enabled": False},
        "tracing": {"enabled": False},
        "mechanisms": {
            "authenticators": [{"id": "token", "type": kind, "config": config}],
            "finalizers": [{"id": "user", "type": "header", "config": user}],
        },
        "providers": {"file_system": {"src": str(rules)}},
    }


@contextmanager
def _provider(jwks: JsonObject) -> Iterator[str]:
    """Serve the keys and a positive introspection response; return the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(jwks)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(_INTROSPECTION)

        def _answer(self, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
