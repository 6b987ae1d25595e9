"""The format of a journal: frames, one after another, and zeros where there is nothing yet.

A frame is ``length, crc32, payload``: two unsigned 32-bit numbers, little-endian, and so many
bytes. The sum is over the length as well, so that no flipped bit goes unseen. A length of 0 is
the end: the file is made longer, by zeros, before there is anything to write there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import msgpack

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
PAYLOAD_MAX: Final = 2**30
"""Bytes in one frame at most; what claims to be longer is damage."""


class Reading(NamedTuple):
    """What could be read: the frames up to byte ``end``, and what comes there.

    ``torn``: a last frame that was not written to its end. ``damaged``: anything else that is no
    frame, and there is more behind it.
    """

    frames: list[list[bytes]]
    end: int
    rest: Literal["nothing", "torn", "damaged"]


def frame(records: Iterable[bytes]) -> bytes:
    """The frame of these records."""
    payload: bytes = msgpack.packb(list(records), use_bin_type=True)
    return _HEAD.pack(len(payload), _sum(payload)) + payload


def read(data: bytes) -> Reading:
    """Every frame up to the first that is none; whatever the bytes are, nothing is raised."""
    frames: list[list[bytes]] = []
    written = len(data.rstrip(b"\0"))
    end = 0
    while end < written:
        found = _frame_at(data, end)
        if found is None:
            claimed = _claimed(data, end)
            torn = claimed is None or end + _HEAD.size + claimed >= written
            return Reading(frames, end, "torn" if torn else "damaged")
        records, end = found
        frames.append(records)
    return Reading(frames, end, "nothing")


def _frame_at(data: bytes, start: int) -> tuple[list[bytes], int] | None:
    """The records of the frame that starts there, and where it ends; None when there is none."""
    if start + _HEAD.size > len(data):
        return None
    length, crc = _HEAD.unpack_from(data, start)
    first = start + _HEAD.size
    payload = data[first : first + length]
    if not 0 < length <= PAYLOAD_MAX or len(payload) < length or _sum(payload) != crc:
        return None
    records = _unpack(payload)
    return None if records is None else (records, first + length)


def _claimed(data: bytes, start: int) -> int | None:
    """How long the frame there says that it is, None for nothing that could be one."""
    if start + _HEAD.size > len(data):
        return None
    length: int = _LENGTH.unpack_from(data, start)[0]
    return length


def _sum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))


def _unpack(payload: bytes) -> list[bytes] | None:
    try:
        unpacked: Any = msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except Exception:  # msgpack raises many kinds; with this sum it is no accident, but no frame
        return None
    if isinstance(unpacked, list) and all(type(record) is bytes for record in unpacked):
        return unpacked
    return None
