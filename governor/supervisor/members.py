"""Who is governed, and in which containers: as the kernel knows it, by tags."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.group import Group
from governor.errors import GovernorError
from workers import membership
from workers.membership import Tag

if TYPE_CHECKING:
    from governor.supervisor.jobs import Job


class Members:
    """The processes of this governor, which is number ``nonce``, in a forest."""

    def __init__(self, nonce: int, forest: Forest) -> None:
        self._nonce = nonce
        self._forest = forest
        self._one_look = False
        self._seen: dict[int, Tag] | None = None

    def all(self) -> dict[int, Tag]:
        """Every governed process."""
        if not self._one_look:
            return membership.scan(self._nonce)
        if self._seen is None:
            self._seen = membership.scan(self._nonce)
        return self._seen

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """In here `all` are those of one moment: a crowd that asks needs one look."""
        self._one_look = True
        try:
            yield
        finally:
            self._one_look, self._seen = False, None

    def of(self, container: Container, recursive: bool = False) -> dict[int, Tag]:
        """The processes in a container, in those below it as well when ``recursive``."""
        groups = container.groups
        if not recursive:
            groups = {group.id: group for group in self._forest.groups_of(container)}
        if not groups:
            return {}
        return {pid: tag for pid, tag in self.all().items() if tag.group in groups}

    def by_container(self) -> dict[Container, list[int]]:
        """The processes in each container that has any."""
        found: dict[Container, list[int]] = {}
        for pid, tag in self.all().items():
            group = self._forest.groups.get(tag.group)
            for container in group.containers if group is not None else ():
                found.setdefault(container, []).append(pid)
        return found

    def governs(self, pid: int) -> bool:
        """Whether a process is there and governed."""
        return membership.read_ours(pid, self._nonce) is not None

    def tag(self, pid: int) -> Tag | None:
        """The tag of a process that may be governed; None: it is not yet.

        ESRCH: it is gone. EACCES: another user's. EBUSY: another governor's. EINVAL: no process
        has such a number.
        """
        if pid <= 0:
            raise GovernorError(errno.EINVAL, f"{pid} is not a process id")
        try:
            os.kill(pid, 0)
            tag = membership.read(pid)
        except ProcessLookupError:
            raise GovernorError(errno.ESRCH, f"there is no process {pid}") from None
        except PermissionError:
            raise GovernorError(errno.EACCES, f"process {pid} is another user's") from None
        except OverflowError:
            raise GovernorError(errno.EINVAL, f"{pid} is not a process id") from None
        if tag is not None and tag.nonce != self._nonce:
            raise GovernorError(errno.EBUSY, f"process {pid} belongs to another governor")
        return tag

    def job_of(self, pid: int) -> int:
        """The job whose process this is or was; 0: nobody's, or nobody knows any more."""
        tag = membership.read_ours(pid, self._nonce)
        return 0 if tag is None else tag.job

    def group_of(self, pid: int) -> Group:
        """The group a process is in; that of all the roots for one that is not governed.

        Refused as by `tag`.
        """
        return self.group(self.tag(pid))

    def group_of_job(self, job: Job) -> Group | None:
        """The group that a job's first process is in, or was started in when it has ended.

        None when nobody is in that any more, and it is forgotten.
        """
        if job.placed and job.result is None:  # it may have moved since it was started
            with contextlib.suppress(GovernorError):
                return self.group_of(job.pid)
        return self._forest.groups.get(job.group)

    def group(self, tag: Tag | None) -> Group:
        """The group of a process with this tag, or without one."""
        found = self._forest.groups.get(tag.group) if tag else None
        return found or self._forest.group([])
