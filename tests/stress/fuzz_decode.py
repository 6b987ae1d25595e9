"""Mutates frames by the million: each gives a message of its catalogue or a `ProtocolError`.

Inputs with a new outcome join the corpus, so that later ones start from deeper in.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

from governor.errors import ProtocolError
from governor.wire.codec import encode
from tests.unit.test_wire_golden import golden
from tests.unit.wire_samples import catalogues

CORPUS_MAX = 5_000
_INTERESTING = (
    b"\x00\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc6\xc7\xc9\xcb\xcf\xd3\xdb\xdf\xff"
)
_DETAIL = re.compile(r"[0-9]+|'.*'|\".*\"", re.DOTALL)

Mutation = Callable[[random.Random, bytearray, bytes], None]


def _flip(chance: random.Random, frame: bytearray, _: bytes) -> None:
    if frame:
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)


def _poke(chance: random.Random, frame: bytearray, _: bytes) -> None:
    if frame:
        frame[chance.randrange(len(frame))] = chance.choice(_INTERESTING)


def _cut(chance: random.Random, frame: bytearray, _: bytes) -> None:
    start = chance.randrange(len(frame) + 1)
    del frame[start : start + chance.randrange(1, 9)]


def _insert(chance: random.Random, frame: bytearray, _: bytes) -> None:
    start = chance.randrange(len(frame) + 1)
    frame[start:start] = chance.randbytes(chance.randrange(1, 9))


def _repeat(chance: random.Random, frame: bytearray, _: bytes) -> None:
    start = chance.randrange(len(frame) + 1)
    frame[start:start] = frame[start : start + chance.randrange(1, 33)]


def _splice(chance: random.Random, frame: bytearray, other: bytes) -> None:
    frame[chance.randrange(len(frame) + 1) :] = other[chance.randrange(len(other) + 1) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _poke, _cut, _insert, _repeat, _splice)


class Fuzzer:
    """Feeds every catalogue. ``taken`` counts inputs that were messages."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._catalogues = catalogues()
        self._names = sorted(self._catalogues)
        self._seeds = [(name, frame) for name, _, frame in golden()]
        self.corpus = list(self._seeds)
        self.outcomes: set[tuple[str, str]] = set()
        self.inputs = self.taken = 0

    def step(self) -> None:
        """One input. Raises whatever is neither a message nor a ProtocolError."""
        chance = self._chance
        name, seed = chance.choice(self.corpus if chance.randrange(2) else self._seeds)
        frame = bytearray(seed)
        for _ in range(chance.randrange(1, 5)):
            chance.choice(MUTATIONS)(chance, frame, chance.choice(self.corpus)[1])
        if not chance.randrange(50):
            name = chance.choice(self._names)
        self._learn(name, bytes(frame[:4096]))

    def _learn(self, name: str, frame: bytes) -> None:
        outcome = name, self._feed(name, frame)
        self.inputs += 1
        if outcome not in self.outcomes and len(self.corpus) < CORPUS_MAX:
            self.outcomes.add(outcome)
            self.corpus.append((name, frame))

    def _feed(self, name: str, frame: bytes) -> str:
        try:
            message = self._catalogues[name].decode(frame)
        except ProtocolError as error:
            return _DETAIL.sub("", str(error))[:80]
        self.taken += 1
        again = self._catalogues[name].decode(encode(message))
        assert repr(again) == repr(message), frame
        return type(message).__name__


def run(inputs: int, seconds: float, seed: int) -> str:
    """So many inputs, or as many as fit into so many seconds; what happened, in a line."""
    fuzzer = Fuzzer(seed)
    began = time.monotonic()
    while fuzzer.inputs < inputs and time.monotonic() - began < seconds:
        fuzzer.step()
    took = time.monotonic() - began
    return (
        f"decode: {fuzzer.inputs} inputs, {fuzzer.taken} of them messages, "
        f"{len(fuzzer.outcomes)} different outcomes, {took:.0f} s, seed {seed}, no failure"
    )


if __name__ == "__main__":
    import sys

    print(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
