"""How jobs end: by themselves, by force, by the clock, or unseen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable

from governor.errors import GovernorError
from governor.results import OWN_FAILURE, TIMED_OUT, JobResult
from governor.supervisor.endings import Endings, check_signal
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.refusals import Refusals

UNSEEN = "it ended while nobody could see it"


class JobEnds:
    """Ends jobs, and says what came of them; ``ended`` is told of each end."""

    def __init__(
        self,
        jobs: Jobs,
        policy: Policy,
        endings: Endings,
        refusals: Refusals,
        ended: Callable[[Job], None],
    ) -> None:
        self._jobs = jobs
        self._policy = policy
        self._endings = endings
        self._refusals = refusals
        self._ended = ended
        self._unsettled: dict[int, tuple[Job, JobResult]] = {}
        """Those that have ended and may have been refused more than was heard of."""

    # -- what came of a job --------------------------------------------------------

    def finish(self, job: Job, status: int, cpu: int) -> None:
        """Its first process has ended with this wait status, having used ``cpu`` ns."""
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else None
        code = 128 - code if code < 0 else code
        if job.timed_out:
            code = TIMED_OUT
        elif not job.placed and (job.error is not None or not code):  # it has not run at all
            job.error = job.error or f"the worker of job {job.name} has ended without a word"
            code, number = OWN_FAILURE, None
        if not job.placed:
            self._policy.withdraw(job.group)
            job.tell_started()
        wall = time.monotonic() - job.began
        used = max(0, cpu - job.base_cpu) / 1e9
        refusal = job.refusal or None
        self._end(job, JobResult(code, number, wall, used, job.timed_out, job.error, refusal))

    def lose(self, job: Job, reason: str, seconds: float) -> None:
        """Nobody will ever know how this job has ended."""
        job.error = f"job {job.name} was lost: {reason}"
        self._end(job, JobResult(OWN_FAILURE, None, seconds, 0.0, job.timed_out, job.error))

    def unseen(self, pid: int) -> None:
        """A process has ended, and nobody can tell how."""
        job = self._jobs.of(pid)
        if job is not None:
            self._policy.left(job.group, pid)
            self.lose(job, UNSEEN, time.monotonic() - job.began)

    def _end(self, job: Job, result: JobResult) -> None:
        if self._refusals.are_known():
            self._conclude(job, result)
        else:
            self._unsettled[job.id] = job, result

    def settle(self) -> None:
        """Give their results to those that have ended, with all that they were refused."""
        while self._unsettled:
            before = list(self._unsettled)  # more may end meanwhile, of whom it tells nothing
            self._refusals.catch_up()
            for id in before:
                self._conclude(*self._unsettled.pop(id))

    def _conclude(self, job: Job, result: JobResult) -> None:
        self._jobs.leave(job)
        job.result = result._replace(refusals=tuple(job.refused.values()))
        self._policy.changes.job(job)
        fields = job.told() | self._policy.told_of_group(job.ended_in or job.group)
        fields["exit_code"] = result.exit_code
        if job.refused:
            fields["refused"] = sum(refusal.times for refusal in job.refused.values())
        if result.error:
            fields["reason"] = result.error
        self._policy.events.publish("job-end", "", "", **fields)
        self._refusals.ended(job)
        self._ended(job)
        self._jobs.remember(job)

    # -- by force ------------------------------------------------------------------

    def send_signal(self, job: Job, number: int) -> None:
        """Signal a job's first process; nothing happens when it has ended already. EINVAL."""
        check_signal(number)
        if self._may_run(job.id) and job.pid:
            try:
                os.kill(job.pid, number)
            except ProcessLookupError:
                pass
            except OSError as error:
                raise GovernorError(error.errno or 0, f"cannot signal job {job.name}") from None

    def stop(self, jobs: Iterable[int], grace: float, done: Callable[[], None]) -> None:
        """End jobs with everything they started: TERM, KILL after ``grace`` seconds."""
        wanted = set(jobs)
        self._endings.begin(
            lambda: self._members(wanted),
            grace,
            done,
            over=lambda: not any(map(self._jobs.is_running, wanted)),
        )

    def stop_all(self, grace: float, done: Callable[[], None]) -> None:
        """End all jobs there are now."""
        self.stop(self._jobs.by_id, grace, done)

    def tick(self) -> float | None:
        """Do what is due by the clock; returns the seconds until something is due again."""
        self._refusals.tick()
        now = time.monotonic()
        for job in self._jobs.timed():
            if job.deadline is not None and now >= job.deadline:
                self._jobs.limit_no_more(job)
                job.timed_out = True
                self._policy.changes.job(job)
                self.stop([job.id], job.grace, lambda: None)
        due = [job.deadline for job in self._jobs.timed() if job.deadline is not None]
        return max(0.0, min(due) - now) if due else None

    def _may_run(self, id: int) -> bool:
        return self._jobs.is_running(id) and id not in self._unsettled

    def _members(self, jobs: Collection[int]) -> list[int]:
        """Every process of these jobs, wherever it has daemonized itself to."""
        members = [pid for pid, tag in self._policy.members.all().items() if tag.job in jobs]
        # A worker that has not been placed carries no tag yet.
        early = [self._jobs.by_id[id].pid for id in jobs if self._may_run(id)]
        return [*members, *(pid for pid in early if pid and pid not in members)]
