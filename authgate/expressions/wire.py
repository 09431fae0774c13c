"""The protobuf wire format, as far as a syntax tree needs it: numbered fields that hold a number or bytes.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class Message:
    """The fields of one message; of a number or a text that stands twice the last one counts."""

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        """Read what the CEL library wrote; raises ValueError or IndexError where it is no message."""
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _read(data):
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def number(self, field: int) -> int:
        """Return a number, or 0 where the field is not there."""
        value = self._fields.get(field, [0])[-1]
        return value if isinstance(value, int) else 0

    def data(self, field: int) -> bytes:
        """Return the bytes of a field, or none where it is not there."""
        value = self._fields.get(field, [b""])[-1]
        return value if isinstance(value, bytes) else b""

    def text(self, field: int) -> str:
        """Return a text, or "" where the field is not there."""
        return self.data(field).decode()

    def message(self, field: int) -> Message:
        """Return a message within this one."""
        return Message(self.data(field))

    def messages(self, field: int) -> Iterator[Message]:
        """Yield every message of a repeated field."""
        yield from (Message(value) for value in self._fields.get(field, ()) if isinstance(value, bytes))

    def numbers(self, field: int) -> Iterator[int]:
        """Yield every number of a repeated field, be it packed or not."""
        for value in self._fields.get(field, ()):
            if isinstance(value, int):
                yield value
                continue
            place = 0
            while place < len(value):
                number, place = _varint(value, place)
                yield number


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if kind == _LENGTH:
            width, place = _varint(data, place)
        else:
            width = _WIDTHS[kind]
        yield key >> 3, data[place : place + width]
        place += width


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def number(field: int, value: int) -> bytes:
    """Write a field that holds a number; nothing for 0, which is what an absent field means."""
    return varint(field << 3) + varint(value) if value else b""


def data(field: int, value: bytes | str) -> bytes:
    """Write a field that holds bytes, a text or a message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _LENGTH) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    """Write a number of any size, seven bits a byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
