"""The text formats: prometheus_client writes what is small, kept columns are put after it.

prometheus_client takes 5 us a line, every time; a column that has not changed takes nothing, and
one that has a twentieth of that. The bytes are the same.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from governor.metrics import own
from governor.metrics.model import Column, Family, Model

Encode = Callable[[CollectorRegistry], bytes]
Piece = bytes | Column

_END: Final = b"# EOF\n"
_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_ESCAPING: Final = re.compile(r";\s*escaping=[^;,]*")
_LEVEL: Final = 1
"""The fastest: lines are much alike, so that even this makes a fifteenth of them."""


class Format:
    """One of the formats that a peer may ask for."""

    def __init__(self, encode: Encode, kind: str) -> None:
        self._encode = encode
        self.kind = kind
        self._heads: dict[tuple[str, str], bytes] = {}

    def pieces(self, answer: dict[str, Any], model: Model) -> list[Piece]:
        """What prometheus_client would write of all that is exported, in pieces."""
        small = self._written(own.families(answer))
        pieces: list[Piece] = [small.removesuffix(_END)]
        for family, columns in model.families():
            pieces += [self._head(family), *columns]
        if small.endswith(_END):
            pieces.append(_END)
        return pieces

    def _head(self, family: Family) -> bytes:
        key = family.name, family.owner
        if key not in self._heads:
            self._heads[key] = self._written([family.head()]).removesuffix(_END)
        return self._heads[key]

    def _written(self, families: Iterable[Metric]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Fixed(families))
        return self._encode(registry)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """What was given."""
        return self._families


def chosen(accept: str) -> tuple[Encode, str]:
    """The format the peer prefers, and what it is called; the text format where it talks rot.

    How to escape names does not matter, as none has to be.
    """
    try:
        return choose_encoder(_ESCAPING.sub("", accept))
    except (TypeError, ValueError):
        return choose_encoder("")


def plain(pieces: Iterable[Piece]) -> list[bytes]:
    """The pieces as they are."""
    return [piece.text if isinstance(piece, Column) else piece for piece in pieces]


def gzipped(pieces: Iterable[Piece]) -> list[bytes]:
    """The pieces in gzip's format, as one member; what was compressed before is not again.

    Every piece is compressed by itself and ends at a whole byte, without being the last.
    """
    parts, crc, size = [_GZIP_HEAD], 0, 0
    for piece in pieces:
        text = piece.text if isinstance(piece, Column) else piece
        crc, size = zlib.crc32(text, crc), size + len(text)
        if isinstance(piece, Column):
            if piece.packed is None:
                piece.packed = _deflated(text)
            parts.append(piece.packed)
        else:
            parts.append(_deflated(text))
    ended = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    return [*parts, ended, crc.to_bytes(4, "little"), (size % 2**32).to_bytes(4, "little")]


def _deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
