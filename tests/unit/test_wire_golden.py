"""The bytes of every message, kept for ever, and what is done with those that differ.

A change that makes a test with golden bytes fail breaks peers that are already running. Frames
are added to ``golden/v1.txt``, never changed: a new shape is a new kind or a new version.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, get_type_hints

import msgpack
import pytest

from governor.errors import GovernorError, ProtocolError
from governor.wire import client
from governor.wire.codec import SIZE_MAX, VERSION, Catalogue, Message, encode
from governor.wire.named import Named
from tests.unit.wire_samples import ALL, SAMPLES, catalogues

GOLDEN = Path(__file__).parent / "golden" / "v1.txt"


def golden() -> list[tuple[str, str, bytes]]:
    """Catalogue, kind and frame of every line."""
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if line[:1] != "#"]
    return [(catalogue, kind, bytes.fromhex(frame)) for catalogue, kind, frame in lines]


def label(value: object) -> str | None:
    return value if isinstance(value, str) else None


def frame(kind: object, fields: object, version: object = VERSION) -> bytes:
    packed: bytes = msgpack.packb([version, kind, fields], use_bin_type=True)
    return packed


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


ids = [f"{name}-{type(message).__name__}" for name, message in ALL]
every_message = pytest.mark.parametrize(("name", "message"), ALL, ids=ids)


# -- golden bytes -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind", "bytes_"), golden(), ids=label)
def test_a_golden_frame_is_the_message_it_always_was(name: str, kind: str, bytes_: bytes) -> None:
    sample = next(m for m in SAMPLES[name] if type(m).__name__ == kind)
    decoded = catalogues()[name].decode(bytes_)
    assert type(decoded) is type(sample)
    assert decoded == sample


@every_message
def test_a_message_has_its_golden_bytes(name: str, message: Message) -> None:
    frames = [bytes_ for n, kind, bytes_ in golden() if (n, kind) == (name, type(message).__name__)]
    assert encode(message) in frames


def test_every_kind_of_every_catalogue_has_a_sample() -> None:
    kinds = {name: set(catalogue._kinds) for name, catalogue in catalogues().items()}
    assert kinds == {name: {type(m).__name__ for m in ms} for name, ms in SAMPLES.items()}


def test_every_verb_is_in_the_catalogue_and_has_a_request() -> None:
    assert set(catalogues()["client.TO_SUPERVISOR"]._kinds) == {v.__name__ for v in client.VERBS}
    assert {next(iter(get_type_hints(verb))) for verb in client.VERBS} == {"request"}


# -- messages -----------------------------------------------------------------------------


@every_message
def test_a_message_is_frozen(name: str, message: Message) -> None:
    assert issubclass(type(message), tuple)
    assert type(message).__doc__
    for field in message._fields:
        with pytest.raises(AttributeError):
            setattr(message, field, None)
    with pytest.raises(AttributeError):
        message.something_else = 1


@every_message
def test_a_message_survives_the_journey(name: str, message: Message) -> None:
    decoded = catalogues()[name].decode(encode(message))
    assert (type(decoded), decoded) == (type(message), message)


# -- frames that differ -------------------------------------------------------------------


def refused(catalogue: Catalogue, bytes_: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        catalogue.decode(bytes_)
    return str(caught.value)


@every_message
def test_unknown_fields_are_ignored(name: str, message: Message) -> None:
    fields = {"aaa": 1, **message._asdict(), "zzz": {"any": [None]}, 7: b"x"}
    assert catalogues()[name].decode(frame(type(message).__name__, fields)) == message


@every_message
def test_the_order_of_fields_does_not_matter(name: str, message: Message) -> None:
    fields = dict(reversed(list(message._asdict().items())))
    assert catalogues()[name].decode(frame(type(message).__name__, fields)) == message


@every_message
def test_each_field_must_be_there(name: str, message: Message) -> None:
    kind = type(message).__name__
    for field in message._fields:
        fields = message._asdict()
        del fields[field]
        assert f"{kind} lacks {field}" in refused(catalogues()[name], frame(kind, fields))


@every_message
def test_each_field_must_have_its_shape(name: str, message: Message) -> None:
    kind = type(message).__name__
    hints = type(message).__annotations__
    for field in message._fields:
        if "Any" in str(hints[field]):
            continue
        # A boolean is no number, and no field takes a list of lists of lists.
        mistaken = 1 if "bool" in str(hints[field]) else True
        for wrong in (mistaken, [[[1]]], {1: 1}):
            fields = {**message._asdict(), field: wrong}
            reason = refused(catalogues()[name], frame(kind, fields))
            assert f"{kind}.{field} is not " in reason


@every_message
def test_another_version_is_refused(name: str, message: Message) -> None:
    kind, fields = type(message).__name__, message._asdict()
    for version in (0, VERSION + 1, -1, 2**63):
        assert "version" in refused(catalogues()[name], frame(kind, fields, version))
    for odd in (True, "1", 1.0, None, b"1", [1]):
        refused(catalogues()[name], frame(kind, fields, odd))


@every_message
def test_a_kind_of_another_catalogue_is_refused(name: str, message: Message) -> None:
    for other, catalogue in catalogues().items():
        if other != name:
            assert "unknown kind" in refused(catalogue, encode(message))


@pytest.mark.parametrize("kind", ["", "mount", "Mount ", "Message", "__class__", "Mount\0"])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    fields = SAMPLES["client.TO_SUPERVISOR"][0]._asdict()
    assert "unknown kind" in refused(catalogues()["client.TO_SUPERVISOR"], frame(kind, fields))


WRONG = {
    "nothing": b"",
    "no array": pack({"version": 1}),
    "a number": pack(1),
    "an empty array": pack([]),
    "too short": pack([VERSION, "Snapshot"]),
    "too long": pack([VERSION, "Snapshot", {"request": 1}, None]),
    "fields in a list": frame("Snapshot", [1]),
    "kind in bytes": frame(b"Snapshot", {"request": 1}),
    "no fields": frame("Snapshot", None),
    "a frame and a half": frame("Snapshot", {"request": 1}) + b"\x01",
    "two frames": frame("Snapshot", {"request": 1}) * 2,
    "the reserved byte": b"\xc1",
    "text that is not UTF-8": b"\x93\x01\xa2\xff\xfe\x80",
    "a field in bytes": frame("Snapshot", {b"request": 1}),
    "a key that cannot be hashed": b"\x93\x01\xa8Snapshot\x81\x91\x01\x01",
    "a timestamp": frame("Snapshot", {"request": msgpack.Timestamp(1, 1)}),
    "a date out of range": b"\x93\x01\xa8Snapshot\x81\xa7request\xc7\x0c\xff" + b"\xff" * 12,
    "an extension": frame("Snapshot", {"request": msgpack.ExtType(5, b"x")}),
    "an extension for a frame": pack(msgpack.ExtType(5, b"x")),
    "not a number": frame("Snapshot", {"request": float("nan")}),
    "an array that claims to be huge": b"\xdd\xff\xff\xff\xff",
    "a map that claims to be huge": b"\x93\x01\xa8Snapshot\xdf\xff\xff\xff\xff",
    "text that claims to be huge": b"\x93\x01\xdb\xff\xff\xff\xff",
    "deeper than any stack": b"\x91" * 100_000 + b"\x90",
    "deep maps": b"\x93\x01\xa8Snapshot" + b"\x81\xa1x" * 5_000 + b"\x01",
}


@pytest.mark.parametrize("bytes_", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", catalogues())
def test_what_is_no_message_is_refused(name: str, bytes_: bytes) -> None:
    assert refused(catalogues()[name], bytes_)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_frame_cut_short_is_refused(cut: int) -> None:
    whole = encode(SAMPLES["client.TO_SUPERVISOR"][0])
    refused(catalogues()["client.TO_SUPERVISOR"], whole[:-cut])


def test_a_frame_that_is_too_long_is_not_looked_at() -> None:
    catalogue = catalogues()["client.TO_SUPERVISOR"]
    assert "longer than" in refused(catalogue, bytes(SIZE_MAX + 1))


def test_of_a_field_given_twice_one_counts() -> None:
    twice = b"\x93\x01\xa8Snapshot\x82\xa7request\x01\xa7request\x02"
    assert catalogues()["client.TO_SUPERVISOR"].decode(twice) in (
        client.Snapshot(1),
        client.Snapshot(2),
    )


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -0.0, 1e308])
def test_odd_floats_are_floats(seconds: float) -> None:
    """What a number means is for its receiver to judge; the wire carries it unchanged."""
    decoded = catalogues()["client.TO_SUPERVISOR"].decode(encode(client.Shutdown(1, seconds)))
    assert decoded.grace == seconds or decoded.grace != decoded.grace


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 0, "", "max", "ü" * 1000])
def test_values_at_the_edges_survive(value: Any) -> None:
    message = client.Write(1, "load", "/a", "numtasks.limit", value)
    assert catalogues()["client.TO_SUPERVISOR"].decode(encode(message)) == message


@pytest.mark.parametrize(
    ("value", "reason"),
    [("a\udcff", "is not UTF-8 text"), (2**64, "cannot be sent"), ({1}, "cannot be sent")],
)
def test_what_cannot_be_put_into_bytes_is_einval(value: Any, reason: str) -> None:
    with pytest.raises(GovernorError, match=reason) as caught:
        encode(client.Write(1, "load", "/a", "numtasks.limit", value))
    assert caught.value.errno == errno.EINVAL


def test_a_shape_that_nobody_checks_cannot_be_declared() -> None:
    class Odd(Named):
        field: set[int]

    with pytest.raises(KeyError, match="set"):
        Catalogue([Odd])
