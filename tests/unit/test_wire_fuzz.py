"""Whatever arrives gives a message of the catalogue or a ProtocolError, and nothing else."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import ProtocolError
from governor.wire.codec import VERSION, Message, encode
from tests.unit.test_wire_golden import golden
from tests.unit.wire_samples import ALL, SAMPLES, catalogues

CATALOGUES = catalogues()
CLASSES = {name: {type(m) for m in messages} for name, messages in SAMPLES.items()}

names = st.sampled_from(sorted(CATALOGUES))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=16)),
    st.builds(msgpack.Timestamp, st.integers(0, 2**34 - 1), st.integers(0, 10**9 - 1)),
)
keys = st.one_of(st.text(max_size=8), st.integers(-5, 5), st.binary(max_size=4))
things = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
golden_frames = st.sampled_from([(name, bytes_) for name, _, bytes_ in golden()])


def take_in(name: str, frame: bytes) -> Message | None:
    """Decode; the message is whole, or it is refused with a `ProtocolError` and nothing else."""
    try:
        message = CATALOGUES[name].decode(frame)
    except ProtocolError:
        return None
    assert type(message) in CLASSES[name]
    assert len(message) == len(message._fields)
    return message


@given(names, st.binary(max_size=200))
def test_random_bytes(name: str, frame: bytes) -> None:
    take_in(name, frame)


@given(names, things)
def test_random_structures(name: str, thing: Any) -> None:
    take_in(name, msgpack.packb(thing))


@given(names, things, things, things)
def test_random_frames(name: str, version: Any, kind: Any, fields: Any) -> None:
    take_in(name, msgpack.packb([version, kind, fields]))


@given(st.sampled_from(ALL), st.data())
def test_messages_with_random_fields(sample: tuple[str, Message], data: st.DataObject) -> None:
    name, message = sample
    changed = data.draw(st.sets(st.sampled_from(message._fields))) if message._fields else set()
    fields = {**message._asdict(), **{field: data.draw(things) for field in sorted(changed)}}
    taken = take_in(name, msgpack.packb([VERSION, type(message).__name__, fields]))
    if taken is not None:
        assert type(taken) is type(message)
        assert {f: repr(v) for f, v in taken._asdict().items() if f not in changed} == {
            f: repr(v) for f, v in message._asdict().items() if f not in changed
        }


@given(golden_frames, st.data())
def test_golden_frames_with_bytes_changed(
    golden_frame: tuple[str, bytes], data: st.DataObject
) -> None:
    name, frame = golden_frame
    mutated = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    take_in(name, bytes(mutated))


@given(golden_frames, st.data())
def test_golden_frames_with_pieces_cut_out_and_put_in(
    golden_frame: tuple[str, bytes], data: st.DataObject
) -> None:
    name, frame = golden_frame
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(frame))] * 2)))
    take_in(name, frame[:start] + data.draw(st.binary(max_size=8)) + frame[end:])


@given(st.sampled_from(ALL), st.data())
def test_what_is_taken_in_goes_out_the_same(
    sample: tuple[str, Message], data: st.DataObject
) -> None:
    name, message = sample
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    taken = take_in(name, bytes(frame))
    if taken is not None:
        again = take_in(name, encode(taken))
        assert repr(again) == repr(taken)
