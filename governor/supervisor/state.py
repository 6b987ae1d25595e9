"""The state directory of a supervisor: what it finds there, and what it writes while it runs."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from governor import __version__
from governor.errors import GovernorError
from governor.journal.file import Journal
from governor.journal.place import Place
from governor.journal.records import FORMAT, Began, Figures, Tree
from governor.supervisor.inheritance import Inheritance, reconnect
from governor.supervisor.loading import load
from governor.supervisor.recorder import Recorder
from governor.supervisor.terms import Terms
from workers import estate, spawner
from workers.estate import Left
from workers.heirloom import is_waiting


class State:
    """A locked state directory. ``before``: who has used it last, None when it is new."""

    def __init__(self, path: str) -> None:
        """Lock and read it; nothing is written. EBUSY, EACCES, ENOTSUP: see `Place`, `Journal`.

        ENOTSUP, too: a subsystem is not there any more.
        """
        place = Place(path)
        try:
            self.journal = Journal(place)
            self._check_subsystems(place.path)
        except BaseException:
            place.close()
            raise
        self.path = place.path
        self.recorder = Recorder(self.journal)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self.before = self.journal.began
        self.inherited: Inheritance | None = None
        """What of the last governor goes on."""

    def _check_subsystems(self, path: str) -> None:
        for tree in self.journal.all(Tree).values():
            for label in tree.labels:
                try:
                    load(label)
                except GovernorError as error:
                    raise GovernorError(
                        errno.ENOTSUP,
                        f"the state in {path} has hierarchy {tree.name!r} of "
                        f"{','.join(tree.labels)}: {error.message}; nothing was changed",
                    ) from None

    def take_over(self, terms: Terms, files: int) -> Terms:
        """Find what goes on of the last governor; else end what is left of it.

        With what marks processes from now on, which may be what it was before. ``files``: for
        spawners, see `spawner.replace`. EBUSY: it is at another directory than this one, or there
        are jobs at this one that it knows nothing of.
        """
        before, directory = self.before if self.same_boot else None, terms.directory
        if before is None:
            reconnect(directory, 0, _nobody, terms.agent_timeout)
            return terms
        if before.directory != directory and is_waiting(before.directory):
            raise GovernorError(
                errno.EBUSY,
                f"the jobs of the state in {self.path} run at {before.directory}: go on with them "
                f"there, by --dir {before.directory}",
            )

        def restart() -> tuple[int, socket.socket]:
            return spawner.replace(before.nonce, directory, files, (), lasting=True)

        self.inherited = reconnect(directory, before.nonce, restart, terms.agent_timeout)
        if self.inherited is not None:
            return terms._replace(nonce=before.nonce)
        spawner.end_leftovers(before.nonce)
        return terms

    @property
    def estate(self) -> int:
        """The memory that agents go on with, as a descriptor."""
        return self.make_estate() if self.inherited is None else self.inherited.estate

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


def _nobody() -> tuple[int, socket.socket]:
    raise AssertionError("there is no spawner that could die")
