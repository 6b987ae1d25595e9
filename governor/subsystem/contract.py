"""The contract between the core and a subsystem (a controller).

A subsystem is one small file in ``subsystems/`` or in somebody else's package: a class
with a name, a state per container, control files, and a say in each group's plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from governor.errors import GovernorError
from governor.results import ENFORCED
from governor.results import Value as Value

if TYPE_CHECKING:
    from governor.core.container import Container
    from governor.core.counter import Counter
    from governor.core.plan import PlanBuilder
    from governor.core.usage import Meter


def to_number(value: Value) -> float:
    """A count as metrics have it: ``max`` is infinity. ValueError for a text that is none."""
    return float("inf") if value == "max" else float(value)


class Metric(NamedTuple):
    """How a control file is exported: as ``governor_SUBSYSTEM_NAME``, of this ``kind``.

    A ``unit`` of Prometheus (seconds, bytes) is appended to the name, and ``_total`` to a
    counter's, which never falls while its container exists. ``number(value)`` gives the file's
    value in that unit, and raises ValueError where there is none to give.
    """

    name: str
    help: str
    kind: Literal["gauge", "counter"] = "gauge"
    unit: str = ""
    number: Callable[[Value], float] = to_number


class ControlFile(NamedTuple):
    """A named attribute of a container, such as ``numtasks.limit``.

    ``read(container)`` gives the value. ``parse(value)`` checks a value by itself, before
    any container exists, and ``write(container, parsed)`` checks it against the tree and
    stores it; both may refuse, with ValueError and `GovernorError` respectively. A write returns
    what takes it back, for when a group would have nowhere to run, or another subsystem makes no
    plan. A file without ``write`` is read-only. One without ``metric`` is exported under its own
    name, of no known kind, while it reads as a number. ``on``: roots alone may have a file, or
    all but the root. ``needs`` is what has to be counted for a reading: everything, the counters
    of the container alone, or nothing, as for what was written. ``asks_who``: whether a write goes
    by how many processes there are (`Container.tasks`), for which all are looked at.
    """

    read: Callable[[Container], Value]
    parse: Callable[[Value], Any] | None = None
    write: Callable[[Container, Any], Callable[[], None] | None] | None = None
    metric: Metric | None = None
    on: Literal["all", "root", "child"] = "all"
    needs: Literal["all", "own", "nothing"] = "all"
    asks_who: bool = True

    @property
    def writable(self) -> bool:
        """Whether the file takes values."""
        return self.write is not None


class Host(Protocol):
    """What a subsystem may see of the running processes, and do to them."""

    @property
    def now(self) -> float:
        """Seconds on a clock that only goes forward."""

    def members(self, container: Container) -> list[int]:
        """The pids in a container, without its sub-containers."""

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a governed process; nothing happens when it has ended."""

    def event(self, kind: str, container: Container, **fields: Value) -> None:
        """Tell whoever follows the events."""

    def changed(self, container: Container) -> None:
        """What `Subsystem.save` gives for a container is another by now, and not by a write."""


class Subsystem:
    """Base of every controller. Subclasses set ``name`` and override what they need.

    Every callback runs in the supervisor, between two requests, and must not block. One that
    may refuse does so by raising `GovernorError`; then those who agreed before are told.
    """

    name: ClassVar[str] = ""
    traps: ClassVar[frozenset[str]] = frozenset()
    """Facilities whose system calls must be trapped in the job: affinity, or what is counted."""
    facility: ClassVar[str | None] = None
    """The facility of the host that decides how well this subsystem is enforced."""
    looks_inside: ClassVar[bool] = False
    """Whether processes that may not be looked into (another user's) hide what it counts."""
    best: ClassVar[str] = ENFORCED
    """The best level it can have on any host (one of `governor.results.LEVELS`)."""
    why: ClassVar[str] = ""
    """What keeps ``best`` from being a better one, in a few words."""
    clones: ClassVar[bool] = False
    """Whether a process that enters other namespaces gets a new container of its own."""
    interval: ClassVar[float] = 1.0
    """Seconds between two calls of `sampled` while anything runs, at most."""
    stale: bool = False
    """Set by the subsystem when a write or a removal changed what plans of other containers of
    its hierarchy should be: all of them are renewed then."""
    host: Host
    """Set before anything else is called."""
    instance: str = ""
    """Tells several of a kind in several hierarchies apart, as in ``numtasks@projects``."""

    @property
    def label(self) -> str:
        """What mount is given: ``numtasks``, or ``numtasks@projects`` for a named instance."""
        return f"{self.name}@{self.instance}" if self.instance else self.name

    # -- containers ----------------------------------------------------------------

    def create(self, container: Container) -> object:
        """The state for a new container. May refuse; must leave nothing behind then."""
        raise NotImplementedError

    def destroy(self, container: Container, state: object) -> None:
        """Undo `create`. Cannot refuse."""
        raise NotImplementedError

    def bind(self, root: Container) -> None:
        """The subsystem now belongs to the hierarchy of ``root``. Cannot refuse.

        Also when it is unbound: then ``root`` is the one container of hierarchy 0.
        """

    def populate(self) -> Mapping[str, ControlFile]:
        """The control files, by their full names (``numtasks.limit``)."""
        return {}

    # -- what outlives the governor -------------------------------------------------

    def save(self, container: Container) -> dict[str, Any]:
        """What a governor that starts with the same state must know of a container.

        Plain values, such as JSON has, that `restore` understands for ever. By default what its
        files say that can be written.
        """
        place = "root" if container.parent is None else "child"
        files = self.populate().items()
        return {
            "files": {
                name: file.read(container)
                for name, file in files
                if file.writable and file.on in ("all", place)
            }
        }

    def restore(self, container: Container, saved: Mapping[str, Any]) -> list[str]:
        """Make a new container what `save` has told of; what of that could not be, in words.

        Parents come first. The host may be another than it was.
        """
        files, failed = self.populate(), []
        for name, value in saved.get("files", {}).items():
            file = files.get(name)
            if file is None or file.parse is None or file.write is None:
                failed.append(f"{name} = {value!r}: there is no such file any more")
                continue
            try:
                if file.read(container) != value:
                    file.write(container, file.parse(value))
            except (GovernorError, ValueError) as error:
                failed.append(f"{name} = {value!r}: {error}")
        return failed

    def meters(self, container: Container) -> Iterable[Meter]:
        """The meters kept for ``container``, which are to go on where they were."""
        return ()

    # -- processes that move -------------------------------------------------------

    def answers(self, callback: str) -> bool:
        """Whether it does anything at this callback: for one that does nothing none is made.

        To move a hundred processes would else be several hundred calls of nothing.
        """
        own = getattr(self, callback)
        return getattr(own, "__func__", own) is not getattr(Subsystem, callback)

    def can_attach(self, container: Container, old: Container, pid: int) -> None:
        """May refuse that ``pid`` moves from ``old``; reserves what it needs."""

    def cancel_attach(self, container: Container, pid: int) -> None:
        """Undo a `can_attach` that passed: another refused, or the process has ended."""

    def attach(self, container: Container, old: Container, pid: int) -> None:
        """``pid`` has moved from ``old``. Cannot refuse."""

    def post_attach(self, container: Container, pid: int) -> None:
        """Every subsystem has been told of the move by `attach`. Cannot refuse."""

    # -- processes that begin and end ----------------------------------------------

    def can_fork(self, container: Container) -> None:
        """May refuse that a job is started in ``container``; reserves what it needs.

        What the job forks itself is not asked for here but charged by plan: a question to the
        supervisor at every fork would cost more than the fork.
        """

    def cancel_fork(self, container: Container) -> None:
        """Undo a `can_fork` that passed: the job was not started after all."""

    def fork(self, container: Container, pid: int) -> None:
        """The first process of a job is in ``container``. Cannot refuse."""

    def exit(self, container: Container, pid: int) -> None:
        """The first process of a job, last in ``container``, has ended. Cannot refuse."""

    # -- enforcement and figures ---------------------------------------------------

    def contribute(self, plan: PlanBuilder, container: Container) -> None:
        """Add what ``container`` and its ancestors ask for to a group's plan."""

    def counters(self, container: Container) -> Iterable[Counter]:
        """The counters kept for ``container``, whose figures the agent is to keep.

        Borrowers are found by their own containers, lenders by theirs.
        """
        return ()

    def lapsed(self, container: Container) -> bool:
        """Whether some process in ``container`` escapes it, for a reason that only this one knows.

        Its level, and that of the containers above it, is then ``partial`` at best.
        """
        return False

    def sampled(self, root: Container, host: Host) -> Iterable[Container]:
        """All figures are fresh. Returns the containers whose plans must be renewed.

        Comes at every reading of files that need it (of this subsystem all but those that need
        nothing), and at least every ``interval`` seconds while anything runs.
        """
        return ()
