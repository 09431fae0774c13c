"""What a list and a watch of metadata say: a strict reading of pages and of event lines (`meta.k8s.io/v1`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.wording import clean
from authgate.strict_json import StrictJSONError, parse_object

if TYPE_CHECKING:
    from authgate.model import JSONValue

LIST_ACCEPT: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
WATCH_ACCEPT: Final = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"

_MAX_TEXT: Final = 4096  # characters of a uid, a version, a continue token


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: deletion times (POSIX seconds, None for none) by uid, and how to go on."""

    objects: dict[str, float | None]
    version: str
    proceed: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An object is there; `deletion` is its `deletionTimestamp` in POSIX seconds, None where it has none."""

    uid: str
    deletion: float | None
    version: str


@dataclass(frozen=True, slots=True)
class Gone:
    """An object was deleted."""

    uid: str
    version: str


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing happened up to this version."""

    version: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The server ends the watch with a status; 410 tells that its version is too old to go on from."""

    code: int
    detail: str


Event = Seen | Gone | Bookmark | Ended


def parse_page(body: bytes) -> Page:
    """Read a PartialObjectMetadataList; raises `ApiError` (bad_answer) for anything else."""
    answer = _object(body)
    if answer.get("kind") != "PartialObjectMetadataList":
        raise _bad("it is no list of metadata")
    items = answer.get("items")
    if not isinstance(items, list | None):
        raise _bad("its items are no list")
    metadata = _metadata(answer)
    objects = {}
    for item in items or ():
        own = _metadata(item)
        objects[_text(own, "uid")] = _deletion(own)
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
        return Ended(
            code if isinstance(code, int) else 0, clean(message if isinstance(message, str) else "no message")
        )
    if subject.get("kind") != "PartialObjectMetadata":
        raise _bad("an event is about more than metadata")
    metadata = _metadata(subject)
    version = _text(metadata, "resourceVersion")
    match kind:
        case "BOOKMARK":
            return Bookmark(version)
        case "ADDED" | "MODIFIED":
            return Seen(_text(metadata, "uid"), _deletion(metadata), version)
        case "DELETED":
            return Gone(_text(metadata, "uid"), version)
        case _:
            raise _bad("an event is of no known type")


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
        raise _bad(f"metadata.{name} is missing or no short text")
    return value


def _deletion(metadata: dict[str, JSONValue]) -> float | None:
    text = metadata.get("deletionTimestamp")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        raise _bad("metadata.deletionTimestamp is no time") from None
    if moment.tzinfo is None:
        raise _bad("metadata.deletionTimestamp has no zone")
    return moment.timestamp()


def _bad(problem: str) -> ApiError:
    return ApiError(ApiErrorKind.BAD_ANSWER, f"the answer is no usable list or watch of metadata: {problem}")
