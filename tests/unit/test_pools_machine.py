"""Guarantees over random trees, against a simulated kernel: what is guaranteed is never refused.

The model says it with claims. A container claims what it and its sub-containers use, each of
these at least what it is guaranteed; no claim is over its container's limit.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.counter import Counter
from governor.units import UNLIMITED
from tests.unit.fake_census import FORK, FakeCensus, Flight
from workers.accounts import Accounts, Verdict
from workers.bills import Bill
from workers.passages import Passages

interludes: st.SearchStrategy[list[int]] = st.one_of(
    st.builds(list), st.lists(st.integers(0, 30), min_size=1, max_size=6)
)


class Node:
    """A container of the model; ``id`` is its counter's and its group's."""

    def __init__(self, id: int, parent: Node | None) -> None:
        self.id = id
        self.parent = parent
        self.children: list[Node] = []
        self.least = 0
        """What it is guaranteed."""
        self.limit = UNLIMITED
        if parent is not None:
            parent.children.append(self)

    @property
    def promised(self) -> int:
        """What its sub-containers are guaranteed together."""
        return sum(child.least for child in self.children)


class PoolsMachine(RuleBasedStateMachine):
    """Traps, ends and changes of limits and guarantees, in any order."""

    @initialize(parents=st.lists(st.integers(0, 4), max_size=5))
    def begin(self, parents: list[int]) -> None:
        self.kernel = FakeCensus()
        self.accounts = Accounts(self.kernel)
        self.nodes = [Node(1, None)]
        for parent in parents:
            node = Node(len(self.nodes) + 1, self.nodes[parent % len(self.nodes)])
            self.nodes.append(node)
        for node in self.nodes:
            self.accounts.set_counter(node.id, "tasks", UNLIMITED)
        self.most: dict[int, int] = {}
        self.tell()

    def tell(self) -> None:
        """Tell the agent's books of the tree as it is now, as the supervisor would."""
        for node in self.nodes:
            spare = node.limit if node.limit == UNLIMITED else node.limit - node.promised
            self.accounts.set_counter(node.id, "tasks", spare)
        for node in self.nodes:
            if node.parent is not None:
                counter = self.accounts.counters[node.id]
                wanted = self.accounts.counters[node.parent.id], node.least - node.promised
                if (counter.lender, counter.guarantee) != wanted:
                    self.accounts.set_lender(node.id, node.parent.id, wanted[1])
        for node in self.nodes:
            counts = {"tasks": [node.id]}
            charges = counts if self.accounts.counters[node.id].limited else {}
            self.accounts.set_plan(node.id, charges, counts, None)

    # -- the model -----------------------------------------------------------------

    def used(self, node: Node) -> int:
        """Tasks in the container itself, those that forks under way may bring included."""
        return self.kernel.live("tasks", {node.id}) + self.kernel.coming("tasks", {node.id})

    def claim(self, node: Node) -> int:
        below = (max(self.claim(child), child.least) for child in node.children)
        return self.used(node) + sum(below)

    def total(self, node: Node) -> int:
        return self.used(node) + sum(map(self.total, node.children))

    def fits(self) -> bool:
        return all(self.claim(node) <= node.limit for node in self.nodes)

    def borrowed(self, node: Node) -> int:
        """The figure that the container's counter should have after a recount."""
        return self.kernel.live("tasks", {node.id}) + sum(
            max(0, self.borrowed(child) - (child.least - child.promised)) for child in node.children
        )

    # -- what the agent does -------------------------------------------------------

    def answer(self, tid: int, bill: Bill, between: list[int]) -> None:
        if bill.credit or self.accounts.prepay(bill):
            bill.credit -= 1
            self.accounts.reservations.doubtful.pop(tid, None)
            self.admit(tid, bill)
            return
        self.accounts.reservations.drop(tid)
        self.most = {}
        self.kernel.between, self.kernel.watch = list(between), self.look
        self.look()
        verdict, counter = self.accounts.judge(bill, set())
        self.kernel.between, self.kernel.watch = [], lambda: None
        if verdict is Verdict.REFUSE:
            assert counter is not None
            self.check_refusal(bill.note.groups[0], counter)
        elif verdict is Verdict.WAIT:
            assert self.accounts.reservations.pending
        elif tid in self.kernel.callers():
            self.admit(tid, bill)

    def look(self) -> None:
        """Remember the highest claims there are while a call is judged."""
        for node in self.nodes:
            self.most[node.id] = max(self.most.get(node.id, 0), self.claim(node))

    def check_refusal(self, group: int, counter: Counter) -> None:
        """Its own limit stands in the way, and nobody on the way up is owed anything."""
        node = self.nodes[group - 1]
        while node.id != counter.id:
            assert self.most[node.id] >= node.least, f"{node.id} is refused what it is guaranteed"
            assert node.parent is not None
            node = node.parent
        assert self.most[node.id] + 1 > node.limit, "a stale refusal"

    def admit(self, tid: int, bill: Bill) -> None:
        self.accounts.reservations.pending[tid] = bill.note
        process = self.kernel.process_of(tid)
        self.kernel.flights[tid] = Flight(process, dict(FORK), thread=False)
        assert self.fits(), "a limit is exceeded, or what is promised cannot be had any more"

    # -- what happens --------------------------------------------------------------

    @precondition(lambda self: self.kernel.callers())
    @rule(data=st.data(), between=interludes)
    def fork(self, data: st.DataObject, between: list[int]) -> None:
        tid = data.draw(st.sampled_from(sorted(self.kernel.callers())))
        self.kernel.doubted.discard(tid)
        group = self.kernel.process_of(tid).group
        self.answer(tid, self.accounts.terms[group].bill(FORK), between)

    @rule(data=st.data())
    def place(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.nodes))
        verdict, _ = self.accounts.judge(self.accounts.terms[node.id].bill(FORK), set())
        if verdict is Verdict.ADMIT:
            self.kernel.start(node.id)
            assert self.fits()
            self.accounts.recount_groups(node.id)

    @rule(data=st.data(), limit=st.sampled_from([0, 1, 2, 3, 5, 8, 13, UNLIMITED]))
    def set_limit(self, data: st.DataObject, limit: int) -> None:
        """Whatever is held; the model stays comparable where nothing is over the limit."""
        node = data.draw(st.sampled_from(self.nodes))
        before, node.limit = node.limit, limit
        if not self.fits():
            node.limit = before
        self.tell()

    @rule(data=st.data(), least=st.integers(0, 6))
    def guarantee(self, data: st.DataObject, least: int) -> None:
        """A container is promised at least what it promises itself, and no more than there is."""
        node = data.draw(st.sampled_from(self.nodes))
        before, node.least = node.least, least
        parent = node.parent
        if (
            parent is None
            or least < node.promised
            or (parent.parent is not None and parent.promised > parent.least)
            or not self.fits()
        ):
            node.least = before
        self.tell()

    @precondition(lambda self: self.kernel.processes)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        process = self.kernel.processes[data.draw(st.sampled_from(sorted(self.kernel.processes)))]
        node = data.draw(st.sampled_from(self.nodes))
        before, process.group = process.group, node.id
        if self.fits():
            Passages(self.accounts).charge([(process.pid, before, node.id)])
        else:
            process.group = before

    @precondition(lambda self: self.kernel.flights)
    @rule(data=st.data(), succeeds=st.booleans(), evident=st.booleans())
    def land(self, data: st.DataObject, succeeds: bool, evident: bool) -> None:
        tid = data.draw(st.sampled_from(sorted(self.kernel.flights)))
        self.kernel.land(tid, succeeds)
        if not evident:
            self.kernel.doubted.add(tid)

    @precondition(lambda self: self.kernel.processes)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.kernel.processes)))
        process = self.kernel.processes[pid]
        if process.threads:
            self.kernel.exit(process)
        else:
            self.kernel.reap(process)

    # -- what always holds ---------------------------------------------------------

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        assert all(self.total(node) <= node.limit for node in self.nodes)

    def teardown(self) -> None:
        """Once all is quiet every counter has what its container uses and lends."""
        if not hasattr(self, "kernel"):
            return
        for tid in list(self.kernel.flights):
            self.kernel.land(tid)
        self.kernel.doubted.clear()
        self.accounts.recount([self.accounts.counters[self.nodes[-1].id]])
        for node in self.nodes:
            counter = self.accounts.counters[node.id]
            assert counter.held == counter.charged == self.borrowed(node)


TestPools = PoolsMachine.TestCase
TestPools.settings = settings(max_examples=150)
