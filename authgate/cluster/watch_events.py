"""Strict reading of the pages of a list and the event lines of a watch, of metadata only (`meta.k8s.io/v1`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.failures import clean
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from authgate.model import JSONValue

LIST_ACCEPT: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
WATCH_ACCEPT: Final = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"

_MAX_TEXT: Final = 4096  # characters of a uid, a version or a continue token


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: `deletionTimestamp` (POSIX seconds, or None) by uid, and the token of the next page or ""."""

    objects: dict[str, float | None]
    version: str
    next_token: str


@dataclass(frozen=True, slots=True)
class Present:
    """An object exists; `deletion` is its `deletionTimestamp` in POSIX seconds, or None."""

    uid: str
    deletion: float | None
    version: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object was deleted."""

    uid: str
    version: str


@dataclass(frozen=True, slots=True)
class Bookmark:
    """There are no more events up to this version."""

    version: str


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server ends the watch with a status; 410 means that its version is too old to continue from."""

    code: int
    detail: str


Event = Present | Deleted | Bookmark | ServerError


def parse_page(body: bytes) -> Page:
    """Read a PartialObjectMetadataList; raises `ApiError` (bad_answer) for anything else."""
    answer = _object(body)
    if answer.get("kind") != "PartialObjectMetadataList":
        raise _bad("it is not a list of metadata")
    items = answer.get("items")
    if not isinstance(items, list | None):
        raise _bad("its items are not a list")
    metadata = _metadata(answer)
    objects = {}
    for item in items or ():
        item_metadata = _metadata(item)
        objects[_text(item_metadata, "uid")] = _deletion(item_metadata)
    return Page(objects, _text(metadata, "resourceVersion"), _text(metadata, "continue", required=False))


def parse_event(line: bytes) -> Event:
    """Read one line of a watch; raises `ApiError` (bad_answer) for anything but an event on metadata."""
    event = _object(line)
    subject = event.get("object")
    if not isinstance(subject, dict):
        raise _bad("an event has no object")
    kind = event.get("type")
    if kind == "ERROR":
        code, message = subject.get("code"), subject.get("message")
        return ServerError(
            code if isinstance(code, int) else 0, clean(message if isinstance(message, str) else "no message")
        )
    if subject.get("kind") != "PartialObjectMetadata":
        raise _bad("an event has more than metadata")
    metadata = _metadata(subject)
    version = _text(metadata, "resourceVersion")
    match kind:
        case "BOOKMARK":
            return Bookmark(version)
        case "ADDED" | "MODIFIED":
            return Present(_text(metadata, "uid"), _deletion(metadata), version)
        case "DELETED":
            return Deleted(_text(metadata, "uid"), version)
        case _:
            raise _bad("an event has an unknown type")


def _object(data: bytes) -> dict[str, JSONValue]:
    try:
        return parse_object(data)
    except StrictJSONError as error:
        raise _bad(str(error)) from None


def _metadata(item: JSONValue) -> dict[str, JSONValue]:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(metadata, dict):
        raise _bad("an object has no metadata")
    return metadata


def _text(metadata: dict[str, JSONValue], name: str, *, required: bool = True) -> str:
    value = metadata.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value) or len(value) > _MAX_TEXT:
        raise _bad(f"metadata.{name} is missing or not a short string")
    return value


def _deletion(metadata: dict[str, JSONValue]) -> float | None:
    text = metadata.get("deletionTimestamp")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        raise _bad("metadata.deletionTimestamp is not a time") from None
    if moment.tzinfo is None:
        raise _bad("metadata.deletionTimestamp has no time zone")
    return moment.timestamp()


def _bad(problem: str) -> ApiError:
    return ApiError(
        ApiErrorKind.BAD_ANSWER, f"the answer is not a usable list or watch of metadata: {problem}"
    )
