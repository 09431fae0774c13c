"""The types of field that the configuration's models share, each with its bounds and the message for a wrong value."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NoReturn, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from authgate.config.plain import camel_case
from authgate.config.problems import Finding
from authgate.globs import MAX_GLOBS, MAX_STARS, parts_of
from authgate.json_pointer import JSONPointer
from authgate.listen_address import ListenAddress
from authgate.vocabulary import LEGACY_ISSUER

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

_T = TypeVar("_T")

LABEL: Final = r"[a-zA-Z0-9._-]{1,63}"
"""The pattern of a name that becomes a metrics label."""

FINDING: Final = "finding"
"""The type of the pydantic errors that `refuse` raises; each has its `Finding` in the context."""


def refuse(*findings: Finding) -> NoReturn:
    """Refuse the value under validation; the paths of the findings are relative to it."""
    raise ValidationError.from_exception_data(
        "configuration",
        [
            {
                "type": PydanticCustomError(FINDING, "see the finding", {FINDING: finding}),
                "loc": finding.path,
                "input": None,
            }
            for finding in findings
        ],
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """A field of the file format that this version does not support: the message, and the value that is harmless."""

    sentence: str
    neutral: object = None

    def is_neutral(self, value: object) -> bool:
        """Return whether the field has the value that it would have if it were left out."""
        return (
            value is None
            or value in ((), [])
            or (type(value) is type(self.neutral) and value == self.neutral)
        )


class ConfigModel(BaseModel):
    """A mapping of the file: unknown fields are errors, types are strict, values cannot be changed.

    `refused` are known fields that are not supported, and `absent` are messages for required fields that are missing;
    both by the name in the file.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        alias_generator=camel_case,
        validate_by_alias=True,
        validate_by_name=True,  # for code; files are validated by alias only
        hide_input_in_errors=True,
        defer_build=True,  # the whole configuration's validator is built once, and those of its parts never
    )
    refused: ClassVar[Mapping[str, Refused]] = {}
    absent: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral_fields(cls, data: object) -> object:
        if not isinstance(data, dict) or not cls.refused:
            return data
        return {
            name: value
            for name, value in data.items()
            if name not in cls.refused or not cls.refused[name].is_neutral(value)
        }

    @model_validator(mode="after")
    def _is_consistent(self) -> ConfigModel:
        if findings := tuple(self.contradictions()):
            refuse(*findings)
        return self

    def contradictions(self) -> Iterator[Finding]:
        """Yield what is wrong between fields that are each valid; paths are relative to this model."""
        yield from ()


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that matches a pattern; the pattern is in the JSON Schema, the sentence is the error message."""

    pattern: str
    sentence: str

    def check(self, text: str) -> str:
        """Return the text, or raise ValueError with the sentence."""
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(self.sentence)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core), "pattern": f"^(?:{self.pattern})$"}


# Texts

_PRINTABLE: Final = Matching(r"[^\x00-\x1f\x7f-\x9f]*", "must not contain control characters or line breaks")

Text = Annotated[str, StringConstraints(min_length=1, max_length=1024), _PRINTABLE]
"""A short text: one to 1024 characters, no control characters."""

Prefix = Annotated[str, StringConstraints(max_length=256), _PRINTABLE]
"""A text that may be empty."""

Block = Annotated[str, StringConstraints(min_length=1, max_length=1024 * 1024)]
"""A text of several lines, such as PEM."""

Label = Annotated[str, Matching(LABEL, "must be 1 to 63 letters, digits, dots, underscores or dashes")]
"""A name that becomes a metrics label."""

DNSLabel = Annotated[
    str,
    Matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "must be a DNS label: at most 63 lower-case letters, digits or dashes, no dash at either end",
    ),
]
"""A name that becomes a part of a URL's path."""


def _pointer_or_name(text: str) -> str:
    if text.startswith("/"):
        JSONPointer(text)
    return text


ClaimName = Annotated[Text, AfterValidator(_pointer_or_name)]
"""A claim: its name, or a JSON pointer to a nested one."""


def check_glob(text: str) -> str:
    """Return a glob, or raise ValueError if it has too many stars."""
    if len(parts_of(text)) - 1 > MAX_STARS:
        raise ValueError(f"must not have more than {MAX_STARS} stars")
    return text


def _exact(text: str) -> str:
    if "*" in text:
        raise ValueError("must be written in full: * is not a pattern here")
    return text


glob = AfterValidator(check_glob)
"""Refuses a text with more stars than a pattern needs."""

exact = AfterValidator(_exact)
"""Refuses a text with a star, which would look like a pattern where there are no patterns."""


# Lists


def as_tuple(value: object) -> object:
    """Return a list as a tuple, because the models are frozen, and anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def _without_repetition(values: tuple[_T, ...]) -> tuple[_T, ...]:
    seen: set[_T] = set()
    for value in values:
        if value in seen:
            raise ValueError("names the same entry twice")
        seen.add(value)
    return values


def _few_globs(globs: tuple[str, ...]) -> tuple[str, ...]:
    if sum(len(parts_of(glob)) > 1 for glob in globs) > MAX_GLOBS:
        raise ValueError(f"must not have more than {MAX_GLOBS} entries with a star")
    return globs


different = AfterValidator(_without_repetition)
"""Refuses a list that has the same entry twice."""

few_globs = AfterValidator(_few_globs)
"""Refuses a list with so many globs that the groups of one token would take long to compare."""

Many = Annotated[tuple[_T, ...], Field(max_length=64), BeforeValidator(as_tuple)]
"""A list of at most 64 entries."""

Some = Annotated[tuple[_T, ...], Field(min_length=1, max_length=64), BeforeValidator(as_tuple)]
"""A list of 1 to 64 entries."""

ManyTexts = Annotated[Many[Text], different]
"""A list of different texts."""

SomeTexts = Annotated[Some[Text], different]
"""A list of different texts that is not empty."""

SomeExactTexts = Annotated[Some[Annotated[Text, exact]], different]
"""A list of different texts without stars that is not empty."""

ONE, SEVERAL = "(one)", "(several)"
"""The steps that pydantic adds to the paths of errors for the two forms of `OneOrSeveral`; no field has such a name."""


def _form(value: object) -> str:
    return SEVERAL if isinstance(value, list | tuple) else ONE


OneOrSeveral = Annotated[
    Annotated[_T, Tag(ONE)]
    | Annotated[tuple[_T, ...], Field(min_length=1, max_length=16), BeforeValidator(as_tuple), Tag(SEVERAL)],
    Discriminator(_form),
]
"""A mapping, or a list of 1 to 16 such mappings."""


# Durations

_DURATION_PATTERN: Final = (
    r"(?=.)(\d{1,9}(\.\d{1,9})?h)?(\d{1,9}(\.\d{1,9})?m(?!s))?(\d{1,9}(\.\d{1,9})?s)?(\d{1,9}(\.\d{1,9})?ms)?"
)
_DURATION: Final = re.compile(_DURATION_PATTERN, re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_FORMS: Final = 'must be a duration such as "500ms", "60s", "5m" or "1h30m", or a number of seconds'


def parse_duration(value: object) -> float:
    """Return a duration in seconds, finite and not negative; raises ValueError with a sentence for anything else.

    Units go from the largest to the smallest, each at most once: `1h30m`, `500ms`. A number counts seconds.
    """
    match value:
        case str() if _DURATION.fullmatch(value):
            return math.fsum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
        case bool():
            raise ValueError(_DURATION_FORMS)
        case int() if value.bit_length() > 64:
            raise ValueError(_DURATION_FORMS)
        case int() | float() if math.isfinite(value) and value >= 0:
            return float(value)
        case _:
            raise ValueError(_DURATION_FORMS)


def format_duration(seconds: float) -> str:
    """Write a duration so that `parse_duration` reads it back, to the microsecond."""
    if 0 < seconds < 1:
        return f"{_decimal(seconds * 1000)}ms"
    hours, rest = divmod(float(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(_decimal(count) + unit for count, unit in parts if _decimal(count) != "0") or "0s"


def _decimal(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration between two bounds, in seconds; written as `60s` or as a number."""

    at_least: float = 0.0
    at_most: float = 3600.0

    def read(self, value: object) -> float:
        """Return the seconds, or raise ValueError with a sentence."""
        seconds = parse_duration(value)
        if not self.at_least <= seconds <= self.at_most:
            raise ValueError(
                f"must be between {format_duration(self.at_least)} and {format_duration(self.at_most)}"
            )
        return seconds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": ["string", "number"],
            "pattern": f"^(?:{_DURATION_PATTERN})$",
            "minimum": self.at_least,
            "maximum": self.at_most,
        }


# URLs

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[\x21\x23-\x5b\x5d\x5f\x61-\x7a\x7e%]+")
_MAX_NAME: Final = 512
_NO_LABEL: Final = re.compile(r"[^A-Za-z0-9._-]+")
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")  # urlsplit has checked what is in brackets


def issuer_url(text: str, *, http: bool = False) -> str:
    """Return the URL of an issuer or discovery document unchanged; raises ValueError if it is not allowed.

    The rules are those of kube-apiserver's AuthenticationConfiguration (no user info, query or fragment), and plain
    http on loopback is allowed for development. `http` allows it for every host.
    """
    _check_url(text, http=http)
    if "?" in text:
        raise ValueError("must not have a query")
    return text


def keys_url(text: str, *, http: bool = False) -> str:
    """Return the URL of a key set, which may have a query, unchanged; raises ValueError if it is not allowed."""
    _check_url(text, http=http)
    return text


def issuer_name(text: str) -> str:
    """Return the name of an issuer that is not fetched unchanged; raises ValueError if it is not allowed."""
    if not 1 <= len(text) <= _MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"must be 1 to {_MAX_NAME} printable characters, without spaces at the ends")
    if text == LEGACY_ISSUER:
        raise ValueError(
            "is the issuer of legacy ServiceAccount tokens, which have no expiry;"
            " use cluster.tokenReview.legacyAudiences"
        )
    return text


NO_URL: Final = "must be an absolute URL in ASCII, such as https://issuer.example.com"
NO_HTTP: Final = "must be https://; plain http:// is allowed on loopback only"
"""Two messages that the issuers of `jwt` add advice to."""

TENANT: Final = "{tenantid}"
"""What an issuer's URL has in the place of a tenant, as in Entra ID's discovery document for all tenants."""


def host_of(url: str) -> str | None:
    """Return the host of a URL, in lower case and without port or brackets, or None if it has none."""
    try:
        return urlsplit(url).hostname or None
    except ValueError:
        return None


def default_name(issuer: str) -> str:
    """Return the label of an issuer: the host of its URL, or else its name, with a dash for what no label can have."""
    return host_of(issuer) or _NO_LABEL.sub("-", issuer).strip("-")


def default_names(urls: Sequence[str | None]) -> list[str | None]:
    """Return the default names of issuers: the host, or host, port and path where several issuers share a host.

    The default of an issuer without a host is its name. None is an issuer that has a name; it has no default.
    """
    hosts = [None if url is None else default_name(url) for url in urls]
    return [
        host if url is None or host is None or hosts.count(host) == 1 else _host_and_path(url)
        for url, host in zip(urls, hosts, strict=True)
    ]


def _host_and_path(url: str) -> str:
    if host_of(url) is None:
        return default_name(url)
    parts = urlsplit(url)
    return _NO_LABEL.sub("-", f"{parts.netloc.lower()}{parts.path}").strip("-")


def _check_url(text: str, *, http: bool) -> None:
    if not _URL.fullmatch(text):
        raise ValueError(NO_URL)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError("must be an https:// URL")
    if "@" in parts.netloc:
        raise ValueError("must not have a user name or password in it")
    if not _HOST.fullmatch(parts.hostname or "") or port == 0:
        raise ValueError("must be a URL with a valid host and port")
    if "#" in text:
        raise ValueError("must not have a fragment (#…)")
    if parts.scheme == "http" and not http and not _is_loopback(parts):
        raise ValueError(NO_HTTP)


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def endpoint_url(text: str) -> str:
    """Return a URL that tokens and credentials are sent to unchanged; raises ValueError if it is not allowed."""
    if not _URL.fullmatch(text):
        raise ValueError("must be an absolute URL in ASCII, such as https://login.example.com/introspect")
    _check_url(text, http=True)
    parts = urlsplit(text)
    if parts.scheme == "http" and not _is_loopback(parts):
        raise ValueError(
            "must be https://, because tokens and client credentials are sent to it; plain http:// is allowed on"
            " loopback only"
        )
    return text


def collector_url(text: str) -> str:
    """Return the URL of a collector of telemetry unchanged; raises ValueError if it is not allowed."""
    if not _URL.fullmatch(text):
        raise ValueError("must be an absolute URL in ASCII, such as http://otel-collector:4318")
    _check_url(text, http=True)
    if "?" in text:
        raise ValueError("must not have a query")
    return text


def is_plain_http(url: str) -> bool:
    """Return whether requests to a URL are sent over the network without encryption."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_loopback(parts)


IssuerURL = Annotated[str, StringConstraints(max_length=2048), AfterValidator(issuer_url)]
"""The URL of an issuer."""

EndpointURL = Annotated[str, StringConstraints(max_length=2048), AfterValidator(endpoint_url)]
"""A URL that tokens and credentials are sent to."""


# Addresses and workers


@dataclass(frozen=True, slots=True)
class _Address:
    """A text that is parsed into a `ListenAddress`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(max_length=300, strict=True)
        return core_schema.no_info_wrap_validator_function(
            lambda value, parse: value if isinstance(value, ListenAddress) else parse(value),
            core_schema.no_info_after_validator_function(ListenAddress.parse, text),
            serialization=core_schema.to_string_ser_schema(),
        )


Listen = Annotated[ListenAddress, _Address()]
"""An address to listen on."""


@dataclass(frozen=True, slots=True)
class _WorkerCount:
    """A number of processes, or `auto`."""

    at_most: int = 64

    def read(self, value: object) -> int | Literal["auto"]:
        """Return the number or `auto`, or raise ValueError with a sentence."""
        if value == "auto":
            return "auto"
        if type(value) is int and 1 <= value <= self.at_most:
            return value
        raise ValueError(f'must be "auto" or a whole number between 1 and {self.at_most}')

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": self.at_most}]}


Workers = Annotated[int | Literal["auto"], _WorkerCount()]
"""How many processes serve."""
