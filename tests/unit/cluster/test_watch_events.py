"""Which pages and events are read from a list and a watch of metadata, and which are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authgate.cluster.api import ApiError, ApiErrorKind
from authgate.cluster.watch_events import (
    Bookmark,
    Deleted,
    Page,
    Present,
    ServerError,
    parse_event,
    parse_page,
)

_KIND = "PartialObjectMetadata"
_OWN = {"uid": "u", "resourceVersion": "7", "name": "web-0"}


def event(kind: str, **metadata: Any) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": kind, "object": {"kind": _KIND, "metadata": {**_OWN, **metadata}}}).encode()


def page(**changes: Any) -> bytes:
    """A page of a list."""
    usual = {"kind": f"{_KIND}List", "metadata": {"resourceVersion": "9"}, "items": [{"metadata": _OWN}]}
    return json.dumps({**usual, **changes}).encode()


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        pytest.param(event("ADDED"), Present("u", None, "7"), id="added"),
        pytest.param(
            event("MODIFIED", deletionTimestamp="1970-01-01T00:01:00Z"),
            Present("u", 60.0, "7"),
            id="terminating",
        ),
        pytest.param(event("DELETED"), Deleted("u", "7"), id="deleted"),
        pytest.param(event("BOOKMARK", uid=None), Bookmark("7"), id="bookmark"),
        pytest.param(
            b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}',
            ServerError(410, "too old"),
            id="expired",
        ),
        pytest.param(
            b'{"type": "ERROR", "object": {}}', ServerError(0, "no message"), id="error-without-words"
        ),
    ],
)
def test_an_event_is_read(line: bytes, meaning: object) -> None:
    """Only an object's uid, its version and the time of its deletion are kept."""
    assert parse_event(line) == meaning


def test_a_page_is_read() -> None:
    """A page has its objects, the version of the list, and the token of the next page."""
    metadata = {"resourceVersion": "9", "continue": "more"}
    assert parse_page(page(metadata=metadata)) == Page({"u": None}, "9", "more")
    assert parse_page(page(items=None)) == Page({}, "9", "")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no-object"),
        pytest.param(event("ADDED", uid=""), id="no-uid"),
        pytest.param(event("ADDED", uid=7), id="uid-is-a-number"),
        pytest.param(event("ADDED", uid="u" * 5000), id="long-uid"),
        pytest.param(event("ADDED", resourceVersion=None), id="no-version"),
        pytest.param(event("ADDED", deletionTimestamp="soon"), id="no-time"),
        pytest.param(event("ADDED", deletionTimestamp="2026-01-01T00:00:00"), id="no-zone"),
        pytest.param(event("ADDED", deletionTimestamp=5), id="time-is-a-number"),
        pytest.param(event("ADDED").replace(_KIND.encode(), b"Pod"), id="whole-pod"),
        pytest.param(event("SUNK"), id="no-known-type"),
        pytest.param(b'{"type": "ADDED", "type": "DELETED", "object": {}}', id="member-twice"),
    ],
)
def test_anything_but_an_event_is_refused(line: bytes) -> None:
    """An unreadable event is an error: it may be a deletion."""
    with pytest.raises(ApiError) as caught:
        parse_event(line)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(page(kind="PodList"), id="whole-pods"),
        pytest.param(page(items={}), id="items-are-an-object"),
        pytest.param(page(items=[1]), id="an-item-is-a-number"),
        pytest.param(page(metadata={}), id="no-version"),
        pytest.param(b"[]", id="no-object"),
    ],
)
def test_anything_but_a_page_is_refused(body: bytes) -> None:
    """A list with one unreadable object is refused as a whole: the missing object would count as deleted."""
    with pytest.raises(ApiError) as caught:
        parse_page(body)
    assert caught.value.kind is ApiErrorKind.BAD_ANSWER
