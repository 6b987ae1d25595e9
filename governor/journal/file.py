"""A journal in its directory: read at the start, appended to, written anew now and then.

Room is made ahead of need, as zeros that are written and synced: a change for which there is
none can be refused before it happens. What is written anew goes to a file of its own that takes
the place of the old one at once, so that there is always a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from typing import Final

from governor.errors import GovernorError, ProtocolError
from governor.journal.frames import frame, read
from governor.journal.place import Place
from governor.journal.records import FORMAT, RECORDS, Began, Gone, Record, bytes_of

JOURNAL: Final = "journal"
_NEW: Final = "journal.new"
_BAD: Final = "journal.bad-"

ROOM: Final = 256 * 1024
"""Bytes that are made ready at a time."""
SPARE: Final = 64 * 1024
"""Bytes that have to be ready for a change; what cannot be refused may use them up."""
_FRAME_MAX: Final = 1 << 20
"""Bytes in a frame of a journal that is written anew, more or less."""
_WASTE: Final = 4 << 20
"""It is written anew when it is this much longer than twice what it has to say."""

Key = tuple[str, int]


class Journal:
    """The records that hold, by kind and number, and the file that has them.

    ``said`` is what was found wrong at the start, for people.
    """

    def __init__(self, place: Place) -> None:
        """Read what is there. ENOTSUP: a newer governor has written it; nothing is changed then."""
        self.place = place
        self.said = ""
        self.failure: OSError | None = None
        """Why the file is not as it should be; None when everything is recorded."""
        self._table: dict[Key, bytes] = {}
        self._live = 0
        self._descriptor = -1
        self._end = self._ready = 0
        self._unsynced = False
        self._anew_at = 0
        self._found(place.read(JOURNAL) or b"")

    # -- reading -------------------------------------------------------------------

    def _found(self, data: bytes) -> None:
        reading = read(data)
        for records in reading.frames:
            for record in records:
                self._apply(_known(record, self.place.path), record)
        if reading.rest == "nothing":
            return
        if reading.rest == "torn" and reading.end:
            self.said = "the last change was not recorded to its end and is dropped"
            return
        # A first frame was synced before the file had its name: it cannot be torn.
        name = self._set_aside(data[reading.end :])
        used = "what comes before that is used, the rest" if reading.end else "nothing is used, it"
        self.said = f"damaged at byte {reading.end}: {used} is in {name}"

    def _set_aside(self, rest: bytes) -> str:
        names = self.place.names()
        name = next(n for i in range(1, len(names) + 2) if (n := f"{_BAD}{i}") not in names)
        descriptor = self.place.create(name)
        try:
            self.place.write(descriptor, rest, 0)
            self.place.sync(descriptor)
        finally:
            self.place.shut(descriptor)
        return name

    def _apply(self, record: Record, encoded: bytes) -> None:
        if isinstance(record, Gone):
            self._live -= len(self._table.pop((record.kind, record.id), b""))
            return
        key = type(record).__name__, record.id
        self._live += len(encoded) - len(self._table.get(key, b""))
        self._table[key] = encoded

    def all(self, kind: type) -> dict[int, Record]:
        """The records of a kind by number, in the order in which they came first."""
        name = kind.__name__
        return {
            id: RECORDS.decode(encoded) for (k, id), encoded in self._table.items() if k == name
        }

    @property
    def began(self) -> Began | None:
        """Who has written it; None when there is nothing yet."""
        found: Began | None = self.all(Began).get(0)
        return found

    # -- writing -------------------------------------------------------------------

    def require_room(self, size: int) -> None:
        """Refuse a change that could not be recorded, of about ``size`` bytes. ENOSPC, EIO, ..."""
        if self.failure is None and self._end + size + SPARE > self._ready:
            try:
                self._make_ready(size)
            except OSError as error:  # everything is recorded yet: the next may be smaller
                raise self.refusal(error) from None
        if self.failure is not None:
            raise self.refusal(self.failure)

    def refusal(self, error: OSError) -> GovernorError:
        """What a client is told."""
        number = error.errno or errno.EIO
        return GovernorError(
            number, f"cannot be recorded in {self.place.path}: {os.strerror(number)}"
        )

    def _make_ready(self, size: int) -> None:
        wanted = self._end + size + SPARE
        until = -(-wanted // ROOM) * ROOM
        try:
            self.place.write(self._descriptor, bytes(until - self._ready), self._ready)
            self.place.sync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self.place.cut(self._descriptor, self._ready)
            raise
        self._ready = until

    def put(self, records: Iterable[Record]) -> bool:
        """Record all of these, or none; whether anything had changed by that.

        Before the first `write_anew` there is nothing to write to.

        A failure is kept in ``failure``: what has happened has happened.
        """
        changed: dict[Key, tuple[Record, bytes]] = {}
        for record in records:
            gone = isinstance(record, Gone)
            key = (record.kind, record.id) if gone else (type(record).__name__, record.id)
            encoded = bytes_of(record)
            if (key in self._table) if gone else self._table.get(key) != encoded:
                changed[key] = record, encoded
            else:
                changed.pop(key, None)
        for record, encoded in changed.values():
            self._apply(record, encoded)
        if changed and self.failure is None and self._descriptor >= 0:
            self._append([encoded for _, encoded in changed.values()])
        return bool(changed)

    def _append(self, records: list[bytes]) -> None:
        data = frame(records)
        try:
            self.place.write(self._descriptor, data, self._end)
        except OSError as error:
            self.failure = error
            return
        self._end += len(data)
        self._ready = max(self._ready, self._end)
        self._unsynced = True
        if self._end > max(2 * self._live + _WASTE, self._anew_at):
            self._anew_at = self._end + _WASTE  # unless that succeeds
            self.write_anew()

    def sync(self) -> None:
        """Return when everything that was put outlives the machine, unless there is a failure."""
        if self._unsynced and self.failure is None:
            try:
                self.place.sync(self._descriptor)
                self._unsynced = False
            except OSError as error:
                # What the kernel could not write it may have forgotten: it is written elsewhere.
                self.failure = error

    def write_anew(self) -> None:
        """Write what holds to a new file, which takes the place of the old one.

        When that fails the old one stays, with all that it has.
        """
        descriptor = -1
        try:
            descriptor = self.place.create(_NEW)
            end = self._write_all(descriptor)
            self.place.replace(_NEW, JOURNAL)
        except OSError as error:
            if self._descriptor < 0:
                self.failure = error
            if descriptor >= 0:
                self._give_up(descriptor)
            return
        if self._descriptor >= 0:
            self.place.shut(self._descriptor)
        self._descriptor = descriptor
        self._end = self._ready = end
        self._anew_at, self._unsynced, self.failure = 0, False, None
        try:
            self.place.sync_names()
        except OSError as error:
            self.failure = error

    def _give_up(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            self.place.cut(descriptor, 0)  # others may need what little room there is
        self.place.shut(descriptor)

    def _write_all(self, descriptor: int) -> int:
        end, some, size = 0, [], 0
        for encoded in self._table.values():
            some.append(encoded)
            size += len(encoded)
            if size >= _FRAME_MAX:
                end = self._write_at(descriptor, some, end)
                some, size = [], 0
        end = self._write_at(descriptor, some, end)
        self.place.sync(descriptor)
        return end

    def _write_at(self, descriptor: int, records: list[bytes], start: int) -> int:
        data = frame(records)
        self.place.write(descriptor, data, start)
        return start + len(data)

    def close(self) -> None:
        """Leave it as it is."""
        if self._descriptor >= 0:
            self.place.shut(self._descriptor)
        self.place.close()


def _known(record: bytes, path: str) -> Record:
    try:
        found = RECORDS.decode(record)
    except ProtocolError as error:
        raise _too_new(path, str(error)) from None
    if isinstance(found, Began) and found.format > FORMAT:
        raise _too_new(path, f"format {found.format}; this one reads up to {FORMAT}")
    return found


def _too_new(path: str, what: str) -> GovernorError:
    return GovernorError(
        errno.ENOTSUP,
        f"the state in {path} was written by a newer governor ({what}); nothing was changed: "
        f"start that one, or choose another directory",
    )
