"""Random trees of cpusets against a model that states the rules of cpuset(7) plainly."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.plan import compile_plan
from governor.errors import GovernorError
from governor.units import format_cpus, parse_cpus
from subsystems.cpuset import CpuSet
from tests.unit.fake_machine import FakeMachine
from tests.unit.forest_model import ancestors_of, parent_of
from tests.unit.idle_host import IdleHost

ALL = {"cpus": frozenset(range(3)), "mems": frozenset(range(2))}
FLAGS = {"cpus": "cpu_exclusive", "mems": "mem_exclusive"}
KINDS = st.sampled_from(["cpus", "mems"])

Node = dict[str, Any]
"""What the model knows of a container: its sets, flags, and how many processes are in it."""


class Sets(RuleBasedStateMachine):
    """Everything is done twice: by the subsystem, and to dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = FakeMachine("0-2", "0-1")
        self.forest = Forest(lambda name: CpuSet(self.machine))
        self.root = self.forest.mount("set", ["cpuset"]).root
        top = {**ALL, "cpu_exclusive": True, "mem_exclusive": True, "tasks": 0}
        self.model: dict[str, Node] = {"/": {**top, "memory_migrate": False}}
        self.online = dict(ALL)

    # -- the model -----------------------------------------------------------------

    def children(self, path: str) -> list[str]:
        return [p for p in self.model if p != "/" and parent_of(p) == path]

    def siblings(self, path: str) -> list[str]:
        return [p for p in self.children(parent_of(path)) if p != path]

    def broken(self, path: str, trial: Node) -> int:
        """The errno of the first rule that a container would break, 0 for none."""
        parent = self.model.get(parent_of(path), {})
        for kind, flag in FLAGS.items():
            for child in map(self.model.get, self.children(path)):
                assert child
                if not child[kind] <= trial[kind] or child[flag] > trial[flag]:
                    return errno.EBUSY
        if path == "/":
            return 0
        for kind, flag in FLAGS.items():
            if not trial[kind] <= parent[kind] or trial[flag] > parent[flag]:
                return errno.EACCES
        if trial["tasks"] and not (trial["cpus"] and trial["mems"]):
            return errno.ENOSPC
        for kind, flag in FLAGS.items():
            for other in map(self.model.get, self.siblings(path)):
                assert other
                if trial[kind] & other[kind] and (trial[flag] or other[flag]):
                    return errno.EINVAL
        return 0

    def effective(self, path: str, kind: str) -> frozenset[int]:
        if not self.model[path][kind]:
            return frozenset()
        present = [self.model[p][kind] & self.online[kind] for p in ancestors_of(path)]
        return next(filter(None, present), self.online[kind])

    # -- doing it ------------------------------------------------------------------

    def container(self, path: str) -> Container:
        return self.forest.lookup("set", path)

    def write(self, path: str, name: str, value: str | int) -> int:
        """Write a file; the errno it was refused with, or 0."""
        try:
            self.forest.write(self.container(path), f"cpuset.{name}", value)
        except GovernorError as error:
            return error.errno
        return 0

    def path(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model)))

    @initialize()
    def begin(self) -> None:
        for path in ("/a", "/b", "/a/a"):
            self.make(path)

    def make(self, path: str) -> None:
        self.forest.mkdir("set", path)
        node: Node = {flag: False for flag in (*FLAGS.values(), "memory_migrate")}
        for kind, flag in FLAGS.items():
            taken = [self.model[p][kind] for p in self.siblings(path) if self.model[p][flag]]
            node[kind] = self.model[parent_of(path)][kind].difference(*taken)
        self.model[path] = {**node, "tasks": 0}

    @rule(data=st.data(), name=st.sampled_from("abc"))
    def mkdir(self, data: st.DataObject, name: str) -> None:
        path = f"{self.path(data).rstrip('/')}/{name}"
        if path not in self.model and path.count("/") < 4:
            self.make(path)

    @rule(data=st.data())
    def rmdir(self, data: st.DataObject) -> None:
        path = self.path(data)
        if path != "/" and not self.children(path) and not self.model[path]["tasks"]:
            self.forest.rmdir("set", path)
            del self.model[path]

    @rule(data=st.data(), kind=KINDS, end=st.sampled_from(["", "\n"]))
    def set_members(self, data: st.DataObject, kind: str, end: str) -> None:
        path = self.path(data)
        members = data.draw(st.frozensets(st.sampled_from(sorted(ALL[kind]))))
        expected = self.broken(path, {**self.model[path], kind: members})
        if path == "/":
            expected = errno.EACCES
        if members and not members & self.online[kind]:
            expected = errno.EINVAL
        assert self.write(path, kind, format_cpus(members) + end) == expected
        if not expected:
            self.model[path][kind] = members

    @rule(data=st.data(), flag=st.sampled_from(sorted(FLAGS.values())), on=st.booleans())
    def set_exclusive(self, data: st.DataObject, flag: str, on: bool) -> None:
        path = self.path(data)
        expected = self.broken(path, {**self.model[path], flag: on})
        assert self.write(path, flag, int(on)) == expected
        if not expected:
            self.model[path][flag] = on

    @rule(data=st.data(), on=st.booleans())
    def set_migrate(self, data: st.DataObject, on: bool) -> None:
        path = self.path(data)
        assert self.write(path, "memory_migrate", f"{int(on)}\n") == 0
        self.model[path]["memory_migrate"] = on

    @rule(data=st.data(), kind=KINDS, value=st.sampled_from(["x", "2-1", "7", "0,,1", "99999"]))
    def set_nonsense(self, data: st.DataObject, kind: str, value: str) -> None:
        expected = errno.ERANGE if value == "99999" else errno.EINVAL
        assert self.write(self.path(data), kind, value) == expected

    @rule(data=st.data(), tasks=st.integers(0, 2))
    def occupy(self, data: st.DataObject, tasks: int) -> None:
        """Processes enter a container, if they are let in, or leave it."""
        path = self.path(data)
        container, node = self.container(path), self.model[path]
        subsystem = container.hierarchy.subsystems["cpuset"]
        if not (node["cpus"] and node["mems"]):
            with pytest.raises(GovernorError) as caught:
                subsystem.can_fork(container)
            assert caught.value.errno == errno.ENOSPC
            return
        subsystem.can_fork(container)
        node["tasks"] = tasks
        groups = {p: self.forest.group([self.container(p)]).id for p in self.model}
        self.forest.populate({groups[p]: self.model[p]["tasks"] for p in self.model})

    @rule(data=st.data(), kind=KINDS)
    def hotplug(self, data: st.DataObject, kind: str) -> None:
        """Something is always left."""
        there = data.draw(st.frozensets(st.sampled_from(sorted(ALL[kind])), min_size=1))
        subsystem = self.root.hierarchy.subsystems["cpuset"]
        self.machine.online[kind] = there
        changed = [self.root] if there != self.online[kind] else []
        assert list(subsystem.sampled(self.root, IdleHost())) == changed
        self.online[kind] = there

    # -- what always holds ---------------------------------------------------------

    @invariant()
    def same(self) -> None:
        for path, node in self.model.items():
            container = self.container(path)
            files = container.hierarchy.subsystems["cpuset"].populate()
            for name in (*FLAGS.values(), "memory_migrate"):
                assert files[f"cpuset.{name}"].read(container) == int(node[name])
            for kind in FLAGS:
                own = str(files[f"cpuset.{kind}"].read(container))
                now = str(files[f"cpuset.effective_{kind}"].read(container))
                assert parse_cpus(own) == node[kind]
                assert parse_cpus(now) == self.effective(path, kind)

    @invariant()
    def the_rules_hold(self) -> None:
        for path, node in self.model.items():
            assert self.broken(path, node) == 0

    @precondition(lambda self: any(node["tasks"] for node in self.model.values()))
    @invariant()
    def whoever_runs_has_somewhere_to_run(self) -> None:
        for path, node in self.model.items():
            if node["tasks"]:
                plan = compile_plan(self.forest.group([self.container(path)]))
                assert plan.confined["cpus"] == sorted(self.effective(path, "cpus"))
                assert plan.confined["cpus"]


TestSets = Sets.TestCase
TestSets.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
