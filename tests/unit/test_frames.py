"""What executor and worker say to each other: frames in pieces, calls and answers as bytes."""

from __future__ import annotations

import pickle
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import frames, pickles


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=50))), st.data())
def test_frames_arrive_however_they_are_cut(
    said: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(
        frames.pack(frames.Head(len(body), len(words), frames.RETURNED, False, 0.5, 1.5))
        + words
        + body
        for body, words in said
    )
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        inbox, heard = frames.Inbox(there), []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            here.sendall(stream[:size])
            stream = stream[size:]
            while (frame := inbox.read()) is not None:
                heard.append((bytes(frame.data), frame.words))
        assert heard == [(body, words.decode(errors="replace")) for body, words in said]
        here.close()
        with pytest.raises(EOFError):
            inbox.read()


def test_half_a_frame_is_none() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(frames.pack(frames.Head(100, 0, frames.RETURNED, False)) + bytes(99))
        here.close()
        with pytest.raises(EOFError):
            frames.Inbox(there).read()


class Stubborn:
    def __reduce__(self) -> str:
        raise ZeroDivisionError


class TestPickles:
    def test_by_reference_where_that_will_do(self) -> None:
        packed = pickles.pack_call((pickle.dumps, (1,), {}))
        assert not packed.whole
        assert pickles.unpack(packed.data, packed.whole) == (pickle.dumps, (1,), {})

    def test_whole_where_it_will_not(self) -> None:
        number = 41
        packed = pickles.pack_call(lambda: number + 1)
        assert packed.whole
        assert pickles.unpack(packed.data, packed.whole)() == 42

    def test_modules_go_by_name(self) -> None:
        packed = pickles.pack_call(lambda: pickles)
        assert pickles.unpack(packed.data, packed.whole)() is pickles
        assert len(packed.data) < 2000

    def test_what_cannot_be_pickled_says_so(self) -> None:
        with pytest.raises(ZeroDivisionError):
            pickles.pack_call(Stubborn())
