"""HTTP/2 frames as bytes, so that a test can send a request that no library would."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from tests.support.wire import PATIENCE, Wire, connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    Field = tuple[str, str]

NO_ANSWER: Final = 0
"""What `ask_http2` returns when the server resets the stream or closes the connection instead of answering."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RESET, _SETTINGS, _GOAWAY = 1, 3, 4, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_INDEXED_STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
# RFC 7541, appendix B: the Huffman codes of the digits.
_DIGITS = {"00000": "0", "00001": "1", "00010": "2"} | {
    format(0b011001 + number, "06b"): str(number + 3) for number in range(7)
}


async def ask_http2(address: str, fields: Sequence[Field]) -> int:
    """Send one request without a body over TLS, and return the status of its answer or `NO_ANSWER`."""
    tls = ssl._create_unverified_context()
    tls.set_alpn_protocols(["h2"])
    async with connected(address, tls) as wire:
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)
        await wire.send_raw(
            _PREFACE + _frame(_SETTINGS) + _frame(_HEADERS, block, flags=_END_STREAM | _END_HEADERS, stream=1)
        )
        try:
            async with asyncio.timeout(PATIENCE):
                return await _status(wire)
        except (asyncio.IncompleteReadError, ConnectionError):
            return NO_ANSWER


async def _status(wire: Wire) -> int:
    while True:
        head = await wire.reader.readexactly(9)
        payload = await wire.reader.readexactly(int.from_bytes(head[:3]))
        kind, flags = head[3], head[4]
        if kind == _HEADERS:
            skipped = (1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0)
            return _status_of(payload[skipped:])
        if kind in (_RESET, _GOAWAY):
            return NO_ANSWER
        if kind == _SETTINGS and not flags & _ACK:
            await wire.send_raw(_frame(_SETTINGS, flags=_ACK))


def _status_of(block: bytes) -> int:
    """Read `:status`, which comes first (RFC 9113, section 8.3)."""
    while block[0] & 0xE0 == 0x20:  # a change of the dynamic table's size
        block = block[1:]
    if block[0] in _INDEXED_STATUS:
        return _INDEXED_STATUS[block[0]]
    assert block[0] in (0x08, 0x18, 0x48) or 0x48 <= block[0] <= 0x4E, block
    size, text = block[1] & 0x7F, block[2:]
    if not block[1] & 0x80:
        return int(text[:size])
    bits, digits = "".join(format(byte, "08b") for byte in text[:size]), ""
    while len(digits) < 3:
        length = 5 if bits[:5] in _DIGITS else 6
        digits, bits = digits + _DIGITS[bits[:length]], bits[length:]
    return int(digits)


def _frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _text(text: str) -> bytes:
    """Encode a string literal (RFC 7541, section 5.2), without Huffman codes."""
    data, size = text.encode(), len(text.encode())
    if size < 127:
        return bytes((size,)) + data
    rest, length = size - 127, b"\x7f"
    while rest >= 128:
        length += bytes((rest % 128 + 128,))
        rest //= 128
    return length + bytes((rest,)) + data
