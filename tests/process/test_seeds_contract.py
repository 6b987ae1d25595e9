"""The contract of subsystems in a real governor: three toys that refuse, or fail, on demand.

They come from a package of somebody else's. What one of them refuses must leave processes, tags,
counts and files as they were; where one may not refuse, its failure must be nobody else's.
"""

from __future__ import annotations

import errno
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import governor
import subsystems
from governor.api import Container, Governor, Hierarchy
from tests.process.helpers import DEADLINE, eventually, puppet
from workers import membership

pytestmark = pytest.mark.once

TOYS = ("toy1", "toy2", "toy3")
OWN = [
    module.name for module in pkgutil.iter_modules(subsystems.__path__) if "_" not in module.name
]
MODULE = """
import errno
from pathlib import Path

from governor.errors import GovernorError
from governor.subsystem import ControlFile, CountedSubsystem

HERE = Path(__file__).parent


def decide(callback, toy):
    mood = (HERE / "mood").read_text().splitlines()
    if f"{callback} {toy.label} refuses" in mood:
        raise GovernorError(errno.EXFULL, f"{toy.label} refuses")
    if f"{callback} {toy.label} fails" in mood:
        raise ZeroDivisionError(callback)


def told(callback):
    def method(self, container, *args):
        with open(HERE / "calls", "a") as calls:
            print(callback, self.label, container.path, file=calls)
        decide(callback, self)
        return getattr(CountedSubsystem, callback)(self, container, *args)

    return method


class Toy(CountedSubsystem):
    resource = "tasks"
    traps = frozenset({"tasks"})
    facility = "tasks"
    interval = 0.05

    def contribute(self, plan, container):
        decide("contribute", self)
        super().contribute(plan, container)

    def populate(self):
        decide("populate", self)

        def keep(container, wanted):
            (container.keep if wanted else container.let_go)()

        return {**super().populate(), f"{self.name}.keep": ControlFile(lambda c: c.busy, int, keep)}

    def lapsed(self, container):
        decide("lapsed", self)
        return False

    def sampled(self, root, host):
        decide("sampled", self)
        return ()


for callback in (
    "create destroy bind can_attach cancel_attach attach post_attach can_fork cancel_fork fork exit"
).split():
    setattr(Toy, callback, told(callback))
for name in ("toy1", "toy2", "toy3"):
    globals()[name.title()] = type(name.title(), (Toy,), {"name": name})
"""


class Call(NamedTuple):
    """A callback that came to a toy."""

    callback: str
    toy: str
    path: str


class Toys:
    """The governor with the toys, what they are to do, and what came to them."""

    def __init__(self, gov: Governor, directory: Path) -> None:
        self.gov = gov
        self._mood = directory / "mood"
        self._calls = directory / "calls"
        self.good()

    def bad(self, callback: str, toy: str, how: str) -> None:
        """From now on a toy ``refuses`` a callback or ``fails`` in it; what came is forgotten."""
        self.good()
        self.worse(callback, toy, how)

    def worse(self, callback: str, toy: str, how: str) -> None:
        """As `bad`, beside what there is already."""
        with self._mood.open("a") as mood:
            print(callback, toy, how, file=mood)

    def good(self) -> None:
        """Nobody refuses anything; what came is forgotten."""
        self._mood.write_text("")
        self._calls.write_text("")

    def calls(self, *callbacks: str) -> list[Call]:
        """What came to the toys, of these callbacks only."""
        rows = [Call(*line.split()) for line in self._calls.read_text().splitlines()]
        return [row for row in rows if row.callback in callbacks]

    def all(self, callback: str, path: str) -> list[Call]:
        """A callback as it comes to all toys in turn."""
        return [Call(callback, toy, path) for toy in TOYS]


@pytest.fixture
def toys(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    (tmp_path / "moody_toys.py").write_text(MODULE)
    metadata = tmp_path / "moody_toys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: moody-toys\nVersion: 1.0\n")
    points = [f"{name} = moody_toys:{name.title()}\n" for name in TOYS]
    (metadata / "entry_points.txt").write_text("[governor.subsystems]\n" + "".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    with governor.Governor() as gov:
        yield Toys(gov, tmp_path)


@pytest.fixture
def one(toys: Toys) -> Hierarchy:
    return toys.gov.mount("one", [*TOYS])


def everything(gov: Governor, *pids: int) -> list[Any]:
    """All that a change may change: trees, files with their values, members, tags, places."""
    roots = [gov.hierarchy(report.name).root for report in gov.hierarchies()[1:]]
    return [
        [report[:4] for report in gov.hierarchies()],  # groups are kept once they are made
        gov.containers(),
        [(container.path, container.tasks) for root in roots for container in walk(root)],
        [membership.read(pid) for pid in pids],
        [gov.where(pid) for pid in pids],
    ]


def walk(container: Container) -> Iterator[Container]:
    yield container
    for child in container.children:
        yield from walk(child)


def undone(toys: Toys, callback: str, undo: str, at: int, path: str) -> None:
    """Those before the one that refused were asked in order and told in reverse, nobody else."""
    asked = [Call(callback, toy, path) for toy in TOYS[: at + 1]]
    told = [Call(undo, toy, path) for toy in reversed(TOYS[:at])]
    assert toys.calls(callback, undo) == asked + told


every_toy = pytest.mark.parametrize("at", [0, 1, 2])
every_way = pytest.mark.parametrize(
    ("how", "number"), [("refuses", errno.EXFULL), ("fails", errno.EIO)]
)


def test_all_is_everybody_whoever_offers_it(toys: Toys) -> None:
    gov = toys.gov
    before = gov.hierarchies()
    for labels, number in ((["all", "nothing"], errno.ENOENT), (["all", "toy1@x"], errno.EINVAL)):
        with pytest.raises(governor.GovernorError) as caught:
            gov.mount("one", labels)
        assert caught.value.errno == number
        assert gov.hierarchies() == before
    one = gov.mount("one", ["all", "numtasks"])
    assert one.subsystems == sorted([*TOYS, *OWN])
    assert toys.calls("create") == toys.all("create", "/")


# -- who may refuse -----------------------------------------------------------------------


@every_toy
@every_way
def test_a_refused_mount_or_mkdir_leaves_nothing(
    toys: Toys, at: int, how: str, number: int
) -> None:
    gov = toys.gov
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    with puppet(gov, box) as job:
        before = everything(gov, job.pid)
        for callback in ("create", "populate"):
            toys.bad(callback, TOYS[at], how)
            with pytest.raises(governor.GovernorError) as caught:
                gov.mount("one", [*TOYS])
            assert caught.value.errno == number
            if callback == "create":
                undone(toys, "create", "destroy", at, "/")
            assert everything(gov, job.pid) == before
        toys.good()
        one = gov.mount("one", [*TOYS])
        before = everything(gov, job.pid)
        toys.bad("create", TOYS[at], how)
        with pytest.raises(governor.GovernorError) as caught:
            one.mkdir("/x")
        assert caught.value.errno == number
        undone(toys, "create", "destroy", at, "/x")
        assert everything(gov, job.pid) == before
        toys.good()
        one.mkdir("/x")
        assert toys.calls("create") == toys.all("create", "/x")


@every_way
def test_a_refused_remount_leaves_what_was_bound(toys: Toys, how: str, number: int) -> None:
    gov = toys.gov
    load = gov.mount("load", ["numtasks", "numfiles"])
    load.root["numtasks.limit"] = 9
    with puppet(gov) as job:
        before = everything(gov, job.pid)
        toys.bad("create", "toy2", how)
        with pytest.raises(governor.GovernorError) as caught:
            load.remount(["numfiles", *TOYS])
        assert caught.value.errno == number
        undone(toys, "create", "destroy", 1, "/")
        assert everything(gov, job.pid) == before
        toys.good()
        load.remount(["numfiles", *TOYS])
        assert load.subsystems == ["numfiles", *TOYS]
        assert toys.calls("bind") == toys.all("bind", "/")


@every_toy
@every_way
def test_a_refused_move_moves_nothing(
    toys: Toys, one: Hierarchy, at: int, how: str, number: int
) -> None:
    gov = toys.gov
    x, y = one.mkdir("/x"), one.mkdir("/y")
    x["toy1.limit"] = 3
    with puppet(gov, x) as job:
        child = job.make()
        before = everything(gov, job.pid, child)
        toys.bad("can_attach", TOYS[at], how)
        with pytest.raises(governor.GovernorError) as caught:
            y.attach(job.pid)
        assert caught.value.errno == number
        undone(toys, "can_attach", "cancel_attach", at, "/y")
        assert toys.calls("attach", "post_attach") == []
        assert everything(gov, job.pid, child) == before
        toys.bad("contribute", TOYS[at], how)  # all agree, and then there is no plan
        with pytest.raises(governor.GovernorError) as caught:
            y.attach(job.pid)
        assert caught.value.errno == number
        assert toys.calls("cancel_attach") == toys.all("cancel_attach", "/y")[::-1]
        toys.good()
        assert everything(gov, job.pid, child) == before
        job.make()
        assert job.is_refused()  # the limit of /x still holds


@every_toy
@every_way
def test_a_refused_job_is_not_started(
    toys: Toys, one: Hierarchy, at: int, how: str, number: int
) -> None:
    gov = toys.gov
    x = one.mkdir("/x")
    before = everything(gov)
    toys.bad("can_fork", TOYS[at], how)
    with pytest.raises(governor.GovernorError) as caught:
        gov.spawn(["true"], containers=[x])
    assert caught.value.errno == number
    undone(toys, "can_fork", "cancel_fork", at, "/x")
    toys.bad("contribute", TOYS[at], how)
    with pytest.raises(governor.GovernorError) as caught:
        gov.spawn(["true"], containers=[x])
    assert caught.value.errno == number
    assert toys.calls("cancel_fork") == toys.all("cancel_fork", "/x")
    toys.good()
    assert everything(gov) == before
    assert gov.jobs() == []
    x.rmdir()


@every_way
def test_a_refused_value_is_not_kept(toys: Toys, one: Hierarchy, how: str, number: int) -> None:
    x = one.mkdir("/x")
    x["toy1.limit"] = 2
    with puppet(toys.gov, x) as job:
        before = everything(toys.gov, job.pid)
        toys.bad("contribute", "toy3", how)
        with pytest.raises(governor.GovernorError) as caught:
            x["toy1.limit"] = 5
        assert caught.value.errno == errno.EBUSY
        toys.good()
        assert everything(toys.gov, job.pid) == before
        job.make()
        assert job.is_refused()


@every_way
def test_no_refused_value_is_kept_of_any_file(toys: Toys, how: str, number: int) -> None:
    gov = toys.gov
    root = gov.mount("both", ["numtasks", "physpages", *TOYS]).root
    box = root.mkdir("box")
    box["numtasks.shares"] = "min_shares=10,max_shares=50"
    box["numtasks.limit"] = 9
    with puppet(gov, box) as job:
        before = everything(gov, job.pid)
        toys.bad("contribute", "toy3", how)
        for container, file, value in (
            (root, "numtasks.total", 100),
            (root, "numtasks.forkrate", 100),
            (root, "numtasks.forkrate_interval", 10),
            (box, "numtasks.shares", "min_shares=20,child_shares_divisor=1000"),
            (box, "numtasks.barrier", 5),
            (box, "numtasks.limit", 20),
            (box, "physpages.limit", "1G"),
            (box, "physpages.action", "kill"),
        ):
            with pytest.raises(governor.GovernorError) as caught:
                container[file] = value
            assert caught.value.errno == errno.EBUSY, file
        toys.good()
        after = everything(gov, job.pid)
        assert no_memory(after) == no_memory(before)
        box["numtasks.shares"] = "min_shares=100,max_shares=100"  # none of it was used up


def no_memory(figures: list[Any]) -> list[Any]:
    """Without figures of resident memory, which change by themselves."""
    for report in figures[1]:
        for name in ("held", "maxheld", "minheld"):
            report.files.pop(f"physpages.{name}", None)
    return figures


@every_way
def test_who_runs_already_keeps_its_plan_when_there_is_no_other(
    toys: Toys, how: str, number: int
) -> None:
    """A mount moves nobody and so is not refused for them; what cannot hold is said."""
    gov = toys.gov
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 2
    with puppet(gov, box) as job:
        toys.bad("contribute", "toy2", how)
        one = gov.mount("one", [*TOYS])
        said = [e.path for e in events_so_far(gov) if e.kind == "unenforced"]
        assert set(said) == {"/", "/box"}
        job.make()
        assert job.is_refused()
        toys.good()
        one.root["toy1.limit"] = "max"  # from here on there is a plan
        assert one.root["toy1.held"] == 2
        box["numtasks.limit"] = "max"
        one.root["toy1.limit"] = 3
        job.make()
        assert job.is_refused()


def events_so_far(gov: Governor) -> list[governor.api.Event]:
    """Everything up to a hierarchy that is made to be seen."""
    gov.mount("end", ["numflock"])
    events = []
    for event in gov.events(after=0):
        events.append(event)
        if (event.kind, event.hierarchy) == ("mount", "end"):
            break
    gov.umount("end")
    return events


# -- who may not --------------------------------------------------------------------------


def test_all_are_told_of_a_job(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    toys.good()
    toys.gov.spawn(["true"], containers=[x]).wait(DEADLINE)
    assert toys.calls("can_fork", "fork", "exit", "cancel_fork") == [
        *toys.all("can_fork", "/x"),
        *toys.all("fork", "/x"),
        *toys.all("exit", "/x"),
    ]


def test_a_job_without_room_is_taken_back(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    x["toy2.limit"] = 0
    toys.good()
    assert toys.gov.spawn(["true"], containers=[x]).wait(DEADLINE).error is not None
    assert toys.calls("can_fork", "fork", "exit", "cancel_fork") == [
        *toys.all("can_fork", "/x"),
        *toys.all("cancel_fork", "/x"),
    ]


def test_the_end_is_told_where_the_process_was_last(toys: Toys, one: Hierarchy) -> None:
    x, y = one.mkdir("/x"), one.mkdir("/y")
    job = toys.gov.spawn(["sleep", "1000"], containers=[x])
    y.attach(job.pid)
    job.kill()
    job.wait(DEADLINE)
    assert toys.calls("exit") == toys.all("exit", "/y")


def test_all_are_told_of_a_move_and_nobody_when_there_is_none(toys: Toys, one: Hierarchy) -> None:
    x, y = one.mkdir("/x"), one.mkdir("/y")
    with puppet(toys.gov, x) as job:
        toys.good()
        x.attach(job.pid)
        assert toys.calls("can_attach", "attach", "post_attach") == []
        y.attach(job.pid)
        assert toys.calls("can_attach", "attach", "post_attach") == [
            *toys.all("can_attach", "/y"),
            *toys.all("attach", "/y"),
            *toys.all("post_attach", "/y"),
        ]


def job_in(toys: Toys, box: Container) -> None:
    toys.gov.spawn(["true"], containers=[box]).wait(DEADLINE)


@pytest.mark.parametrize("callback", ["fork", "exit", "attach", "post_attach", "destroy", "bind"])
def test_the_failure_of_one_is_not_the_others(toys: Toys, one: Hierarchy, callback: str) -> None:
    gov = toys.gov
    with puppet(gov) as job:
        toys.bad(callback, "toy2", "fails")
        x = one.mkdir("/x")
        job_in(toys, x)
        x.attach(job.pid)
        assert x.tasks == [job.pid]
        one.root.attach(job.pid)
        x.rmdir()
        gov.umount("one")
        seen = [call.toy for call in toys.calls(callback)]
        assert set(seen) == set(TOYS)
        assert len({seen.count(toy) for toy in TOYS}) == 1
        assert [h.subsystems for h in gov.hierarchies()] == [[*TOYS]]
        job.make()


def test_the_failure_to_take_back_is_not_the_others(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    with puppet(toys.gov) as job:
        toys.bad("can_attach", "toy3", "refuses")
        toys.worse("cancel_attach", "toy2", "fails")
        toys.worse("can_fork", "toy3", "refuses")
        toys.worse("cancel_fork", "toy2", "fails")
        toys.worse("destroy", "toy2", "fails")
        with pytest.raises(governor.GovernorError) as caught:
            x.attach(job.pid)
        assert caught.value.errno == errno.EXFULL
        undone(toys, "can_attach", "cancel_attach", 2, "/x")
        with pytest.raises(governor.GovernorError) as caught:
            toys.gov.spawn(["true"], containers=[x])
        assert caught.value.errno == errno.EXFULL
        undone(toys, "can_fork", "cancel_fork", 2, "/x")
        toys.worse("create", "toy3", "refuses")
        with pytest.raises(governor.GovernorError) as caught:
            one.mkdir("/y")
        assert caught.value.errno == errno.EXFULL
        assert toys.calls("destroy") == [Call("destroy", toy, "/y") for toy in ("toy2", "toy1")]
        assert one.root.tasks == [job.pid]


def test_a_failing_look_at_the_figures_harms_nobody(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    x["toy1.limit"] = 2
    with puppet(toys.gov, x) as job:
        toys.bad("sampled", "toy1", "fails")
        job.make()
        assert (x["toy1.held"], x["toy3.held"]) == (2, 2)
        assert job.is_refused()


def test_a_failing_word_on_its_level_is_not_called_enforced(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    with puppet(toys.gov, x):
        toys.bad("lapsed", "toy2", "fails")
        (level,) = (report.level for report in toys.gov.containers() if report.path == "/x")
        assert level == {"toy1": "enforced", "toy2": "partial", "toy3": "enforced"}


# -- references ---------------------------------------------------------------------------


def test_what_a_subsystem_keeps_is_not_removed(toys: Toys, one: Hierarchy) -> None:
    x = one.mkdir("/x")
    x["auto_remove"] = 1
    x["toy1.keep"] = 1
    x["toy2.keep"] = 1
    job_in(toys, x)
    for let_go in ("toy1.keep", "toy2.keep"):
        with pytest.raises(governor.GovernorError) as caught:
            x.rmdir()
        assert caught.value.errno == errno.EBUSY
        x[let_go] = 0
    eventually(lambda: one.root.children == [], "the container goes when nothing keeps it")


def test_an_agent_that_is_refused_is_said_and_ends_nothing(toys: Toys, one: Hierarchy) -> None:
    """A release agent is a job: a subsystem may refuse it, and must not bring all down."""
    x = one.mkdir("/x")
    x["notify_on_release"] = 1
    one.root["release_agent"] = "/bin/true"
    with puppet(toys.gov, x):
        toys.bad("can_fork", "toy2", "refuses")
    failed = next(event for event in toys.gov.events(after=0) if event.kind == "release-failed")
    assert (failed.path, "toy2 refuses" in str(failed.fields["reason"])) == ("/x", True)
    toys.good()
    job_in(toys, x)
    eventually(lambda: len(toys.gov.jobs()) == 3, "the next time it is run")
