"""What a record says of the runs of a batch: its lines, from and to bytes. No I/O in here.

The first line tells what the file is. Each other one is a checksum (CRC-32 of the rest, as eight
hexadecimal digits), a blank, and one JSON object: a run began, a job began, a job ended.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from governor.report import JobReport

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAGIC: Final = b"governor batch record 1\n"
_CHECKSUM_DIGITS: Final = 8


class Run(NamedTuple):
    """A run began, at ``time`` (seconds since the epoch), by process ``pid``.

    ``nonce`` marks all processes of its governor, in the boot of the host that ``boot`` names.
    What else a killed run leaves are two directories: ``sockets`` and ``scratch``.
    """

    time: float
    pid: int
    boot: str
    nonce: int
    sockets: str
    scratch: str


class Began(NamedTuple):
    """A job is about to be started; ``digest`` stands for everything its result depends on."""

    time: float
    job: str
    digest: str


class Ended(NamedTuple):
    """A job has ended, or could not be started; ``digest`` is that of its beginning."""

    time: float
    digest: str
    report: JobReport


Event = Run | Began | Ended
_KINDS: Final[Mapping[str, type[Event]]] = {"run": Run, "began": Began, "ended": Ended}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


class History(NamedTuple):
    """What is known: the last run, and the last event of every job, in the order of these.

    ``length`` is the number of bytes of whole lines; ``torn``: there is more, which is no line.
    """

    length: int
    torn: bool
    run: Run | None
    jobs: Mapping[str, Began | Ended]


NOTHING: Final = History(0, False, None, {})


class Unreadable(Exception):
    """The bytes are no record (``line`` is 1), or one that is damaged in ``line``."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(line, text)
        self.line = line
        self.text = text


def write(event: Event) -> bytes:
    """Return the line of an event."""
    fields = event._asdict()
    if isinstance(event, Ended):
        fields["report"] = event.report.to_json()
    # Surrogates (of names that are not UTF-8) and line ends are escaped: a line is ASCII.
    text = json.dumps({"event": _NAMES[type(event)], **fields}).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read(data: bytes) -> History:
    """Return what a record of these bytes says.

    Only a tail that was not written to its end, or did not reach the disk, is left out: when a
    whole line follows one that is none, `Unreadable` is raised, as it is for what is no record.
    """
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return History(0, bool(data), None, {})
        raise Unreadable(1, "this is not a record of governor batch")
    length, run = len(MAGIC), None
    jobs: dict[str, Began | Ended] = {}
    lines = data[length:].split(b"\n")
    end = lines.pop()  # what comes after the last line end
    for index, line in enumerate(lines):
        event = _event(line)
        if event is None:
            if any(_event(later) for later in lines[index + 1 :]):
                raise Unreadable(index + 2, "this line is damaged, and others follow it")
            return History(length, True, run, jobs)
        if isinstance(event, Run):
            run = event
        else:
            name = event.job if isinstance(event, Began) else event.report.name
            jobs.pop(name, None)  # the order is that of the last events
            jobs[name] = event
        length += len(line) + 1
    return History(length, bool(end), run, jobs)


def _event(line: bytes) -> Event | None:
    """Return what a line says, None when it is damaged."""
    from pydantic import ValidationError

    checksum, text = line[: _CHECKSUM_DIGITS + 1], line[_CHECKSUM_DIGITS + 1 :]
    if checksum != b"%08x " % zlib.crc32(text):
        return None
    try:
        fields: dict[str, Any] = json.loads(text)
        return _shape(fields.pop("event")).validate_python(fields)
    except (ValueError, LookupError, AttributeError, TypeError, ValidationError):
        return None


@cache
def _shape(kind: str) -> TypeAdapter[Event]:
    from pydantic import TypeAdapter

    return TypeAdapter(_KINDS[kind])
