"""File locks: what /proc's lines say, and how many there are after one more call."""

from __future__ import annotations

import fcntl
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import locks
from workers.locks import END, READ, UNLOCK, WRITE, Span

SIZE = 12
spans = st.builds(
    lambda type, start, length: Span(type, start, start + length),
    st.sampled_from([READ, WRITE, UNLOCK]),
    st.integers(0, SIZE - 1),
    st.integers(1, SIZE),
)


def runs(bytes: list[int | None]) -> list[Span]:
    """What a file's bytes are locked with, as the fewest locks."""
    found: list[Span] = []
    for at, type in enumerate(bytes):
        if type is None:
            continue
        if found and found[-1].end == at and found[-1].type == type:
            found[-1] = found[-1]._replace(end=at + 1)
        else:
            found.append(Span(type, at, at + 1))
    return found


@given(st.lists(spans, max_size=12))
def test_locks_grow_as_locked_bytes_do(requests: list[Span]) -> None:
    bytes: list[int | None] = [None] * (2 * SIZE)
    for wanted in requests:
        before = runs(bytes)
        for at in range(wanted.start, wanted.end):
            bytes[at] = None if wanted.type == UNLOCK else wanted.type
        assert locks.grows(before, wanted) == max(0, len(runs(bytes)) - len(before))


@given(st.lists(spans, max_size=8))
def test_locks_grow_as_the_kernels_do(requests: list[Span]) -> None:
    with tempfile.TemporaryFile() as file:
        for wanted in requests:
            before = locks.spans(details(file.fileno()), b"OFDLCK")
            ask = struct.pack("=hh4xqqi4x", wanted.type, 0, wanted.start, length(wanted), 0)
            assert locks.request(ask) == wanted
            fcntl.fcntl(file, locks.F_OFD_SETLK, ask)
            after = locks.spans(details(file.fileno()), b"OFDLCK")
            assert locks.grows(before, wanted) == max(0, len(after) - len(before))


def length(span: Span) -> int:
    return 0 if span.end == END else span.end - span.start


def details(number: int) -> bytes:
    return Path(f"/proc/self/fdinfo/{number}").read_bytes()


@given(st.binary(max_size=64))
def test_any_struct_is_a_lock_or_none(data: bytes) -> None:
    try:
        wanted = locks.request(data)
    except ValueError:
        return
    assert wanted is None or 0 <= wanted.start < wanted.end <= END


@given(st.binary(max_size=200))
def test_any_text_has_lines(data: bytes) -> None:
    for line in locks.lines(data):
        assert line in data


def test_a_length_below_zero_ends_where_it_starts() -> None:
    ask = struct.pack("=hh4xqqi4x", WRITE, 0, 10, -4, 0)
    assert locks.request(ask) == Span(WRITE, 6, 10)


def test_whence_is_not_known() -> None:
    assert locks.request(struct.pack("=hh4xqqi4x", WRITE, 1, 10, 4, 0)) is None


LINES = b"""pos:\t0
flags:\t02100002
lock:\t1: FLOCK  ADVISORY  WRITE 19969 fe:00:2221572 0 EOF
lock:\t2: POSIX  ADVISORY  READ 19969 fe:00:2221572 100 104
lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:2221572 200 EOF
lock:\t4: LEASE  ACTIVE    READ 19969 fe:00:2221572 0 EOF
"""


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (b"FLOCK", Span(WRITE, 0, END)),
        (b"POSIX", Span(READ, 100, 105)),
        (b"OFDLCK", Span(WRITE, 200, END)),
    ],
)
def test_lines_of_a_descriptor(kind: bytes, found: Span) -> None:
    assert locks.spans(LINES, kind) == [found]
    assert len(locks.lines(LINES)) == 3
