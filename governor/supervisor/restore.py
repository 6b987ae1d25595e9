"""Going on where another governor has ended: everything of its journal is made anew.

Numbers are what they were, since processes carry those of their groups, and the agent's figures
are kept by those of their counters. What the host does not allow any more is said, not insisted on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from governor.core.container import Container
from governor.core.counter import Counter
from governor.core.group import Group
from governor.core.hierarchy import Hierarchy
from governor.core.plan import compile_plan
from governor.core.usage import Kept, Total, Use
from governor.errors import GovernorError
from governor.journal.file import Journal
from governor.journal.records import (
    Combination,
    Figures,
    Member,
    Meters,
    Node,
    Numbers,
    Orphan,
    Past,
    Record,
    Refused,
    Spent,
    Tree,
    Work,
)
from governor.results import JobResult, Refusal
from governor.supervisor import levels
from governor.supervisor.agent import AgentLink
from governor.supervisor.bounds import own_counters
from governor.supervisor.job_ends import UNSEEN, JobEnds
from governor.supervisor.jobs import Job, Jobs
from governor.supervisor.policy import Policy
from governor.supervisor.state import State
from governor.supervisor.told import tell
from workers import membership
from workers.spawner import end_jobs

ENDED = "its governor died, and all that it had started was ended"
REBOOTED = "the machine was started anew"
NOT_STARTED = "its governor died before the job was started"


class Restorer:
    """Rebuilds everything from a journal.

    Without something inherited, none of the processes is left.
    """

    def __init__(self, state: State, policy: Policy, jobs: Jobs, ends: JobEnds) -> None:
        self._recorder = state.recorder
        self._journal: Journal = state.recorder.journal
        self._policy = policy
        self._jobs = jobs
        self._ends = ends
        self._inherited = state.inherited
        self._same_boot = state.same_boot
        self._trees: dict[int, Hierarchy] = {}
        self._nodes: dict[int, Container] = {}
        self._counted: list[Counter] = []
        """Those that have figures."""

    def rebuild(self) -> None:
        """Rebuild all but what the agent is told and who listens to jobs."""
        for tree in self._journal.all(Tree).values():
            self._tree(tree)
        for node in self._journal.all(Node).values():
            self._node(node)
        self._number()
        self._figures()
        for past in self._journal.all(Past).values():
            self._past(past)
        for combination in self._journal.all(Combination).values():
            self._combination(combination)
        self._ledger()
        for work in self._journal.all(Work).values():
            self._job(work)
        self._end_unrecorded()
        for container in self._nodes.values():
            self._policy.watch(container)

    def tell_agent(self, agent: AgentLink) -> None:
        """Have all groups enforced again, and figures go on, also where there is no group.

        What is kept of a counter that the agent does not know would be dropped.
        """
        agent.introduce(self._counted)
        for group in self._policy.forest.groups:
            try:
                self._policy.plans.use(group)
            except GovernorError as error:
                for container in group.containers:
                    self._policy.events.of("unenforced", container, reason=error.message)

    # -- trees ---------------------------------------------------------------------

    def _tree(self, tree: Tree) -> None:
        forest = self._policy.forest
        if tree.unbound:
            self._trees[tree.id] = forest.unbound
            for number, label in enumerate(tree.labels):
                forest.mount(f"unbound.{number}", [label])
                forest.umount(f"unbound.{number}")  # takes its state in the root along
            return
        hierarchy = self._trees[tree.id] = forest.mount(tree.name, tree.labels)
        hierarchy.mounted = tree.mounted
        hierarchy.release_agent = tree.release_agent

    def _node(self, node: Node) -> None:
        tree, parent = self._trees.get(node.tree), self._nodes.get(node.parent)
        if tree is None or (node.parent and parent is None):
            self._unrestored(f"container {node.name!r}", "what it was in could not be")
            return
        container = tree.root
        if parent is not None:
            path = f"{parent.path.rstrip('/')}/{node.name}"
            try:
                container = self._policy.forest.mkdir(tree.name, path)
            except GovernorError as error:
                self._unrestored(f"container {tree.name}:{path}", error.message)
                return
        self._nodes[node.id] = container
        container.notify_on_release = node.notify_on_release
        container.auto_remove = node.auto_remove
        container.occupied = node.occupied
        for kind, saved in node.states.items():
            self._state(container, kind, saved)

    def _state(self, container: Container, kind: str, saved: object) -> None:
        subsystem = container.hierarchy.subsystems.get(kind)
        if subsystem is None or not isinstance(saved, dict):
            return
        failed = tell(subsystem, "restore", container, saved)
        for what in failed if isinstance(failed, list) else ["something"]:
            self._unrestored(container.label, str(what))

    def _unrestored(self, what: str, reason: str) -> None:
        self._policy.events.publish("unrestored", reason=f"{what}: {reason}")
        print(f"governor: not restored: {what}: {reason}", file=sys.stderr)

    def _number(self) -> None:
        recorder = self._recorder
        for number, tree in self._trees.items():
            recorder.numbers[tree] = number
        for number, container in self._nodes.items():
            recorder.numbers[container] = number
        recorder.last = max(recorder.numbers.values(), default=0)
        numbers = self._journal.all(Numbers).get(0)
        forest = self._policy.forest
        forest.last_id = numbers.counter if numbers else 0
        forest.groups.last = numbers.group if numbers else 0
        self._jobs.last = numbers.job if numbers else 0

    # -- figures -------------------------------------------------------------------

    def _figures(self) -> None:
        figures = self._journal.all(Figures)
        for container in self._nodes.values():
            for counter in own_counters(container):
                left = figures.get(counter.id)
                if left is not None:
                    _, counter.minheld, counter.maxheld, counter.failcnt, counter.admitted = left
                    self._counted.append(counter)
        for number, record in self._journal.all(Meters).items():
            if number in self._nodes:
                _read_meters(self._nodes[number], record)

    def _past(self, past: Past) -> None:
        if past.id in self._nodes:
            level = self._policy.levels.kept[self._nodes[past.id]] = levels.Record()
            level.load(*past[1:])

    def _combination(self, record: Combination) -> None:
        forest = self._policy.forest
        known = [self._nodes[number] for number in record.nodes if number in self._nodes]
        chosen = {container.hierarchy: container for container in known}
        places = tuple(chosen.get(h, h.root) for h in forest.hierarchies.values())
        if record.released:
            self._policy.released[record.id] = places
            self._policy.plans.compiled[record.id] = compile_plan(Group(record.id, places))
            return
        forest.groups.adopt(record.id, places)
        self._policy.levels.record(record.id).load(*record[3:])

    def _ledger(self) -> None:
        totals = {
            group: Total(Use(*spent.retired), Use(*spent.published))
            for group, spent in self._journal.all(Spent).items()
        }
        if self._inherited is not None:
            self._policy.ledger.load(self._kept(Member), self._kept(Orphan), totals)
            return
        # Nobody goes on using anything: what was told of stays, the rest has ended.
        ended = {
            group: Total(max(total.retired, total.published), total.published)
            for group, total in totals.items()
        }
        self._policy.ledger.load({}, {}, ended)

    def _kept(self, kind: type) -> Mapping[int, Kept]:
        return {
            pid: Kept(r.start, r.ppid, r.group, Use(*r.base), Use(*r.use), r.outside, r.discards)
            for pid, r in self._journal.all(kind).items()
        }

    # -- jobs ----------------------------------------------------------------------

    def _job(self, work: Record) -> None:
        job = Job.recorded(work)
        refused = self._journal.all(Refused).get(job.id)
        if refused is not None:
            job.refused = {counter: Refusal(*row) for counter, *row in refused.rows}
        job.result = JobResult.read(work.result) if work.result else None
        alive = self._inherited is not None and job.placed
        self._jobs.restore(job, alive)
        if job.result is None and not alive:
            self._lose(job)

    def _end_unrecorded(self) -> None:
        """End what runs although that could not be recorded: nobody knows where it belongs."""
        if self._inherited is not None:
            known = self._jobs.by_id
            unknown = self._inherited.jobs.keys() - known.keys()
            unknown |= {job.id for job in known.values() if not job.placed}
            end_jobs(self._inherited.link.nonce, unknown)

    def give_up(self) -> None:
        """All ends have been reported: whoever is neither there nor reported will not be."""
        if self._inherited is not None:
            there = self._inherited.jobs
            for job in list(self._jobs.by_id.values()):
                if job.result is None and job.id not in there and not self._is_elsewhere(job):
                    self._lose(job)

    def _is_elsewhere(self, job: Job) -> bool:
        """Whether a job goes on that the spawner knows nothing of, because it has a new parent."""
        if self._inherited is None or not job.placed:
            return False
        link = self._inherited.link
        tag = membership.read_ours(job.pid, link.nonce)
        return tag is not None and tag.job == job.id and link.watch(job.pid)

    def _lose(self, job: Job) -> None:
        """Say how it is that nothing is known of a job's end."""
        reason = ENDED if self._same_boot else REBOOTED
        if self._inherited is not None:
            reason = UNSEEN
        if not job.placed:
            reason = NOT_STARTED
        seconds = time.monotonic() - job.began if self._same_boot else time.time() - job.began_at
        self._ends.lose(job, reason, max(0.0, seconds))


def _read_meters(container: Container, record: Meters) -> None:
    left = list(record.totals)
    for kind, subsystem in container.hierarchy.subsystems.items():
        for meter in subsystem.meters(container):
            found = next((row for row in left if row[0] == kind), None)
            if found is not None:
                left.remove(found)
                meter.total, meter.user = int(found[1]), int(found[2])
