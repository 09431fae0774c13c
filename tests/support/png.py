"""Read the PNG files that browsers write: 8 bits per channel, RGB or RGBA, not interlaced."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's size and its pixels, row by row, each as red, green and blue."""

    width: int
    height: int
    pixels: list[tuple[int, int, int]]


def read_png(data: bytes) -> Picture:
    """Return the picture in a file (PNG specification, third edition). Other kinds are an AssertionError."""
    assert data.startswith(_SIGNATURE), "no PNG"
    chunks = list(_chunks(data))
    header = dict(chunks)[b"IHDR"]
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    assert (depth, interlaced) == (8, 0)
    channels = _CHANNELS[kind]
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    stride = width * channels
    above = bytearray(stride)
    pixels: list[tuple[int, int, int]] = []
    for start in range(0, len(raw), stride + 1):
        above = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, channels)
        pixels += [(above[at], above[at + 1], above[at + 2]) for at in range(0, stride, channels)]
    assert len(pixels) == width * height
    return Picture(width, height, pixels)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += size + 12


def _unfiltered(kind: int, row: bytearray, above: bytearray, channels: int) -> bytearray:
    """Return a row of bytes without its filter (section 9.2)."""
    guess = _GUESSES.get(kind)
    if guess is not None:
        for at in range(len(row)):
            left, corner = (row[at - channels], above[at - channels]) if at >= channels else (0, 0)
            row[at] = (row[at] + guess(left, above[at], corner)) & 0xFF
    return row


def _paeth(left: int, above: int, corner: int) -> int:
    to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


_GUESSES: Final = {
    1: lambda left, _above, _corner: left,
    2: lambda _left, above, _corner: above,
    3: lambda left, above, _corner: (left + above) // 2,
    4: _paeth,
}
"""The prediction of each filter type. Type 0 has none."""
