"""The kinds of value that the configuration's models are made of, each with its bound and its sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

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
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from authgate.config.models.durations import DURATION_PATTERN, format_duration, parse_duration
from authgate.config.models.urls import issuer_url, keys_url
from authgate.globs import MAX_GLOBS, MAX_STARS, parts_of
from authgate.json_pointer import JSONPointer
from authgate.listen_address import ListenAddress

_T = TypeVar("_T")
_ACRONYMS = {"url": "URL", "ttl": "TTL", "ca": "CA"}

LABEL = r"[a-zA-Z0-9._-]{1,63}"
"""What a name looks like that becomes a metrics label."""

MAX_FILE_BYTES = 1024 * 1024
"""The most that is read of the configuration file, or of any file that it names."""


def camel_case(name: str) -> str:
    """Return an attribute's name in the file: `client_ca_file` is `clientCAFile`."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


@dataclass(frozen=True, slots=True)
class Refused:
    """A field of the file format that this version does not have: why, and the value that asks for nothing."""

    sentence: str
    neutral: object = None

    def asks_for_nothing(self, value: object) -> bool:
        """Tell whether the field is written down but left at what it would be without it."""
        return (
            value is None
            or value in ((), [])
            or (type(value) is type(self.neutral) and value == self.neutral)
        )


class ConfigModel(BaseModel):
    """A mapping of the file: unknown fields are errors, types are strict, values can't be changed.

    `refused` are the fields that are known but not supported, `absent` says more about required ones that are missing;
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
    )
    refused: ClassVar[Mapping[str, Refused]] = {}
    absent: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_asks_for_nothing(cls, data: object) -> object:
        if not isinstance(data, dict) or not cls.refused:
            return data
        return {
            name: value
            for name, value in data.items()
            if name not in cls.refused or not cls.refused[name].asks_for_nothing(value)
        }


@dataclass(frozen=True, slots=True)
class Matching:
    """Text of one shape; the pattern goes into the JSON Schema, the sentence to the person who missed it."""

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


def as_tuple(value: object) -> object:
    """Make a list the tuple that frozen values hold, and leave anything else to be refused."""
    return tuple(value) if isinstance(value, list) else value


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
            "pattern": f"^(?:{DURATION_PATTERN})$",
            "minimum": self.at_least,
            "maximum": self.at_most,
        }


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """How many processes: a number, or `auto`."""

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


def _without_repetition(values: tuple[_T, ...]) -> tuple[_T, ...]:
    seen: set[_T] = set()
    for value in values:
        if value in seen:
            raise ValueError("names the same entry twice")
        seen.add(value)
    return values


_PRINTABLE = Matching(r"[^\x00-\x1f\x7f-\x9f]*", "must not hold control characters or line breaks")

Text = Annotated[str, StringConstraints(min_length=1, max_length=1024), _PRINTABLE]
"""A short text: one to 1024 characters, no control characters."""


def _claim(text: str) -> str:
    if text.startswith("/"):
        JSONPointer(text)
    return text


def check_glob(text: str) -> str:
    """Return a glob, or raise ValueError where it has too many stars."""
    if len(parts_of(text)) - 1 > MAX_STARS:
        raise ValueError(f"must not have more than {MAX_STARS} stars")
    return text


def _few_globs(globs: tuple[str, ...]) -> tuple[str, ...]:
    if sum(len(parts_of(glob)) > 1 for glob in globs) > MAX_GLOBS:
        raise ValueError(f"must not have more than {MAX_GLOBS} entries with a star")
    return globs


def _exact(text: str) -> str:
    if "*" in text:
        raise ValueError("must be written in full: * is no pattern here")
    return text


glob = AfterValidator(check_glob)
"""Refuses a text with so many stars that nobody means it."""

few_globs = AfterValidator(_few_globs)
"""Refuses a list with so many globs that one token's groups could take long."""

exact = AfterValidator(_exact)
"""Refuses a text with a star, which would be taken for a pattern where there is none."""

Prefix = Annotated[str, StringConstraints(max_length=256), _PRINTABLE]
"""A text that may be empty."""

ClaimName = Annotated[Text, AfterValidator(_claim)]
"""A claim: its name, or a JSON pointer to a nested one."""

FilePath = Annotated[str, StringConstraints(min_length=1, max_length=4096), _PRINTABLE]
"""The path of a file; a relative one counts from the working directory."""

Block = Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILE_BYTES)]
"""A text of several lines, such as PEM."""

Label = Annotated[
    str,
    Matching(LABEL, "must be 1 to 63 letters, digits, dots, underscores or dashes"),
]
"""A name that becomes a metrics label."""

DNSLabel = Annotated[
    str,
    Matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "must be a DNS label: at most 63 lower-case letters, digits or dashes, no dash at either end",
    ),
]
"""A name that becomes a part of a URL's path."""

IssuerURL = Annotated[str, StringConstraints(max_length=2048), AfterValidator(issuer_url)]
"""An issuer's or discovery document's URL."""

KeysURL = Annotated[str, StringConstraints(max_length=2048), AfterValidator(keys_url)]
"""A JWKS URL."""


@dataclass(frozen=True, slots=True)
class Address:
    """A text that is parsed into a `ListenAddress`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            ListenAddress.parse,
            core_schema.str_schema(max_length=300, strict=True),
            serialization=core_schema.to_string_ser_schema(),
        )


Listen = Annotated[ListenAddress, Address()]
"""An address to listen on."""

Workers = Annotated[int | Literal["auto"], WorkerCount()]
"""How many processes serve."""

Many = Annotated[tuple[_T, ...], Field(max_length=64), BeforeValidator(as_tuple)]
"""A list of at most 64 entries."""

Some = Annotated[tuple[_T, ...], Field(min_length=1, max_length=64), BeforeValidator(as_tuple)]
"""A list that, where it is given, has one to 64 entries."""

ONE, SEVERAL = "(one)", "(several)"
"""What pydantic puts into the places of errors for the two forms of `OneOrSeveral`; no field has such a name."""


def _form(value: object) -> str:
    return SEVERAL if isinstance(value, list | tuple) else ONE


OneOrSeveral = Annotated[
    Annotated[_T, Tag(ONE)]
    | Annotated[tuple[_T, ...], Field(min_length=1, max_length=16), BeforeValidator(as_tuple), Tag(SEVERAL)],
    Discriminator(_form),
]
"""A mapping, or a list of one to 16 such mappings."""

different = AfterValidator(_without_repetition)
"""Refuses a list of texts that names one twice."""

ManyTexts = Annotated[Many[Text], different]
"""A list of different texts."""

SomeTexts = Annotated[Some[Text], different]
"""A list of different texts that, where it is given, is not empty."""

SomeExactTexts = Annotated[Some[Annotated[Text, exact]], different]
"""A list of different texts without stars that, where it is given, is not empty."""
