from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from authgate.config import ConfigError, LoadedConfig, Problem, effective, flag_name, load
from authgate.config.problems import dotted

if TYPE_CHECKING:
    from tests.unit.config.conftest import Load, Pems, Problems

CLUSTER = "cluster: {audiences: [my-app]}\n"

DESIGN = """
apiVersion: authgate.dev/v1alpha1
kind: AuthgateConfiguration
cluster:
  name: home
  audiences: [my-audience]
  issuers: []
  kubeconfig: null
  tokenReview: {mode: fallback, maxAge: 60s, legacyAudiences: [], qps: 50, burst: 100, timeout: 3s}
  revocation: none
jwt:
- issuer:
    url: https://corp.example.com
    discoveryURL: https://corp.example.com/other
    audiences: [a, b]
    audienceMatchPolicy: MatchAny
  claimValidationRules: [{claim: hd, requiredValue: example.com}]
  claimMappings:
    username: {claim: sub, prefix: "corp:"}
    groups: {claim: groups, prefix: "corp:"}
    uid: {claim: sub}
    extra: []
  userValidationRules: []
  gate:
    {name: corp, algorithms: [RS256, ES256], leeway: 60s, expiryLeeway: 0s, maxTokenLifetime: null, jwksURL: null,
     staticKeys: null, keys: {refresh: 5m, timeout: 5s, maxStale: 24h}, types: [JWT, at+jwt]}
policies:
  default:
    audiences: null
    allow:
    - {serviceAccounts: ["prod/*"]}
    - {issuers: [corp, home], users: ["corp:me"], groups: ["corp:admins"]}
    deny: [{users: [system:serviceaccount:prod:evil]}]
    rules: []
    accessReview: null
    anonymous: []
  app-b: {audiences: [a], anonymous: [/healthz, /public/*]}
headers: {preset: oauth2-proxy}
cache: {maxEntries: 100000, ttl: 60s, negativeTTL: 5s}
server:
  listen: ["0.0.0.0:8080", "unix:/run/authgate/authgate.sock"]
  admin: "0.0.0.0:9090"
  proxy: nginx
  grpc: null
  workers: 1
limits: {maxTokenBytes: 16384, maxHeaderBytes: 65536, headerTimeout: 10s}
log: {level: info, format: json, audit: deny}
"""


def issuer(gate: str = "{}", *, url: str = "https://a.example", members: str = "") -> str:
    """A file with one issuer."""
    return (
        f"jwt: [{{issuer: {{url: '{url}', audiences: [a]{members}}}, "
        f"claimMappings: {{username: {{claim: sub, prefix: 'a:'}}}}, gate: {gate}}}]\n"
    )


def test_the_complete_format_is_loaded(load_text: Load) -> None:
    """A file with every field, including those with their defaults, is accepted without a warning."""
    assert load_text(DESIGN).warnings == ()


def test_one_variable_is_a_complete_configuration() -> None:
    """In a pod only the audience is required."""
    config = load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "my-audience"}).config
    assert ([cluster.audiences for cluster in config.clusters], config.jwt) == ([("my-audience",)], ())


def test_one_issuer_is_a_complete_configuration(load_text: Load) -> None:
    """Outside a cluster only an issuer and its audiences are required."""
    loaded = load_text(issuer())
    assert (loaded.config.cluster, loaded.config.jwt[0].name) == (None, "a.example")


def test_without_policies_any_authenticated_identity_is_allowed(load_text: Load) -> None:
    """The policy `default` exists, and requires only a valid token."""
    policies = load_text(CLUSTER).config.policies
    assert [(name, policy.allow, policy.deny) for name, policy in policies.items()] == [
        ("default", None, None)
    ]


def test_given_policies_need_no_default(load_text: Load) -> None:
    """If only other policies exist, /verify has no policy."""
    assert set(load_text(CLUSTER + "policies: {app: {}}").config.policies) == {"app"}


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:8080/realms/a",
        "https://[2001:db8::1]/",
    ],
)
def test_urls_that_are_safe_enough_are_accepted(load_text: Load, url: str) -> None:
    """Plain http is accepted on loopback, https everywhere."""
    assert load_text(issuer("{name: a}", url=url)).config.jwt[0].issuer.url == url


def test_a_clusters_issuer_may_be_a_plain_word(load_text: Load) -> None:
    """It is a StringOrURI (RFC 7519), so a text that is not a URL is used unchanged."""
    config = load_text("cluster: {audiences: [a], issuers: [old, 'https://a.example']}").config
    [cluster] = config.clusters
    assert cluster.issuers == ("old", "https://a.example")


def test_static_keys_may_be_a_mapping(load_text: Load) -> None:
    """An inline JWKS can be YAML; the model has it as JSON text."""
    keys = load_text(issuer("{staticKeys: {inline: {keys: [{kty: EC}]}}}")).config.jwt[0].gate.static_keys
    assert keys is not None
    assert keys.inline == '{"keys": [{"kty": "EC"}]}'


def test_keys_and_certificates_that_can_be_read_are_accepted(
    load_text: Load, pems: Pems, tmp_path: Path
) -> None:
    """Valid PEM texts are accepted, inline and as files."""
    for name, text in {
        "tls.crt": pems.certificate,
        "tls.key": pems.certificate_key,
        "ca.crt": pems.authority,
        "keys.pem": pems.public_key,
    }.items():
        (tmp_path / name).write_text(text)
    authority = pems.authority.encode("unicode_escape").decode()
    tls = f"certFile: {tmp_path}/tls.crt, keyFile: {tmp_path}/tls.key, clientCAFile: {tmp_path}/ca.crt"
    text = issuer(
        f"{{staticKeys: {{file: {tmp_path}/keys.pem}}}}", members=f', certificateAuthority: "{authority}"'
    )
    assert load_text(f"{text}server: {{tls: {{{tls}}}}}").warnings == ()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("other_key", "is not the key of the first certificate"),
        ("encrypted_key", "is encrypted"),
        ("authority", "holds no readable PEM private key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(
    load_text: Load, pems: Pems, tmp_path: Path, key: str, words: str
) -> None:
    """A TLS key is compared with its certificate at load."""
    (tmp_path / "tls.crt").write_text(pems.certificate)
    (tmp_path / "tls.key").write_text(getattr(pems, key))
    with pytest.raises(ConfigError, match=f"server.tls.keyFile .*{words}"):
        load_text(CLUSTER + f"server: {{tls: {{certFile: {tmp_path}/tls.crt, keyFile: {tmp_path}/tls.key}}}}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"cluster: \xff", "is not UTF-8: byte 9"),
        ("cluster: {}".encode("utf-16"), "is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1024 KiB"),
        (b"a: [", "is not valid YAML"),
    ],
    ids=["latin-1", "utf-16", "too-large", "syntax"],
)
def test_a_file_that_is_not_yaml_is_one_problem(tmp_path: Path, data: bytes, words: str) -> None:
    """The problem has the name of the file."""
    file = tmp_path / "authgate.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=words) as caught:
        load(file, {})
    assert [problem.path for problem in caught.value.problems] == [str(file)]


def test_an_unreadable_file_does_not_hide_a_bad_variable(tmp_path: Path) -> None:
    """Both are reported."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml", {"AUTHGATE_X": "1"})
    assert [problem.path for problem in caught.value.problems] == [str(tmp_path / "none.yaml"), "AUTHGATE_X"]


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Some editors write one; it is not a part of the first key."""
    file = tmp_path / "authgate.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + CLUSTER.encode())
    assert load(file, {}).config.cluster is not None


FILE = CLUSTER + "server: {listen: ['127.0.0.1:1']}\n"
ENV = {"AUTHGATE_SERVER__LISTEN": "127.0.0.1:2"}
FLAGS = {"server.listen": ["127.0.0.1:3"]}


@pytest.mark.parametrize(
    ("text", "env", "flags", "listen", "source"),
    [
        (CLUSTER, {}, {}, "0.0.0.0:8080", "default"),
        (FILE, {}, {}, "127.0.0.1:1", "file authgate.yaml"),
        (FILE, ENV, {}, "127.0.0.1:2", "env AUTHGATE_SERVER__LISTEN"),
        (FILE, ENV, FLAGS, "127.0.0.1:3", "flag --listen"),
        (FILE, {}, FLAGS, "127.0.0.1:3", "flag --listen"),
        (CLUSTER, ENV, {"server.listen": None}, "127.0.0.1:2", "env AUTHGATE_SERVER__LISTEN"),
        (CLUSTER, ENV, {"server.listen": "127.0.0.1:4, 127.0.0.1:5"}, "127.0.0.1:4", "flag --listen"),
    ],
    ids=[
        "default",
        "file",
        "env-over-file",
        "flag-over-env",
        "flag-over-file",
        "flag-not-given",
        "flag-as-text",
    ],
)
def test_flag_over_env_over_file_over_default(
    load_text: Load, text: str, env: dict[str, str], flags: dict[str, object], listen: str, source: str
) -> None:
    """The source of the value is reported."""
    loaded = load_text(text, env, flags)
    shown = loaded.sources["server.listen"]
    directory = shown.removeprefix("file ").removesuffix("authgate.yaml") if shown.startswith("file ") else ""
    assert (str(loaded.config.server.listen[0]), shown.replace(directory, "")) == (listen, source)


def test_a_variable_adds_to_a_section_of_the_file(load_text: Load) -> None:
    """A variable replaces only its own field."""
    config = load_text("cluster: {audiences: [a], name: one}", {"AUTHGATE_CLUSTER__NAME": "two"}).config
    [cluster] = config.clusters
    assert (cluster.name, cluster.audiences) == ("two", ("a",))


def test_a_variable_can_fill_an_empty_section_of_the_file(load_text: Load) -> None:
    """`cluster:` with nothing below it is the same as no `cluster`."""
    assert load_text("cluster:\n", {"AUTHGATE_CLUSTER__AUDIENCES": "a"}).config.cluster is not None


def test_a_variable_does_not_hide_an_error_in_the_file(load_text: Load) -> None:
    """A text instead of a section is still reported."""
    with pytest.raises(ConfigError, match=r"cluster \(line 1\): must be a mapping"):
        load_text("cluster: home", {"AUTHGATE_CLUSTER__AUDIENCES": "a"})


def test_a_setting_replaces_a_complete_section(load_text: Load) -> None:
    """A section that is set by a variable has only the fields of the variable, and defaults."""
    loaded = load_text("cluster: {audiences: [a], name: one}", {"AUTHGATE_CLUSTER": "{audiences: [b]}"})
    assert (loaded.sources["cluster.audiences"], loaded.sources["cluster.name"]) == (
        "env AUTHGATE_CLUSTER",
        "default",
    )


def test_a_flag_can_replace_a_part_of_a_variables_value() -> None:
    """Outer values are applied first, then inner ones."""
    loaded = load(
        None, {"AUTHGATE_CLUSTER": "{audiences: [b]}", "AUTHGATE_CLUSTER__NAME": "x"}, {"cluster.name": "y"}
    )
    assert (loaded.sources["cluster.audiences"], loaded.sources["cluster.name"]) == (
        "env AUTHGATE_CLUSTER",
        "flag --cluster-name",
    )


def test_a_flag_for_a_section_replaces_a_variable_in_it() -> None:
    """The section of the flag is used without the variable's field."""
    loaded = load(None, {"AUTHGATE_CLUSTER__NAME": "x"}, {"cluster": {"audiences": ["b"]}})
    assert ([cluster.name for cluster in loaded.config.clusters], loaded.sources["cluster.name"]) == (
        ["home"],
        "default",
    )


@pytest.mark.parametrize(
    ("flags", "path", "words"),
    [
        ({"server.lsten": "x"}, "--lsten", "is not a field that a flag can set"),
        ({"log.level.x.y": "x"}, "--log-level-x-y", "is not a field that a flag can set"),
        ({"cache.ttl": "soon"}, "cache.ttl", "must be a duration"),
        ({"cluster": "{a: ["}, "--cluster", "is not valid YAML"),
        ({"server.listen": [b"x"]}, "server.listen[0]", "must be a text"),
        ({"log": object()}, "log", "must be a mapping"),
    ],
    ids=["unknown", "too-deep", "value", "yaml", "bytes", "object"],
)
def test_a_bad_flag_is_a_problem(flags: dict[str, object], path: str, words: str) -> None:
    """Values of flags are validated like others."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a"}, flags)
    assert [(problem.path, words in problem.message) for problem in caught.value.problems] == [(path, True)]


def test_a_problem_names_the_variable_that_set_the_value() -> None:
    """So the reader knows where to fix it."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a", "AUTHGATE_LOG__LEVEL": "loud"})
    assert caught.value.problems == (
        Problem(
            "log.level",
            'must be "debug", "info", "warning" or "error" (set by env AUTHGATE_LOG__LEVEL)',
            '"loud"',
        ),
    )


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("server.listen", "--listen"),
        ("server.tls.clientCAFile", "--tls-client-cafile"),
        ("log.level", "--log-level"),
        ("cluster.tokenReview.maxAge", "--cluster-token-review-max-age"),
    ],
)
def test_every_path_has_its_own_flag(path: str, flag: str) -> None:
    """The flag is named after the path."""
    assert flag_name(path) == flag


def test_every_value_has_a_source(load_text: Load) -> None:
    """Each is a flag, a variable, the file or a default."""
    loaded: LoadedConfig = load_text(DESIGN, {"AUTHGATE_LOG__LEVEL": "debug"})
    assert {source.split(" ", maxsplit=1)[0] for source in loaded.sources.values()} == {
        "file",
        "env",
        "default",
    }


SHARED = """
x-teams: &teams [corp:a, corp:b]
x-limits:
  anything: {at: [all]}
cluster: {audiences: [my-app]}
policies:
  default: {allow: [{groups: *teams}]}
  admin: {allow: [{groups: *teams, users: [corp:root]}]}
"""


def test_a_list_can_be_shared_by_anchor_and_alias(load_text: Load) -> None:
    """Keys that begin with `x-` are ignored, and the list itself is shown."""
    loaded = load_text(SHARED)
    shown = {dotted(path): value for path, value, _ in effective(loaded)}
    assert shown["policies.admin.allow[0].groups"] == ["corp:a", "corp:b"]
    assert [path for path in shown if path.startswith("x-")] == []


def test_an_error_in_a_shared_list_has_the_line_of_the_list(problems: Problems) -> None:
    """It is reported for both places, each time with the line to correct."""
    found = problems(SHARED.replace("corp:b", "[b]"))
    assert {path: problem.line for path, problem in found.items()} == {
        "policies.default.allow[0].groups[1]": 2,
        "policies.admin.allow[0].groups[1]": 2,
    }


@pytest.mark.parametrize("text", ["cluster: {x-audiences: [a], audiences: [a]}", "policies: {x-a: {x-b: 1}}"])
def test_only_top_level_keys_can_begin_with_x(problems: Problems, text: str) -> None:
    """Elsewhere such a key is an unknown field."""
    first = next(iter(problems(f"{text}\njwt: []").values()))
    assert first.message == "is not a known field"


def _realms(*urls: str, gate: str = "") -> str:
    mappings = "claimMappings: {username: {claim: sub, prefix: 'corp:'}}"
    issuers = [f"{{issuer: {{url: '{url}', audiences: [a]}}, {mappings}{gate}}}" for url in urls]
    return f"jwt: [{', '.join(issuers)}]\n"


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["https://kc.example/realms/a"], ["kc.example"]),
        (
            ["https://kc.example/realms/a", "https://kc.example/realms/b", "https://idp.example/x"],
            ["kc.example-realms-a", "kc.example-realms-b", "idp.example"],
        ),
        (["https://kc.example", "https://kc.example/b/"], ["kc.example", "kc.example-b"]),
        (["https://kc.example:8443", "https://kc.example:9443"], ["kc.example-8443", "kc.example-9443"]),
    ],
    ids=["alone", "realms", "root-and-path", "ports"],
)
def test_issuers_that_share_a_host_are_named_by_host_and_path(
    load_text: Load, urls: list[str], names: list[str]
) -> None:
    """Policies, metrics and logs use these names; an issuer alone on its host has the name of the host."""
    loaded = load_text(
        _realms(*urls) + f"policies: {{default: {{allow: [{{issuers: {json.dumps(names)}}}]}}}}"
    )
    assert [issuer.name for issuer in loaded.config.jwt] == names


def test_an_issuer_on_plain_http_is_rejected_without_a_name(problems: Problems) -> None:
    """Default names do not hide the error."""
    found = problems(_realms("http://kc.example/realms/a", "https://kc.example/realms/b"))
    assert list(found) == ["jwt[0].issuer.url"]
    assert "must be https://" in found["jwt[0].issuer.url"].message


def test_no_proxy_is_assumed(load_text: Load) -> None:
    """There is no default that would be safe."""
    loaded = load_text("cluster: {audiences: [a]}")
    assert (loaded.config.server.proxy, loaded.sources["server.proxy"]) == (None, "default")


def test_envoy_over_grpc_reports_the_request(load_text: Load) -> None:
    """This also holds if no proxy calls over HTTP."""
    text = CLUSTER + "server: {grpc: ':9001', proxy: null}\npolicies: {default: {anonymous: [/healthz]}}"
    assert load_text(text).config.server.proxy is None


def test_a_missing_proxy_is_reported_with_what_to_add(problems: Problems) -> None:
    """The message lists every proxy."""
    (problem,) = problems("cluster: {audiences: [a]}\npolicies: {default: {anonymous: [/healthz]}}").values()
    assert problem.message.endswith(
        "add server: {proxy: nginx}, or one of ingress-nginx, envoy, traefik, caddy, haproxy"
    )
