"""One task of Dask as a job: sent there, limited, waited for, and what becomes of it."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from dask.utils import key_split
from distributed import Reschedule
from distributed.protocol import pickle as dask_pickle

from governor.api.governor import Governor
from governor.api.job import Job
from governor.api.leaf import Leaf, Leaves
from governor.api.limits import Limits, Usage
from governor.dask import inside
from governor.errors import GovernorError, explain
from governor.results import JobResult

Tell = Callable[[dict[str, Any]], None]


def read_limits(annotation: object) -> Limits:
    """The limits in the annotation ``governor``. EINVAL, which says what is wrong with it."""
    if annotation is None:
        return Limits()
    if not isinstance(annotation, Mapping):
        raise GovernorError(
            errno.EINVAL,
            f"the annotation governor={annotation!r} is not like {{'tasks': 8, 'cpus': '0'}}",
        )
    unknown = ", ".join(str(name) for name in annotation if name not in Limits._fields)
    if unknown:
        known = ", ".join(Limits._fields)
        raise GovernorError(
            errno.EINVAL, f"the annotation governor has no {unknown}; there are {known}"
        )
    return Limits.of(**annotation)


class Call:
    """A task, called by Dask in a thread with what it depends on, as Dask calls the task itself."""

    def __init__(
        self,
        task: Any,
        annotation: object,
        find: Callable[[], tuple[Governor, Leaves]],
        tell: Tell,
    ) -> None:
        self._task = task
        self._annotation = annotation
        self._find = find
        self._tell = tell
        self._name = re.sub(r"\W+", "-", key_split(task.key)).strip("-")[:40] or "task"
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    def __call__(self, data: dict[Any, Any]) -> Any:
        """The task's value, or its exception. Reschedule: cancelled, whatever came of it."""
        try:
            return self._carry_out(data)
        except Exception:
            if self._cancelled:
                raise Reschedule from None
            raise

    def cancel(self) -> None:
        """End the job, or see to it that none is started; returns when it has ended."""
        with self._lock:
            self._cancelled = True
            stop = self._stop
        if stop is not None:
            stop()

    def _carry_out(self, data: dict[Any, Any]) -> Any:
        limits = read_limits(self._annotation)
        governor, leaves = self._find()
        with contextlib.ExitStack() as later:
            file = later.enter_context(open(os.memfd_create(self._name), "r+b"))
            leaf = leaves.make(limits, self._name)
            later.callback(leaf.remove, 0.0)  # with whatever the task has left running
            file.write(inside.CALL + dask_pickle.dumps((self._task, data)))
            file.seek(0)
            job = self._start(governor, leaf, file)
            result = job.wait()
            usage = leaf.usage(result.wall_seconds)
            result = result._replace(refusals=usage.refusals)
            self._tell(describe(self._task.key, job, leaf, usage, result))
            return self._take(file, result)

    def _start(self, governor: Governor, leaf: Leaf, file: IO[bytes]) -> Job:
        with self._lock:
            if self._cancelled:
                raise Reschedule
            job = governor.spawn(
                inside.main,
                name=self._name,
                containers=leaf.containers,
                stdin=file,
                timeout=leaf.limits.timeout,
            )
            self._stop = lambda: governor.stop([job])
            return job

    def _take(self, file: IO[bytes], result: JobResult) -> Any:
        """What the job has left in its memory file; raised here, if that is an exception."""
        file.seek(0)
        answered = file.read(len(inside.ANSWER)) == inside.ANSWER
        if not answered or result.exit_code != inside.RAISED:
            result.check(self._name)
        if not answered:
            raise GovernorError(
                errno.ECHILD, f"the process of job {self._name} has ended before the task returned"
            )
        succeeded, value, trace = pickle.load(file)
        if succeeded:
            return value
        explain(value, self._name, result.refusals)
        raise value.with_traceback(trace)


def describe(key: Any, job: Job, leaf: Leaf, usage: Usage, result: JobResult) -> dict[str, Any]:
    """What the scheduler, and whoever subscribes, is told of a task that has ended."""
    return {
        "key": key,
        "job": job.id,
        "containers": [f"{c.hierarchy.name}:{c.path}" for c in leaf.containers],
        "limits": leaf.limits._asdict(),
        "usage": usage._asdict() | {"refusals": [r._asdict() for r in usage.refusals]},
        "exit_code": result.exit_code,
        "unenforced": result.unenforced,
    }
