"""The forest against a naive model that keeps, for every task, hierarchy -> path, and recounts."""

from __future__ import annotations

import errno
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from governor.core.container import Container
from governor.core.forest import Forest
from governor.core.group import Group
from governor.core.plan import compile_plan
from governor.errors import GovernorError
from governor.units import UNLIMITED
from tests.unit.forest_model import (
    BAD_NAMES,
    BAD_PATHS,
    HIERARCHIES,
    NAMES,
    PATHS,
    ModelHierarchy,
    ancestors_of,
    files_of,
    kind_of,
    parent_of,
    parse,
    snapshot,
    sort,
)
from tests.unit.toys import CANNOT_REFUSE, COUNTED, LABELS, REFUSAL, TOYS, Call, Mood, loader

paths = st.sampled_from(PATHS)
hierarchy_names = st.sampled_from((*HIERARCHIES, "nowhere"))
subsystem_sets = st.lists(st.sampled_from((*LABELS, "zeta")), max_size=4)
MAY_REFUSE = ("create", "populate", "can_attach", "can_fork")
values = st.one_of(st.integers(-2, 12), st.sampled_from(["max", "4k", "12", "", "x", "-1"]))


class ForestMachine(RuleBasedStateMachine):
    """Operations on the forest and on the model; whatever the model refuses must be refused."""

    @initialize(
        order=st.permutations(list(TOYS)),
        cuts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        made=st.lists(st.sampled_from(PATHS), max_size=8),
    )
    def begin(self, order: list[str], cuts: tuple[int, int], made: list[str]) -> None:
        """Mostly there is something already: hierarchies, containers and tasks in them."""
        self.mood = Mood()
        self.forest = Forest(loader(self.mood), tell=self.mood.tell)
        self.hierarchies: dict[str, ModelHierarchy] = {}
        self.unbound: dict[str, Any] = {}
        """What is in hierarchy 0: label -> what its file was set to."""
        self.tasks: dict[int, dict[str, str]] = {}
        self.real: dict[int, Group] = {}
        self.last_pid = 0
        for name, subsystems in (("one", order[: cuts[0]]), ("two", order[cuts[0] :][: cuts[1]])):
            self.mount(name, subsystems)
            for path in sorted(made):
                self.mkdir(name, path)

    # -- helpers -------------------------------------------------------------------

    def attempt(self, expected: int, operation: Callable[[], Any]) -> Any:
        """Run an operation: done when ``expected`` is 0, else refused so and nothing changed."""
        before = snapshot(self.forest)
        self.mood.calls.clear()
        self.mood.failed.clear()
        done = None
        if not expected:
            done = operation()
        else:
            with pytest.raises(GovernorError) as caught:
                operation()
            assert caught.value.errno == expected
            assert caught.value.message
            assert "\n" not in caught.value.message
            assert snapshot(self.forest) == before
        told = [(call.callback, call.subsystem) for call in self.mood.calls]
        assert self.mood.failed == [
            call for call in told if call in self.mood.fails and call[0] in CANNOT_REFUSE
        ]
        return done

    def refusing(self, callback: str, subsystems: list[str]) -> int | None:
        """The position of the first of these that refuses a callback, or fails in it."""
        unwilling = self.mood.refuses | self.mood.fails
        asked = [i for i, name in enumerate(subsystems) if (callback, name) in unwilling]
        return asked[0] if asked else None

    def refusal(self, callback: str, subsystems: list[str]) -> int:
        """What the first of these that refuses a callback refuses with, 0 when none does."""
        at = self.refusing(callback, subsystems)
        if at is None:
            return 0
        return REFUSAL if (callback, subsystems[at]) in self.mood.refuses else errno.EIO

    def missing(self, name: str, path: str) -> int:
        if name not in self.hierarchies or path not in self.hierarchies[name].containers:
            return errno.ENOENT
        return 0

    def tasks_in(self, name: str, path: str) -> list[int]:
        return [pid for pid, places in self.tasks.items() if places[name] == path]

    def check_undone(self, callback: str, undo: str, bound: list[str], at: int, path: str) -> None:
        """Those before the refusing one were asked in order and undone in reverse."""
        asked = [Call(callback, name, path) for name in bound[: at + 1]]
        undone = [Call(undo, name, path) for name in reversed(bound[:at])]
        assert self.mood.calls == asked + undone

    # -- hierarchies ---------------------------------------------------------------

    @rule(name=st.sampled_from(HIERARCHIES), subsystems=subsystem_sets)
    def mount(self, name: str, subsystems: list[str]) -> None:
        same = [n for n, h in self.hierarchies.items() if set(h.subsystems) == set(subsystems)]
        bound = {s for h in self.hierarchies.values() for s in h.subsystems}
        created = [label for label in subsystems if label not in self.unbound]
        refused_at = self.refusing("create", created)
        expected = self.badly_chosen(subsystems)
        if expected or same:
            pass
        elif bound & set(subsystems):
            expected = errno.EBUSY
        elif name in self.hierarchies:
            expected = errno.EEXIST
        elif refused := self.refusal("populate", subsystems):
            expected, refused_at = refused, None
        elif refused_at is not None:
            expected = self.refusal("create", created)
        hierarchy = self.attempt(expected, lambda: self.forest.mount(name, subsystems))
        if expected in (REFUSAL, errno.EIO) and refused_at is not None:
            self.check_undone("create", "destroy", created, refused_at, "/")
        if expected:
            return
        assert hierarchy.mounted
        if same:
            assert hierarchy is self.forest.hierarchies[same[0]]
            assert self.mood.calls == []
            return
        assert self.mood.calls == [
            *(Call("create", s, "/") for s in created),
            *(Call("bind", s, "/") for s in subsystems),
        ]
        self.hierarchies[name] = ModelHierarchy(subsystems)
        self.enter(name, subsystems)
        for places in self.tasks.values():
            places[name] = "/"

    def badly_chosen(self, labels: list[str]) -> int:
        """The errno for a set of subsystems that no hierarchy can have; 0 for a good one."""
        if not labels or len(set(labels)) < len(labels):
            return errno.EINVAL
        if "zeta" in labels:
            return errno.ENOENT
        return errno.EINVAL if len(set(map(kind_of, labels))) < len(labels) else 0

    def enter(self, name: str, labels: list[str]) -> None:
        """Bound here from now on, with what was set while it was bound elsewhere."""
        root = self.hierarchies[name].containers["/"]
        for label in labels:
            written = self.unbound.pop(label, None)
            if written is not None:
                root[label] = written

    def leave(self, name: str, labels: list[str]) -> list[Call]:
        """Bound nowhere from now on; returns the callbacks that come with it."""
        root = self.hierarchies[name].containers["/"]
        calls = []
        for label in labels:
            written = root.pop(label, None)
            calls.append(Call("destroy" if "@" in label else "bind", label, "/"))
            if "@" not in label:
                self.unbound[label] = written
        return calls

    @rule(name=hierarchy_names, subsystems=subsystem_sets)
    def remount(self, name: str, subsystems: list[str]) -> None:
        model = self.hierarchies.get(name)
        bound = model.subsystems if model else []
        added = [label for label in subsystems if label not in bound]
        others = {s for h in self.hierarchies.values() for s in h.subsystems} - set(bound)
        created = [label for label in added if label not in self.unbound]
        refused_at = self.refusing("create", created)
        expected = errno.ENOENT
        if model is not None:
            expected = self.badly_chosen(subsystems)
            if len(model.containers) > 1 or (not expected and others & set(added)):
                expected = errno.EBUSY
            elif not expected and (refused := self.refusal("populate", added)):
                expected, refused_at = refused, None
            elif not expected and refused_at is not None:
                expected = self.refusal("create", created)
        self.attempt(expected, lambda: self.forest.remount(name, subsystems))
        if expected in (REFUSAL, errno.EIO) and refused_at is not None:
            self.check_undone("create", "destroy", created, refused_at, "/")
        if expected or model is None:
            return
        left = self.leave(name, [label for label in bound if label not in subsystems])
        assert self.mood.calls == [
            *(Call("create", s, "/") for s in created),
            *left,
            *(Call("bind", s, "/") for s in added),
        ]
        model.subsystems = subsystems
        self.enter(name, added)

    @rule(name=st.sampled_from(BAD_NAMES))
    def mount_badly_named(self, name: str) -> None:
        self.attempt(errno.EINVAL, lambda: self.forest.mount(name, ["alpha"]))

    @rule(name=hierarchy_names)
    def umount(self, name: str) -> None:
        model = self.hierarchies.get(name)
        expected = 0 if model else errno.ENOENT
        ended = self.attempt(expected, lambda: self.forest.umount(name))
        if model is None:
            return
        if len(model.containers) > 1:
            assert ended is False
            assert not self.forest.hierarchies[name].mounted
            assert self.mood.calls == []
            return
        assert ended is True
        assert self.mood.calls == self.leave(name, model.subsystems)
        del self.hierarchies[name]
        for places in self.tasks.values():
            del places[name]

    # -- containers ----------------------------------------------------------------

    @rule(name=hierarchy_names, path=paths)
    def mkdir(self, name: str, path: str) -> None:
        model = self.hierarchies.get(name)
        bound = model.subsystems if model else []
        assume(self.refusing("populate", bound) is None)  # names of files are looked at
        refused_at = self.refusing("create", bound)
        expected = 0
        if path == "/":
            expected = errno.EEXIST
        elif self.missing(name, parent_of(path)):
            expected = errno.ENOENT
        elif not self.missing(name, path):
            expected = errno.EEXIST
        elif refused_at is not None:
            expected = self.refusal("create", bound)
        container = self.attempt(expected, lambda: self.forest.mkdir(name, path))
        if expected in (REFUSAL, errno.EIO) and refused_at is not None:
            self.check_undone("create", "destroy", bound, refused_at, path)
        if not expected and model is not None:
            assert container is self.forest.lookup(name, path)
            assert self.mood.calls == [Call("create", s, path) for s in bound]
            parent = self.forest.lookup(name, parent_of(path))
            assert container.notify_on_release == parent.notify_on_release
            model.containers[path] = {}

    @rule(name=st.sampled_from(HIERARCHIES), path=st.sampled_from(list(BAD_PATHS)))
    def bad_path(self, name: str, path: str) -> None:
        self.attempt(BAD_PATHS[path], lambda: self.forest.mkdir(name, path))
        if name in self.hierarchies:
            self.attempt(BAD_PATHS[path], lambda: self.forest.rmdir(name, path))

    @rule(name=hierarchy_names, path=paths)
    def rmdir(self, name: str, path: str) -> None:
        self.populate()
        model = self.hierarchies.get(name)
        expected = self.missing(name, path)
        if not expected and model is not None:
            held = model.children(path) or self.tasks_in(name, path) or model.busy.get(path)
            expected = errno.EBUSY if held or path == "/" else 0
        gone = self.attempt(expected, lambda: self.forest.rmdir(name, path))
        if not expected and model is not None:
            assert self.mood.calls == [Call("destroy", s, path) for s in reversed(model.subsystems)]
            assert all(gone not in group.containers for group in self.forest.groups)
            assert (gone.states, gone.groups) == ({}, {})
            del model.containers[path]

    @rule(name=hierarchy_names, path=paths, new=st.sampled_from((*NAMES, "c", "..", "a/b", "")))
    def rename(self, name: str, path: str, new: str) -> None:
        model = self.hierarchies.get(name)
        assume(model is None or self.refusing("populate", model.subsystems) is None)
        target = f"{parent_of(path).rstrip('/')}/{new}"
        expected = self.missing(name, path)
        if not expected and model is not None:
            if "/" in new:
                expected = errno.EIO
            elif new in ("", ".."):
                expected = errno.EINVAL
            elif path == "/":
                expected = errno.EBUSY
            elif new != path.rpartition("/")[2] and target in model.containers:
                expected = errno.EEXIST
        node = self.attempt(expected, lambda: self.forest.rename(name, path, new))
        if expected or model is None:
            return
        assert self.mood.calls == []
        assert node is self.forest.lookup(name, target)

        def renamed(old: str) -> str:
            inside = old == path or old.startswith(f"{path}/")
            return target + old[len(path) :] if inside else old

        model.containers = {renamed(p): files for p, files in model.containers.items()}
        model.busy = {renamed(p): times for p, times in model.busy.items()}
        for places in self.tasks.values():
            places[name] = renamed(places[name])

    @precondition(lambda self: self.hierarchies)
    @rule(data=st.data(), more=st.booleans())
    def keep_busy(self, data: st.DataObject, more: bool) -> None:
        """A subsystem takes or drops a reference to a container."""
        name = data.draw(st.sampled_from(sorted(self.hierarchies)))
        model = self.hierarchies[name]
        path = data.draw(st.sampled_from(sorted(model.containers)))
        change = 1 if more else -min(1, model.busy.get(path, 0))
        model.busy[path] = model.busy.get(path, 0) + change
        container = self.forest.lookup(name, path)
        if change:
            (container.keep if more else container.let_go)()
        elif not container.busy:
            with pytest.raises(ValueError, match="more often than kept"):
                container.let_go()

    @precondition(lambda self: self.hierarchies)
    @rule(data=st.data(), inherit=st.booleans())
    def set_notify_on_release(self, data: st.DataObject, inherit: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.hierarchies)))
        self.forest.hierarchy(name).root.notify_on_release = inherit

    @precondition(lambda self: self.hierarchies)
    @rule(data=st.data(), value=values)
    def write(self, data: st.DataObject, value: int | str) -> None:
        name = data.draw(st.sampled_from(sorted(self.hierarchies)))
        model = self.hierarchies[name]
        path = data.draw(st.sampled_from(sorted(model.containers)))
        assume(self.refusing("populate", model.subsystems) is None)
        label = data.draw(st.sampled_from((*model.subsystems, "zeta")))
        subsystem = kind_of(label)
        kind = data.draw(st.sampled_from(["limit", "held", "set"]))
        parsed, expected = (
            parse(subsystem, kind, value) if label in model.subsystems else None,
            0,
        )
        if label not in model.subsystems or kind not in files_of(subsystem):
            expected = errno.ENOENT
        elif kind == "held":
            expected = errno.EACCES
        elif parsed is None:
            expected = errno.EINVAL
        container, file = self.forest.lookup(name, path), f"{subsystem}.{kind}"
        self.attempt(expected, lambda: self.forest.write(container, file, value))
        if not expected:
            model.containers[path][label] = parsed

    # -- tasks ---------------------------------------------------------------------

    def populate(self) -> None:
        tally = Tally(group.id for group in self.real.values())
        empty = self.forest.populate(tally)
        assert {g.id for g in empty} == {g.id for g in self.forest.groups} - set(tally)

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """A job is placed: a path in some hierarchies, the root in the others."""
        places = {
            name: data.draw(st.sampled_from(sorted(model.containers)))
            for name, model in self.hierarchies.items()
        }
        named = data.draw(st.sets(st.sampled_from(sorted(places)))) if places else set()
        chosen = [self.forest.lookup(name, places[name]) for name in sorted(named)]
        self.last_pid += 1
        self.real[self.last_pid] = self.forest.group(chosen)
        self.tasks[self.last_pid] = {n: p if n in named else "/" for n, p in places.items()}

    @precondition(lambda self: any(len(h.containers) > 1 for h in self.hierarchies.values()))
    @rule()
    def two_containers_of_one_hierarchy(self) -> None:
        name = next(n for n, h in self.hierarchies.items() if len(h.containers) > 1)
        pair = list(self.forest.hierarchy(name).containers())[:2]
        self.attempt(errno.EINVAL, lambda: self.forest.group(pair))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), exits=st.booleans())
    def fork_or_exit(self, data: st.DataObject, exits: bool) -> None:
        pid = data.draw(st.sampled_from(sorted(self.tasks)))
        if exits:
            del self.tasks[pid], self.real[pid]
            return
        self.last_pid += 1
        self.tasks[self.last_pid] = dict(self.tasks[pid])
        self.real[self.last_pid] = self.real[pid]

    @precondition(lambda self: self.tasks and self.hierarchies)
    @rule(data=st.data())
    def attach(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.tasks)))
        name = data.draw(st.sampled_from(sorted(self.hierarchies)))
        model = self.hierarchies[name]
        path = data.draw(st.sampled_from(sorted(model.containers)))
        refused_at = self.refusing("can_attach", model.subsystems)
        expected = self.refusal("can_attach", model.subsystems)
        container = self.forest.lookup(name, path)
        group = self.attempt(expected, lambda: self.forest.move(self.real[pid], container, pid))
        if refused_at is not None:
            self.check_undone("can_attach", "cancel_attach", model.subsystems, refused_at, path)
        else:
            assert self.mood.calls == [Call("can_attach", s, path) for s in model.subsystems]
            self.tasks[pid][name] = path
            self.real[pid] = group

    @precondition(lambda self: self.real)
    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        """A job is about to be started in a group: all its subsystems are asked, or none agrees."""
        group = data.draw(st.sampled_from(sorted(self.real.values(), key=lambda g: g.id)))
        asked = [
            (label, container.path)
            for container in group.containers
            for label in self.hierarchies[container.hierarchy.name].subsystems
        ]
        refused_at = self.refusing("can_fork", [label for label, _ in asked])
        expected = self.refusal("can_fork", [label for label, _ in asked])
        self.attempt(expected, lambda: self.forest.admit(group))
        end = len(asked) if refused_at is None else refused_at + 1
        calls = [Call("can_fork", *call) for call in asked[:end]]
        if refused_at is not None:
            calls += [Call("cancel_fork", *call) for call in reversed(asked[:refused_at])]
        assert self.mood.calls == calls

    @rule(callback=st.sampled_from(MAY_REFUSE), name=st.sampled_from(LABELS))
    def change_mood(self, callback: str, name: str) -> None:
        """A subsystem begins or ceases to refuse a callback."""
        self.mood.refuses ^= {(callback, name)}

    @rule(
        callback=st.sampled_from((*MAY_REFUSE, *CANNOT_REFUSE)),
        name=st.sampled_from(LABELS),
    )
    def break_or_mend(self, callback: str, name: str) -> None:
        """A subsystem begins or ceases to fail in a callback, by a mistake in it."""
        self.mood.fails ^= {(callback, name)}

    # -- what always holds ---------------------------------------------------------

    @invariant()
    def the_trees_are_the_models(self) -> None:
        assert list(self.forest.hierarchies) == list(self.hierarchies)
        for name, model in self.hierarchies.items():
            containers = list(self.forest.hierarchy(name).containers())
            assert {c.path for c in containers} == set(model.containers)
            for container in containers:
                assert self.forest.lookup(name, container.path) is container
                assert set(container.states) == set(map(kind_of, model.subsystems))
            assert self.forest.hierarchy(name).labels == model.subsystems
        nodes = sum(len(h.subsystems) * len(h.containers) for h in self.hierarchies.values())
        assert self.forest.unbound.labels == list(self.unbound)
        assert list(self.forest.unbound.root.states) == list(self.unbound)
        assert len(self.mood.alive) == nodes + len(self.unbound), "a state was lost or left behind"

    @invariant()
    def every_task_is_in_the_group_of_its_containers(self) -> None:
        for pid, places in self.tasks.items():
            group = self.real[pid]
            assert self.forest.groups.get(group.id) is group
            assert group.containers == tuple(
                self.forest.lookup(name, places[name]) for name in self.hierarchies
            )
        combinations = {tuple(sorted(places.items())) for places in self.tasks.values()}
        assert len({id(group) for group in self.real.values()}) == len(combinations)

    @invariant()
    def groups_are_interned_and_counted(self) -> None:
        groups = list(self.forest.groups)
        assert len({group.containers for group in groups}) == len(groups) == len(self.forest.groups)
        below: dict[Container, dict[int, Group]] = {}
        for group in groups:
            for container in group.containers:
                for node in container.ancestors():
                    below.setdefault(node, {})[group.id] = group
        for name in self.hierarchies:
            for container in self.forest.hierarchy(name).containers():
                assert container.groups == below.pop(container, {})
                assert self.forest.groups_of(container) == [
                    group for group in container.groups.values() if container in group.containers
                ]
        assert not below, "a group refers to a container that is gone"
        for group in groups:
            assert self.forest.groups.find(group.containers) is group
        assert len(self.forest.groups) == len(groups)

    @invariant()
    def plans_are_what_a_naive_compiler_makes(self) -> None:
        for group in self.forest.groups:
            charges: dict[str, list[int]] = {}
            counts: dict[str, list[int]] = {}
            confined: frozenset[int] | None = None
            meters = []
            for place in group.containers:
                model = self.hierarchies[place.hierarchy.name]
                for path in ancestors_of(place.path):
                    states = self.forest.lookup(place.hierarchy.name, path).states
                    for label in model.subsystems:
                        written = model.containers[path].get(label)
                        name = kind_of(label)
                        if name in COUNTED:
                            id_ = getattr(states[name], "id")  # noqa: B009
                            counts.setdefault(COUNTED[name], []).append(id_)
                            if written not in (None, UNLIMITED):
                                charges.setdefault(COUNTED[name], []).append(id_)
                        elif name == "delta":
                            own = frozenset(range(10)) if written is None else written
                            confined = own if confined is None else confined & own
                        else:
                            meters.append(id(states[name]))
            if confined is not None and not confined:
                with pytest.raises(GovernorError) as caught:
                    compile_plan(group)
                assert caught.value.errno == errno.ENOSPC
                continue
            plan = compile_plan(group)
            assert {r: sorted(ids) for r, ids in plan.charges.items()} == sort(charges)
            assert {r: sorted(ids) for r, ids in plan.counts.items()} == sort(counts)
            assert plan.confined == ({} if confined is None else {"digits": sorted(confined)})
            assert sorted(map(id, plan.meters)) == sorted(meters)


TestForest = ForestMachine.TestCase
TestForest.settings = settings(max_examples=300, stateful_step_count=30)
