"""The kernel's own containers, cgroups of version 1 and 2, in the same shapes as governor's."""

from __future__ import annotations

import contextlib
import errno
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from governor.bench import trees
from governor.bench.companion import PATIENCE, Wait, local
from governor.bench.controls import Controls
from governor.bench.helpers import Programs
from governor.bench.marks import mark
from governor.bench.operations import LOOP_NAMES
from governor.bench.shape import HIGH_LIMIT, Shape
from governor.bench.surroundings import CommandSurrounding, run_to_end
from governor.bench.trees import Tree
from governor.errors import GovernorError

_ENTER: Final = 'while [ "$1" != -- ]; do echo 0 >"$1"/cgroup.procs; shift; done; shift; exec "$@"'
"""Shell commands that enter the groups named before ``--`` and run what is named after it."""
_numbers = itertools.count()


class CgroupSite:
    """Groups of one or several trees, of which the first counts: a `controls.Site`.

    The others of version 1 are hierarchies with a name and no controller: of the controllers of a
    kernel only one limits tasks, and nothing but a name can be mounted any number of times.
    """

    def __init__(self, trees: list[Tree], shape: Shape, stack: contextlib.ExitStack) -> None:
        self._shape, self._stack, self._first = shape, stack, trees[0]
        self.limited = trees[0].limited
        self._counting: list[Path] = []
        name = f"{mark()}{next(_numbers)}"
        self.innermost = [self._descend(tree, name) for tree in trees]
        self._inner = self.innermost[0]
        self._aside = self._beside("aside")
        self._made = self._inner.with_name(f"{self._inner.name}-made")
        stack.callback(_remove, self._made)

    def enter(self, command: list[str]) -> list[str]:
        """Return the command that runs ``command`` in the innermost groups."""
        return ["/bin/sh", "-c", _ENTER, "sh", *map(str, self.innermost), "--", *command]

    def _descend(self, tree: Tree, name: str) -> Path:
        """Make the groups of a tree; return the innermost."""
        group = tree.mount / name
        for level in range(1, self._shape.depth + 1):
            group = group / "level" if level > 1 else group
            self._make(group, tree, level)
            if tree.unified and tree.limited and level < self._shape.depth:
                _write(group / "cgroup.subtree_control", "+pids")
        return group

    def _make(self, group: Path, tree: Tree, level: int) -> None:
        # Before it is there: whoever is told to end in between must not leave it.
        self._stack.callback(_remove, group)
        group.mkdir()
        if tree.limited:
            self._counting.append(group)
            if self._shape.limited(level):
                _write(group / "pids.max", HIGH_LIMIT)

    def _beside(self, name: str) -> Path:
        """Make a group beside the innermost one, with its limit."""
        group = self._inner.with_name(f"{self._inner.name}-{name}")
        self._make(group, self._first, self._shape.depth)
        return group

    def start(self, command: list[str], stdin: int, stdout: int) -> Wait:
        """See `Site`."""
        return local(self.enter(command), stdin, stdout)

    def attach(self, pid: int, aside: bool) -> None:
        """See `Site`."""
        _write((self._aside if aside else self._inner) / "cgroup.procs", pid)

    def assemble(self, pids: Sequence[int]) -> None:
        """See `Site`."""
        self._crowds = [self._beside(f"crowd{number}") / "cgroup.procs" for number in range(2)]
        for pid in pids:
            _write(self._crowds[0], pid)

    def migrate(self) -> None:
        """See `Site`; the kernel takes them one by one."""
        for pid in self._crowds[0].read_text().split():
            _write(self._crowds[1], pid)
        self._crowds.reverse()

    def settle(self, pid: int, number: int) -> None:
        """See `Site`."""
        _write(self._beside(f"other{number}") / "cgroup.procs", pid)

    def fill(self, containers: int) -> None:
        """See `Site`."""
        for number in range(containers):
            self._beside(f"empty{number}")

    def make(self) -> None:
        """See `Site`."""
        self._made.mkdir()
        self._made.rmdir()

    def limit(self, tasks: int) -> None:
        """See `Site`."""
        _write(self._inner / "pids.max", tasks)

    def read(self) -> None:
        """See `Site`."""
        for group in self._counting:
            (group / "pids.current").read_text()
            (group / "pids.max").read_text()

    def scrape(self) -> None:
        """The kernel has no metrics."""
        raise NotImplementedError

    def spawn(self, command: list[str]) -> None:
        """See `Site`."""
        run_to_end(self.enter(command))


class CgroupSurrounding(CommandSurrounding):
    """Operations in such groups: a `governor.bench.surroundings.Surrounding`."""

    def __init__(
        self, name: str, site: CgroupSite, controls: Controls, loop: str, note: str
    ) -> None:
        super().__init__(name, site.enter([loop]))
        self.note = note
        self._controls = controls
        self._can = LOOP_NAMES | {"attach", "migrate", "mkdir", "build"}
        if site.limited:
            self._can |= {"limit", "read"}
        else:
            self.note = "without the pids controller: it groups processes and limits nothing"

    def can(self, operation: str) -> bool:
        """Whether the kernel does such a thing with the controllers that are there."""
        return operation in self._can

    def run(self, operation: str, count: int) -> float:
        """Do it in or to the groups; raises GovernorError [EIO]."""
        if operation in LOOP_NAMES:
            return super().run(operation, count)
        return self._controls.run(operation, count)


@contextlib.contextmanager
def cgroup(
    name: str, version: int, programs: Programs, shape: Shape
) -> Iterator[CgroupSurrounding]:
    """Groups of a version, removed at the end.

    Raises GovernorError [ENOTSUP] without a pids controller, or when this user may not make groups.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = (
                trees.version_1(shape.hierarchies, stack) if version == 1 else [trees.version_2()]
            )
            # A stack of its own: groups may be made later, and go when the processes have gone.
            site = CgroupSite(found, shape, stack.enter_context(contextlib.ExitStack()))
            controls = stack.enter_context(contextlib.closing(Controls(site, programs)))
            controls.populate(shape)
        except OSError as refusal:
            reason = f"no cgroup can be made or entered: {refusal.strerror}"
            raise GovernorError(errno.ENOTSUP, reason) from refusal
        yield CgroupSurrounding(name, site, controls, programs.loop, shape.note)


def _remove(group: Path) -> None:
    """Remove a group, if it is there, and with it wait for those who are just dying in it."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
        # Version 1 tells nobody but a program of root's that a group has become empty.
        time.sleep(0.01)


def _write(file: Path, value: int | str) -> None:
    """Write a value in one call, as these files want it, and never make a file."""
    with open(file, "r+") as opened:
        opened.write(str(value))
