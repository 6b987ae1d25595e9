"""What was refused to jobs: told of as it happens, and kept for each job until its result."""

from __future__ import annotations

from governor.results import Refusal
from governor.supervisor.agent import AgentLink
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.wire import agent as wire

ROWS_MAX = 100
"""Counters that are kept of one job; more are met by one that is moved about."""


class Refusals:
    """Hears of bounds that were met, and by which jobs."""

    def __init__(self, jobs: Jobs, policy: Policy, agent: AgentLink) -> None:
        self._jobs = jobs
        self._changes = policy.changes
        self._bounds = policy.bounds
        self._agent = agent
        self._over: dict[int, None] = {}
        """Jobs that have a result, so that nobody will ask what else they are refused."""

    def hit(self, hit: wire.JobHit) -> None:
        """The agent tells of a bound that was met."""
        self._bounds.hit(hit)
        if hit.bound == "passed" or not hit.job:
            return
        job = self._jobs.by_id.get(hit.job)
        if job is None or job.result is not None:
            self._over[hit.job] = None
        else:
            self._note(job, hit)

    def _note(self, job: Job, hit: wire.JobHit) -> None:
        before = job.refused.get(hit.counter)
        met = self._bounds.met(hit)
        if met is None:  # the container is gone
            met = before
        elif before is None and len(job.refused) >= ROWS_MAX:
            return
        if met is not None:
            times = hit.times + (before.times if before else 0)
            job.refused[hit.counter] = met._replace(held=hit.held, times=times)
            self._changes.job(job)

    def of_jobs(self, message: wire.JobRefusals) -> None:
        """A new agent knows how often each job was refused; some of it nobody was told of."""
        for id, counter, times, held in message.figures:
            job = self._jobs.by_id.get(id)
            if job is None or job.result is not None:
                self._over[id] = None
                continue
            known = job.refused.get(counter, _NONE)
            if times > known.times:
                hit = wire.JobHit(counter, "limit", id, times - known.times, held, 0)
                self._agent.told_of(hit)
                self.hit(hit)

    def of_counters(self, message: wire.Refusals) -> None:
        """The same by counter: what is left was refused to nobody knows whom."""
        for hit in self._agent.untold(message):
            self.hit(hit)

    # -- the end of a job ----------------------------------------------------------

    def are_known(self) -> bool:
        """Whether all refusals until now have been heard of."""
        return self._agent.has_told_refusals()

    def catch_up(self) -> None:
        """Hear of them. Not to be called while the agent is asked something else."""
        self._agent.tell_refusals()

    def ended(self, job: Job) -> None:
        """It has its result."""
        if job.refused:
            self._over[job.id] = None

    def tick(self) -> None:
        """The results until now are recorded: nobody needs what the agent knows of them."""
        over, self._over = self._over, {}
        for id in over:  # an agent that takes over meanwhile may know of more
            self._agent.job_ended(id)


_NONE = Refusal("", "", 0, 0, 0)
