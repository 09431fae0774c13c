"""oauth2-proxy: its configuration file, alpha configuration or container, as an issuer and a policy.

Source: oauth2-proxy 7.15, pkg/apis/options, pkg/middleware/jwt_session.go, providers and validator.go.
"""

from __future__ import annotations

import csv
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from authgate.config import Problem
from authgate.tools.convert.fields import Fields, Reading
from authgate.tools.convert.manifests import (
    arguments,
    container_of,
    containers,
    embedded,
    is_workload,
    objects,
    parse_flag,
    rest_of_file,
)
from authgate.tools.convert.paths import of_regex
from authgate.tools.convert.results import DENY_ALL, Result, issuer_entry, issuer_label, literal, quoted
from authgate.tools.convert.values import ConversionError, Converted, Original, read_original
from authgate.vocabulary import IDENTITY_HEADER_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authgate.config.problems import Path
    from authgate.tools.convert.fields import Options

_NAME: Final = "oauth2-proxy"
_VARIABLES: Final = "OAUTH2_PROXY_"
_LACKS: Final = "add it; until then the policy denies every request"
_FLAGS: Final = {
    "api_routes": "api-route",
    "allowed_groups": "allowed-group",
    "allowed_roles": "allowed-role",
    "cookie_domains": "cookie-domain",
    "email_domains": "email-domain",
    "entra_id_allowed_tenants": "entra-id-allowed-tenant",
    "exclude_logging_paths": "exclude-logging-path",
    "github_users": "github-user",
    "gitlab_groups": "gitlab-group",
    "gitlab_projects": "gitlab-project",
    "google_groups": "google-group",
    "htpasswd_user_groups": "htpasswd-user-group",
    "keycloak_groups": "keycloak-group",
    "oidc_audience_claims": "oidc-audience-claim",
    "oidc_enabled_signing_algs": "oidc-enabled-signing-alg",
    "oidc_extra_audiences": "oidc-extra-audience",
    "oidc_public_key_files": "oidc-public-key-file",
    "provider_ca_files": "provider-ca-file",
    "skip_auth_routes": "skip-auth-route",
    "tls_cipher_suites": "tls-cipher-suite",
    "trusted_ips": "trusted-ip",
    "trusted_proxy_ips": "trusted-proxy-ip",
    "upstreams": "upstream",
    "whitelist_domains": "whitelist-domain",
}
"""The settings whose flag is not the name of the field with dashes."""
_OF_FLAG: Final = {flag: setting for setting, flag in _FLAGS.items()}

_ALPHA: Final = {
    "allowed_groups": "allowedGroups",
    "allowed_roles": "keycloakConfig.roles",
    "bitbucket_repository": "bitbucketConfig.repository",
    "bitbucket_team": "bitbucketConfig.team",
    "client_id": "clientID",
    "entra_id_allowed_tenants": "microsoftEntraIDConfig.allowedTenants",
    "github_org": "githubConfig.org",
    "github_repo": "githubConfig.repo",
    "github_team": "githubConfig.team",
    "github_users": "githubConfig.users",
    "gitlab_groups": "gitlabConfig.group",
    "gitlab_projects": "gitlabConfig.projects",
    "google_groups": "googleConfig.group",
    "insecure_oidc_allow_unverified_email": "oidcConfig.insecureAllowUnverifiedEmail",
    "insecure_oidc_skip_issuer_verification": "oidcConfig.insecureSkipIssuerVerification",
    "keycloak_groups": "keycloakConfig.groups",
    "oidc_audience_claims": "oidcConfig.audienceClaims",
    "oidc_email_claim": "oidcConfig.emailClaim",
    "oidc_enabled_signing_algs": "oidcConfig.enabledSigningAlgs",
    "oidc_extra_audiences": "oidcConfig.extraAudiences",
    "oidc_groups_claim": "oidcConfig.groupsClaim",
    "oidc_issuer_url": "oidcConfig.issuerURL",
    "oidc_jwks_url": "oidcConfig.jwksURL",
    "oidc_public_key_files": "oidcConfig.publicKeyFiles",
    "provider": "provider",
    "provider_ca_files": "caFiles",
    "skip_oidc_discovery": "oidcConfig.skipDiscovery",
    "user_id_claim": "oidcConfig.userIDClaim",
}
"""The settings that are in `providers` of the alpha configuration."""

_ALPHA_LOGIN: Final = (
    "ADFSConfig",
    "authRequestResponseMode",
    "azureConfig",
    "backendLogoutURL",
    "clientSecret",
    "clientSecretFile",
    "code_challenge_method",
    "loginGovConfig",
    "loginURL",
    "loginURLParameters",
    "profileURL",
    "redeemURL",
    "resource",
    "scope",
    "skipClaimsFromProfileURL",
    "validateURL",
)
_SESSION: Final = "authgate keeps no sessions and cookies; keep oauth2-proxy for logins with a browser"
_LOGIN: Final = "authgate does not log people in; keep oauth2-proxy for logins with a browser"
_PROXY: Final = "the proxy in front of authgate replaces it"
_LOG: Final = "the section log replaces it"
_APP: Final = (
    "apps get the headers of headers.preset and headers.set, and no token; X-Forwarded-* are not possible"
)
_ADMIN: Final = "server.admin has the probes and metrics"
_OMITTED: Final = {
    _SESSION: "cookie_.* session_.* redis_.*",
    _LOGIN: (
        "client_secret client_secret_file provider_display_name login_url redeem_url profile_url validate_url resource"
        " scope prompt approval_prompt acr_values jwt_key jwt_key_file pubjwk_url code_challenge_method"
        " force_code_challenge_method auth_request_response_mode skip_claims_from_profile_url backend_logout_url"
        " insecure_oidc_skip_nonce redirect_url relative_redirect_url whitelist_domains skip_provider_button"
        " custom_templates_dir custom_sign_in_logo banner footer display_htpasswd_form show_debug_on_error encode_state"
        " proxy_prefix bearer_token_login_fallback api_routes force_json_errors force_https"
        " entra_id_federated_token_auth azure_graph_group_field github_token google_.*"
    ),
    _PROXY: (
        "upstreams upstream_timeout flush_interval pass_host_header proxy_websockets ssl_upstream_insecure_skip_verify"
        " disable_keep_alives http_address https_address tls_.* reverse_proxy real_client_ip_header trusted_proxy_ips"
        " allow_query_semicolons"
    ),
    _LOG: (
        "auth_logging.* standard_logging.* request_logging.* errors_to_info_log exclude_logging_paths logging_.*"
        " silence_ping_logging request_id_header"
    ),
    _ADMIN: "ping_path ping_user_agent ready_path metrics_.* gcp_healthchecks",
    _APP: (
        "pass_basic_auth pass_access_token pass_user_headers pass_authorization_header set_basic_auth"
        " set_authorization_header prefer_email_to_user basic_auth_password skip_auth_strip_headers signature_key"
    ),
    "authgate does not decide by addresses; such requests need a token": "trusted_ips",
    "authgate has no passwords; such requests need a token": "htpasswd_file htpasswd_user_groups",
    "authgate always verifies certificates": "ssl_insecure_skip_verify",
    "an issuer has its own certificates or the system's": "use_system_trust_store",
}
"""Patterns of settings without a counterpart, by the reason."""

_CLOSED: Final = (
    "bitbucket_team",
    "bitbucket_repository",
    "github_org",
    "github_team",
    "github_repo",
    "github_users",
    "gitlab_groups",
    "gitlab_projects",
    "google_groups",
    "google_group",
    "keycloak_groups",
)
"""Restrictions that only an API of the provider can check."""

_VERIFYING: Final = frozenset({"oidc", "adfs", "azure", "cidaas", "gitlab", "keycloak-oidc", "entra-id"})
"""The providers whose tokens oauth2-proxy verifies."""

_PRESET: Final = {
    "x-auth-request-user": "user",
    "x-auth-request-email": "email",
    "x-auth-request-groups": "groups",
    "x-auth-request-preferred-username": "preferred_username",
}
"""The headers that the preset oauth2-proxy has, and the claims of oauth2-proxy's sessions in them."""

_VERIFIED_EMAIL: Final = {
    "expression": "claims.?email_verified.orValue(true) == true",
    "message": "the email address is not verified",
}
_TENANT: Final = re.compile(r"(https://login\.microsoftonline\.(?:com|us))/(?:common|organizations)/v2\.0/?")


def from_oauth2_proxy(text: str, options: Options) -> Converted:
    """Return the configuration of a gate that verifies the bearer tokens that oauth2-proxy accepts.

    The text is the configuration file (TOML), the alpha configuration (YAML), or a manifest with the container and its
    ConfigMap. Raises `ConversionError`.
    """
    reading = Reading(_NAME)
    result = Result(reading, options)
    settings = _settings(text, reading)
    policy = _Converter(result, settings).policy()
    result.add_policy(options.policy, policy)
    return result.converted()


class _Settings:
    """The settings of several sources, by the names of the configuration file; the first source has precedence."""

    def __init__(
        self,
        sources: list[Callable[[str], tuple[Fields, str] | None]],
        root: Fields,
        *,
        flags: Fields | None = None,
        complete: bool = True,
    ) -> None:
        self._sources = sources
        self._flags = flags
        self.root = root
        self.complete = complete
        """Whether the input has every setting that may restrict access."""

    def place(self, key: str) -> tuple[Fields, str] | None:
        """Return where a setting is; other places of it are noted."""
        found = [place for source in self._sources if (place := source(key)) is not None]
        for fields, name in found[1:]:
            fields.omit(name, "another source of settings replaces it")
        return found[0] if found else None

    def __contains__(self, key: str) -> bool:
        return any(source(key) is not None for source in self._sources)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list. A flag, a variable and a single text are separated at commas, as in CSV."""
        place = self.place(key)
        if place is None:
            return ()
        fields, name = place
        values = fields.texts(name)
        if fields is not self._flags and isinstance(fields.values.get(name), tuple):
            return tuple(filter(None, values))
        try:
            rows = [next(csv.reader([text]), []) for text in values]
        except csv.Error:
            raise fields.wrong(name, "must be a list whose texts are separated by commas") from None
        return tuple(item for row in rows for item in row if item)

    def text(self, key: str, default: str = "") -> str:
        """Return the last text, which is the one that counts."""
        place = self.place(key)
        values = () if place is None else place[0].texts(place[1])
        return values[-1] if values and values[-1] else default

    def flag(self, key: str) -> bool:
        """Return a boolean, which is false if it is missing."""
        place = self.place(key)
        if place is None:
            return False
        fields, name = place
        value = fields.values.get(name)
        if isinstance(value, bool):
            return fields.flag(name)
        parsed = parse_flag(self.text(key))
        if parsed is None:
            raise fields.wrong(name, "must be true or false")
        return parsed

    def note(self, key: str, message: str) -> None:
        """Add a note about a setting, or about the input if the setting is missing."""
        place = self.place(key)
        if place is None:
            self.root.note(None, f"{key} {message}")
        else:
            place[0].note(place[1], message)


def _settings(text: str, reading: Reading) -> _Settings:
    toml = _read_toml(text)
    if toml is not None:
        root = reading.open(toml)
        _omit(root, lambda name: name)
        return _Settings([_named(root, lambda key: key)], root)
    original = None
    try:
        original = read_original(text)
    except ConversionError:
        if not re.search(r"^kind:", text, re.MULTILINE):
            raise
    if original is not None and "kind" not in original.fields:
        root = reading.open(original)
        return _Settings([_alpha(root)], root)
    return _of_manifest(text, reading)


def _read_toml(text: str) -> Original | None:
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError):  # a long number raises ValueError itself
        return None
    lines: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r'\s*"?([A-Za-z0-9_-]+)"?\s*=', line):
            lines[str(match[1]),] = number
    return Original(
        {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}, lines
    )


def _named(fields: Fields, name_of: Callable[[str], str]) -> Callable[[str], tuple[Fields, str] | None]:
    return lambda key: (fields, name_of(key)) if name_of(key) in fields.values else None


def _flag(key: str) -> str:
    return _FLAGS.get(key, key.replace("_", "-"))


def _setting(name: str) -> str:
    """Return the setting of a flag or a variable, as the configuration file names it."""
    return _OF_FLAG.get(name) or name.removeprefix(_VARIABLES).lower().replace("-", "_")


def _of_manifest(text: str, reading: Reading) -> _Settings:
    items = objects(text, reading)
    used: set[str] = set()
    found: list[tuple[Fields, _Settings]] = []
    for item in filter(is_workload, items):
        for container in containers(item):
            if _NAME in str(container.values.get("image")) or container.values.get("name") == _NAME:
                found.append((container, _of_container(container, items, used, reading)))
            else:
                container.ignore(*container)
                container.note(None, "is omitted: it is another container")
    for item in items:
        if item.label in used:
            rest_of_file(item)
        elif not is_workload(item):
            item.fields.omit_rest("only the container of oauth2-proxy and its files are converted")
    if len(found) != 1:
        raise ConversionError(
            [Problem("the file", f"must have one container of oauth2-proxy; it has {len(found)}")]
        )
    return found[0][1]


def _of_container(container: Fields, items: list[Any], used: set[str], reading: Reading) -> _Settings:
    flags = arguments(container, items, used, reading, environment=_VARIABLES)
    complete = not _lacks_values(container, flags)
    container_of(container, env_from=f"it may have settings: {_LACKS}")
    sources = [_named(flags, _flag), _named(flags, lambda key: f"{_VARIABLES}{key.upper()}")]
    _omit(flags, _setting)
    for name in ("config", "alpha-config"):
        path = (flags.texts(name) or ("",))[-1]
        found = embedded(path.rpartition("/")[2], items, used) if path else None
        if path and found is None:
            flags.note(
                name, f"names a file that is not in exactly one ConfigMap or Secret of the input: {_LACKS}"
            )
            complete = False
        if found is None:
            continue
        original = (
            (_read_toml(found.text) or Original({}, {})) if name == "config" else read_original(found.text)
        )
        if not original.fields:
            flags.note(name, f"names a file that cannot be read: {_LACKS}")
            complete = False
        root = reading.open(Original(original.fields, {(): found.line}, found.label))
        if name == "config":
            _omit(root, lambda name: name)
            sources.append(_named(root, lambda key: key))
        else:
            sources.insert(0, _alpha(root))
    return _Settings(sources, flags, flags=flags, complete=complete)


def _lacks_values(container: Fields, flags: Fields) -> bool:
    """Return whether the environment may have settings that restrict access, with values that are not in the input."""
    lacks = "envFrom" in container
    for variable in container.sections("env"):
        name = variable.text("name")
        key = name.removeprefix(_VARIABLES).lower()
        known = name in flags or "value" in variable.values
        if known or not name.startswith(_VARIABLES) or key == "client_id" or _why_omitted(key):
            continue
        variable.note(None, f"has no value, and may restrict access: {_LACKS}")
        lacks = True
    return lacks


def _omit(fields: Fields, key_of: Callable[[str], str]) -> None:
    """Note the settings without a counterpart."""
    for name in fields:
        why = _why_omitted(key_of(name))
        if why:
            fields.omit(name, why)


def _why_omitted(key: str) -> str:
    """Return why a setting has no counterpart, or "" if it has one or restricts access."""
    if key in _CLOSED:
        return ""
    for why, patterns in _OMITTED.items():
        if any(re.fullmatch(pattern, key) for pattern in patterns.split()):
            return why
    return ""


def _alpha(root: Fields) -> Callable[[str], tuple[Fields, str] | None]:
    """Return the place of a setting in the alpha configuration, whose other fields are noted."""
    root.omit_all({"server": _PROXY, "upstreamConfig": _PROXY, "metricsServer": _ADMIN})
    providers = root.sections("providers")
    if not providers:
        raise root.wrong("providers", "is missing: the alpha configuration has no provider")
    for other in providers[1:]:
        other.ignore(*other)
        other.note(None, "is omitted: oauth2-proxy uses only the first provider")
    first = providers[0]
    first.omit_all(dict.fromkeys(("id", "name"), "the issuer has a name of its own"))
    first.omit_all(dict.fromkeys(_ALPHA_LOGIN, _LOGIN))
    first.omit("useSystemTrustStore", "an issuer has its own certificates or the system's")
    first.omit("additionalClaims", "headers.set can have any claim")
    oidc = first.section("oidcConfig")
    if oidc is not None:
        oidc.omit("insecureSkipNonce", _LOGIN)
    entra = first.section("microsoftEntraIDConfig")
    if entra is not None:
        entra.omit("federatedTokenAuth", _LOGIN)

    def place(key: str) -> tuple[Fields, str] | None:
        section, dot, name = _ALPHA.get(key, "").rpartition(".")
        fields = first.section(section) if dot else first
        return (fields, name) if name and fields is not None and name in fields.values else None

    return place


class _Converter:
    """Writes the issuer and the policy of one set of settings."""

    def __init__(self, result: Result, settings: _Settings) -> None:
        self.result = result
        self.settings = settings

    def policy(self) -> dict[str, Any]:
        """Write the issuers and headers, and return the policy."""
        settings = self.settings
        closed = self._closed()
        bearer = settings.flag("skip_jwt_bearer_tokens")
        names = self._issuers(bearer)
        self._headers()
        rules = self._open_paths()
        policy: dict[str, Any] = {"allow": self._allow(names)}
        if not bearer:
            settings.note(
                "skip_jwt_bearer_tokens",
                "is false, so oauth2-proxy accepts only its session cookies: the policy denies every request; remove"
                " its deny if clients, or oauth2-proxy in front of authgate, send the issuer's tokens",
            )
        if closed or not bearer or not settings.complete:
            policy = {**DENY_ALL, **policy}
        if settings.flag("skip_auth_preflight"):
            policy["corsPreflight"] = "allow"
            settings.note("skip_auth_preflight", "becomes corsPreflight: other OPTIONS requests need a token")
        if rules:
            policy["rules"] = rules
        return policy

    def _closed(self) -> bool:
        """Return whether there is a restriction that cannot be checked."""
        closed = False
        for key in _CLOSED:
            if self.settings.texts(key):
                self.settings.note(
                    key, "is omitted: only the provider's API can check it; the policy denies every request"
                )
                closed = True
        return closed

    def _issuers(self, bearer: bool) -> list[str]:
        settings = self.settings
        kind = settings.text("provider", "google")
        url = settings.text("oidc_issuer_url")
        found: list[tuple[str, str]] = []
        client = settings.text("client_id")
        if kind not in _VERIFYING:
            settings.note(
                "provider", f"is omitted: oauth2-proxy does not verify tokens of {kind}, it only has logins"
            )
            self._unused()
        elif not url:
            raise ConversionError(
                [Problem("oidc_issuer_url", "is missing: authgate needs the issuer of the tokens")]
            )
        else:
            if not client:
                settings.note("client_id", "is missing: write it into issuer.audiences")
            found.append((self._tenants(url), client))
        for text in settings.texts("extra_jwt_issuers"):
            issuer, equals, audience = text.partition("=")
            if not equals or not bearer:
                settings.note(
                    "extra_jwt_issuers",
                    f"has {issuer} omitted: it needs skip_jwt_bearer_tokens and an audience",
                )
            else:
                found.append((issuer, audience))
        if not found:
            message = "has no issuer whose tokens authgate could verify"
            raise ConversionError([Problem("provider", message), *self.result.reading.finish()])
        names: list[str] = []
        for index, (issuer, audience) in enumerate(found):
            names.append(self._issuer(issuer, audience, provider=index == 0 and kind in _VERIFYING))
        return list(dict.fromkeys(names))

    def _unused(self) -> None:
        keys = [
            key for key in _ALPHA if key.startswith(("oidc_", "insecure_", "skip_oidc", "client_id", "entra"))
        ]
        for key in (*keys, "azure_tenant", "provider_ca_files"):
            place = self.settings.place(key)
            if place is not None and key not in (
                "oidc_audience_claims",
                "oidc_extra_audiences",
                "oidc_groups_claim",
                "oidc_email_claim",
            ):
                place[0].omit(place[1], "it belongs to the provider")

    def _tenants(self, url: str) -> str:
        settings = self.settings
        tenants = settings.texts("entra_id_allowed_tenants")
        many = _TENANT.fullmatch(url)
        if settings.flag("insecure_oidc_skip_issuer_verification"):
            replaced = "gate.tenants replaces it" if tenants and many else "iss must be the issuer"
            settings.note("insecure_oidc_skip_issuer_verification", f"is omitted: {replaced}")
        if settings.text("azure_tenant"):
            settings.note("azure_tenant", "is omitted: the issuer is that of oidc_issuer_url")
        if tenants and many:
            return f"{many[1]}/{{tenantid}}/v2.0"
        if tenants:
            settings.note("entra_id_allowed_tenants", "is omitted: the issuer has one tenant")
        return url

    def _issuer(self, url: str, audience: str, *, provider: bool) -> str:
        settings = self.settings
        same = [item for item in self.result.jwt if item["issuer"]["url"] == url]
        accepted = list(dict.fromkeys(filter(None, (audience, *settings.texts("oidc_extra_audiences")))))
        if same and not provider and self.settings.text("oidc_groups_claim", "groups") != "groups":
            settings.note(
                "extra_jwt_issuers", f"has {url} omitted: its tokens have other groups than the provider's"
            )
            return str(same[0]["gate"]["name"])
        if same:
            issuer = same[0]["issuer"]
            if "claimValidationRules" not in same[0]:
                same[0]["claimValidationRules"] = [_VERIFIED_EMAIL]
                settings.note(
                    "extra_jwt_issuers", f"has {url}, so addresses must be verified for the provider, too"
                )
            issuer["audiences"] = list(dict.fromkeys([*issuer["audiences"], *accepted]))
            if len(issuer["audiences"]) > 1:
                issuer["audienceMatchPolicy"] = "MatchAny"
            return str(same[0]["gate"]["name"])
        name = self.result.issuer_name(issuer_label(url))
        entry = issuer_entry(url, accepted, name=name)
        gate = entry["gate"]
        if "{tenantid}" in url:
            gate["tenants"] = list(settings.texts("entra_id_allowed_tenants"))
        claims = settings.texts("oidc_audience_claims")
        if claims and list(claims) != ["aud"]:
            gate["audienceClaims"] = list(claims)
        if provider:
            self._keys(gate, name)
            if self._email_claim() != "email":
                settings.note(
                    "oidc_email_claim",
                    "is omitted from X-Auth-Request-Email, which has the claim email: use headers.set",
                )
        if not provider or not self._email_of_another_claim():
            entry["claimValidationRules"] = [_VERIFIED_EMAIL]
        entry["claimMappings"] = {
            "username": {"claim": "sub", "prefix": ""},
            "groups": self._groups(provider),
        }
        self.result.jwt.append(entry)
        return name

    def _email_of_another_claim(self) -> bool:
        unverified = self.settings.flag("insecure_oidc_allow_unverified_email")
        return unverified or self._email_claim() != "email"

    def _email_claim(self) -> str:
        claim = self.settings.text("oidc_email_claim", "email")
        other = self.settings.text("user_id_claim", "email")
        return other if claim == "email" else claim

    def _keys(self, gate: dict[str, Any], name: str) -> None:
        settings = self.settings
        skipped = settings.flag("skip_oidc_discovery")
        algorithms = list(settings.texts("oidc_enabled_signing_algs")) or (["RS256"] if skipped else [])
        if algorithms:
            gate["algorithms"] = algorithms
        url, files = settings.text("oidc_jwks_url"), settings.texts("oidc_public_key_files")
        if skipped and url:
            gate["jwksURL"] = url
        elif url:
            settings.note("oidc_jwks_url", "is omitted: discovery finds the keys")
        if files and skipped and not url:
            gate["staticKeys"] = {"file": files[0]}
        if files and (not skipped or url or len(files) > 1):
            settings.note(
                "oidc_public_key_files",
                "is omitted, except one file if it is the only source of keys",
            )
        if settings.texts("provider_ca_files"):
            settings.note(
                "provider_ca_files",
                f"is omitted: copy the certificates to issuer.certificateAuthority of {name}",
            )

    def _groups(self, provider: bool) -> dict[str, Any]:
        claim = self.settings.text("oidc_groups_claim", "groups")
        if provider and self.settings.text("provider") == "keycloak-oidc":
            client = quoted(self.settings.text("client_id"))
            parts = [
                f"dyn({_optional(claim)}.orValue([]))",
                "dyn(claims.?realm_access.?roles.orValue([])).map(r, 'role:' + r)",
                f"dyn(claims.?resource_access[?{client}].?roles.orValue([])).map(r, 'role:' + {client} + ':' + r)",
            ]
            return {"expression": " + ".join(parts)}
        if not provider:
            claim = "groups"
        return {"claim": _pointer(claim), "prefix": ""}

    def _allow(self, names: list[str]) -> list[dict[str, Any]]:
        """Return the entries for groups and email addresses."""
        settings = self.settings
        groups = [
            *settings.texts("allowed_groups"),
            *(f"role:{role}" for role in settings.texts("allowed_roles")),
        ]
        entry: dict[str, Any] = {"issuers": names}
        if groups:
            entry["groups"] = [literal(group) for group in groups]
        domains = [domain.lower() for domain in settings.texts("email_domains")]
        file = settings.text("authenticated_emails_file")
        if file:
            settings.note(
                "authenticated_emails_file",
                "is omitted: the file is not read; write its addresses into an entry of allow, as an expression such as"
                " claims.email in ['jane@example.com']",
            )
        if "*" in domains:
            return [entry]
        if not domains:
            if not file:
                settings.note(
                    "email_domains", "is missing, so no user is allowed: replace the expression false"
                )
            return [{**entry, "expression": "false"}]
        claims = dict.fromkeys(names, "email")
        if settings.text("provider", "google") in _VERIFYING:
            claims[names[0]] = self._email_claim()
        return [
            {
                **entry,
                "issuers": [name for name in names if claims[name] == claim],
                "expression": _domain(claim, domain),
            }
            for claim in dict.fromkeys(claims.values())
            for domain in domains
        ]

    def _open_paths(self) -> list[dict[str, Any]]:
        rules: list[dict[str, Any]] = []
        for key in ("skip_auth_regex", "skip_auth_routes"):
            for route in self.settings.texts(key):
                method, equals, path = route.partition("=") if key == "skip_auth_routes" else ("", "", route)
                if not equals:
                    method, path = "", route
                paths = None if method.endswith("!") else of_regex(path)
                if paths is None or (method and not re.fullmatch(r"[A-Za-z-]{1,32}", method)):
                    self.settings.note(
                        key, f"has {route} omitted: a rule has no such pattern, so these paths need a token"
                    )
                    continue
                rule: dict[str, Any] = {"methods": [method.upper()]} if method else {}
                rules.append({**rule, "paths": paths, "anonymous": True})
        return rules

    def _headers(self) -> None:
        settings = self.settings
        if "set_xauthrequest" in settings and not settings.flag("set_xauthrequest"):
            settings.note(
                "set_xauthrequest", "is omitted: authgate always sends the headers of headers.preset"
            )
        root = settings.root
        for name in ("injectRequestHeaders", "injectResponseHeaders"):
            self._injected(root.sections(name) if name in root else ())

    def _injected(self, headers: Iterable[Fields]) -> None:
        for header in headers:
            name = header.text("name")
            values = header.sections("values")
            header.omit("preserveRequestValue", "authgate replaces the client's header")
            header.omit(
                "InsecureSkipHeaderNormalization", "the proxy removes all spellings of the client's header"
            )
            source = values[0].section("claimSource") if len(values) == 1 else None
            claim = "" if source is None else source.text("claim")
            plain = source is not None and set(source.values) == {"claim"}
            if plain and _PRESET.get(name.lower()) == claim:
                continue
            known = {"user": "user.username", "groups": "user.groups", "email": "", "preferred_username": ""}
            if not plain or claim not in known or not re.fullmatch(IDENTITY_HEADER_PATTERN, name):
                for value in values:
                    value.ignore(*value)
                if source is not None:
                    source.ignore(*source)
                header.note(None, f"is omitted: {_APP}")
                continue
            mapped = {"expression": known[claim]} if known[claim] else {"claim": f"/{claim}"}
            self.result.headers.setdefault("set", []).append({"name": name, **mapped})


def _domain(claim: str, domain: str) -> str:
    """Return the condition on an email address of a domain, or of its subdomains if it begins with a dot."""
    any_host = domain.startswith((".", "*."))
    pattern = f"^[^@]*@{'[^@]*' if any_host else ''}{re.escape(domain.removeprefix('*'))}$"
    return f"{_claim(claim)}.lowerAscii().matches({quoted(pattern)})"


def _pointer(claim: str) -> str:
    """Return a claim as authgate names it; a dot separates the names of nested claims."""
    if "." not in claim and not claim.startswith("/"):
        return claim
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in claim.split("."))


def _claim(claim: str) -> str:
    return "claims" + "".join(f"[{quoted(part)}]" for part in claim.split("."))


def _optional(claim: str) -> str:
    return "claims" + "".join(f"[?{quoted(part)}]" for part in claim.split("."))
