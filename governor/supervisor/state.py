"""The state directory of a supervisor: what it finds there, and what it writes while it runs."""

from __future__ import annotations

from pathlib import Path

from governor import __version__
from governor.journal.file import Journal
from governor.journal.place import Place
from governor.journal.records import FORMAT, Began, Figures
from governor.supervisor.recorder import Recorder
from workers import estate
from workers.estate import Left


class State:
    """A locked state directory. ``before``: who has used it last, None when it is new."""

    def __init__(self, path: str) -> None:
        """Lock and read it; nothing is written. EBUSY, EACCES, ENOTSUP: see `Place`, `Journal`."""
        place = Place(path)
        try:
            self.journal = Journal(place)
        except BaseException:
            place.close()
            raise
        self.path = place.path
        self.recorder = Recorder(self.journal)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self.before = self.journal.began

    @property
    def same_boot(self) -> bool:
        """Whether processes of whoever used it last may be there yet."""
        return self.before is not None and self.before.boot == self._boot

    def make_estate(self) -> int:
        """Memory for agents in which counters have the figures that they had."""
        descriptor = estate.make()
        found = self.journal.all(Figures)
        estate.leave_figures(
            descriptor,
            {
                id: Left(record.failcnt, record.maxheld, record.minheld, record.admitted)
                for id, record in found.items()
            },
        )
        return descriptor

    def begin(self, nonce: int, directory: str) -> None:
        """From now on this governor writes it."""
        self.journal.put([Began(0, FORMAT, __version__, self._boot, nonce, directory)])
        self.recorder.settle()
        self.journal.write_anew()
