"""The part of the protobuf wire format that syntax trees need: numbered fields with a number or bytes.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class Message:
    """The fields of one message. If a field that is not repeated occurs more than once, the last value is used."""

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        """Parse a message from the CEL library. Raises ValueError or IndexError if it is invalid."""
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _read(data):
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def number(self, field: int) -> int:
        """Return a number, or 0 if the field is missing."""
        value = self._fields.get(field, [0])[-1]
        return value if isinstance(value, int) else 0

    def data(self, field: int) -> bytes:
        """Return the bytes of a field, or b"" if it is missing."""
        value = self._fields.get(field, [b""])[-1]
        return value if isinstance(value, bytes) else b""

    def text(self, field: int) -> str:
        """Return a string, or "" if the field is missing."""
        return self.data(field).decode()

    def message(self, field: int) -> Message:
        """Return an embedded message."""
        return Message(self.data(field))

    def messages(self, field: int) -> Iterator[Message]:
        """Yield the messages of a repeated field."""
        yield from (Message(value) for value in self._fields.get(field, ()) if isinstance(value, bytes))

    def numbers(self, field: int) -> Iterator[int]:
        """Yield the numbers of a repeated field, packed or not."""
        for value in self._fields.get(field, ()):
            if isinstance(value, int):
                yield value
                continue
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                yield number


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            number, position = _varint(data, position)
            yield key >> 3, number
            continue
        if kind == _LENGTH:
            width, position = _varint(data, position)
        else:
            width = _WIDTHS[kind]
        yield key >> 3, data[position : position + width]
        position += width


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def number(field: int, value: int) -> bytes:
    """Encode a field with a number; 0 is the default and is not encoded."""
    return varint(field << 3) + varint(value) if value else b""


def data(field: int, value: bytes | str) -> bytes:
    """Encode a field with bytes, a string or a message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _LENGTH) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    """Encode a number of any size, with seven bits per byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
