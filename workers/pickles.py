"""Calls and their answers as bytes: quickly where a name is enough, whole where it is not.

What can be imported is pickled by reference, in C. Lambdas, closures and whatever is defined
in ``__main__``, which a worker cannot import, is pickled by value by multiprocess (dill).
An answer's classes of ``__main__`` are those of whoever asked, so that ``isinstance`` holds there.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

PROTOCOL = 5


class Packed(NamedTuple):
    """An object as bytes. ``whole``: by multiprocess, which has to read it, too."""

    data: bytes
    whole: bool


class _Foreign(Exception):
    """Something cannot be had by its name at the other side."""


class _Call(pickle.Pickler):
    """For a worker: it has another ``__main__``."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            raise _Foreign
        return NotImplemented


class _Answer(pickle.Pickler):
    """From a worker: what is of ``__main__`` here was sent by whoever asked."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            if "<" in obj.__qualname__:
                raise _Foreign
            return _main, (obj.__qualname__,)
        return NotImplemented


def _main(name: str) -> object:
    """What ``__main__`` calls so."""
    found: object = sys.modules["__main__"]
    for part in name.split("."):
        found = getattr(found, part)
    return found


def pack_call(call: object) -> Packed:
    """What a worker is to do. Raises whatever pickling it raises."""
    return _pack(call, _Call)


def pack_answer(answer: object) -> Packed:
    """What has become of it. Raises whatever pickling it raises."""
    return _pack(answer, _Answer)


def _pack(thing: object, pickler: type[pickle.Pickler]) -> Packed:
    buffer = io.BytesIO()
    try:
        pickler(buffer, PROTOCOL).dump(thing)
    except (_Foreign, pickle.PicklingError, AttributeError, TypeError):
        return Packed(by_value(thing), True)
    # Not getbuffer: where its view and the buffer end in one cycle, the buffer cannot be closed,
    # which Python tells since 3.13.
    return Packed(buffer.getvalue(), False)


def by_value(thing: object) -> bytes:
    """Pickled by multiprocess: functions with only those global variables that they use."""
    from multiprocess.reduction import ForkingPickler

    class Whole(ForkingPickler):  # type: ignore[misc]
        """Modules go by their names, wherever they are; dill would send what is in them."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, ModuleType) and obj.__name__ != "__main__":
                return importlib.import_module, (obj.__name__,)
            return NotImplemented

    try:
        return bytes(Whole.dumps(thing, PROTOCOL, recurse=True))
    except RecursionError:  # a closure that calls itself
        return bytes(Whole.dumps(thing, PROTOCOL, recurse=False))


def unpack(data: bytes | bytearray | memoryview, whole: bool) -> Any:
    """The object again. Raises whatever making it raises."""
    if whole:
        from multiprocess.reduction import ForkingPickler

        return ForkingPickler.loads(data)
    return pickle.loads(data)
