"""Pictures that a browser took: just enough of PNG to look at their colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

Pixel = tuple[int, int, int]


def rows(file: Path) -> list[list[Pixel]]:
    """The pixels of a PNG of 8-bit RGB or RGBA, row by row (RFC 2083)."""
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, width, channels = 8, b"", 0, 0
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[colour]
            assert depth == 8
        elif kind == b"IDAT":
            packed += body
        place += length + 12
    return _unfiltered(zlib.decompress(packed), width, channels)


def _unfiltered(data: bytes, width: int, channels: int) -> list[list[Pixel]]:
    size = width * channels
    before = bytearray(size)
    found = []
    for start in range(0, len(data), size + 1):
        line = bytearray(data[start + 1 : start + 1 + size])
        _unfilter(data[start], line, before, channels)
        found.append([tuple(line[n : n + 3]) for n in range(0, size, channels)])
        before = line
    return found  # type: ignore[return-value]


def _unfilter(kind: int, line: bytearray, above: bytearray, channels: int) -> None:
    for n in range(len(line)):
        left = line[n - channels] if n >= channels else 0
        corner = above[n - channels] if n >= channels else 0
        guess = (0, left, above[n], (left + above[n]) // 2, _paeth(left, above[n], corner))[kind]
        line[n] = (line[n] + guess) & 0xFF


def _paeth(left: int, above: int, corner: int) -> int:
    start = left + above - corner
    return min((left, above, corner), key=lambda one: abs(start - one))
