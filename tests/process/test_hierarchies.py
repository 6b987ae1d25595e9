"""Several hierarchies at once: charges and refusals land where they belong."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import governor
from governor.api import Container, Governor, Hierarchy
from governor.errors import GovernorError
from tests.process.helpers import eventually, puppet, run_job

pytestmark = pytest.mark.once

HOARDER = """
import os, threading
files = tasks = 0
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
        files += 1
except OSError as error:
    print(error.errno)
never = threading.Event()
try:
    while True:
        threading.Thread(target=never.wait, daemon=True).start()
        tasks += 1
except RuntimeError:
    print("no thread")
print(files, 1 + tasks, flush=True)
os._exit(0)
"""

TOYS = 8
TOY_MODULE = """
from governor.subsystem import CountedSubsystem

class Toy(CountedSubsystem):
    resource = "tasks"
    traps = frozenset({"tasks"})
    facility = "tasks"

for number in range(8):
    globals()[f"Toy{number}"] = type(f"Toy{number}", (Toy,), {"name": f"toy{number}"})
"""


# -- one process, two hierarchies ---------------------------------------------------------


def test_one_process_is_refused_tasks_by_one_and_files_by_the_other(gov: Governor) -> None:
    students = gov.mount("users", ["numtasks"]).mkdir("/students")
    builds = gov.mount("kinds", ["numfiles"]).mkdir("/builds")
    students["numtasks.limit"] = 7
    builds["numfiles.limit"] = 40
    result, output = run_job(gov, [sys.executable, "-c", HOARDER], [students, builds])
    assert result.exit_code == 0
    error, refused, numbers = output.splitlines()
    files, tasks = map(int, numbers.split())
    assert (int(error), refused) == (errno.EMFILE, "no thread")
    # Its own streams are files of the group's as well.
    assert 30 <= files < 40
    assert tasks == 7
    assert (students["numtasks.failcnt"], builds["numfiles.failcnt"]) == (1, 1)
    assert students["numtasks.maxheld"] == 7
    assert builds["numfiles.maxheld"] == 40


def test_two_jobs_share_a_container_in_one_hierarchy_and_not_in_the_other(gov: Governor) -> None:
    users = gov.mount("users", ["numtasks"])
    kinds = gov.mount("kinds", ["numfiles"])
    ann, bob = users.mkdir("/ann"), users.mkdir("/bob")
    builds = kinds.mkdir("/builds")
    ann["numtasks.limit"] = 3
    with puppet(gov, ann, builds) as one, ExitStack() as later:
        one.fill(2)
        assert one.is_refused()
        files = int(builds["numfiles.held"])
        other = later.enter_context(puppet(gov, bob, builds))
        other.fill(5)
        assert [c["numtasks.held"] for c in (users.root, ann, bob)] == [9, 3, 6]
        assert sorted(builds.tasks) == sorted([*ann.tasks, *bob.tasks])
        # The other puppet has two pipes of its own; whatever else they inherit they share.
        assert builds["numfiles.held"] == files + 2


def test_job_is_in_the_root_of_a_hierarchy_that_it_was_not_placed_in(gov: Governor) -> None:
    users = gov.mount("users", ["numtasks"])
    kinds = gov.mount("kinds", ["numfiles"])
    with puppet(gov, users.mkdir("/ann")) as job:
        assert kinds.root.tasks == [job.pid]
        assert users.root.tasks == []


def test_only_one_container_of_a_hierarchy(gov: Governor) -> None:
    users = gov.mount("users", ["numtasks"])
    with pytest.raises(GovernorError, match="one hierarchy") as caught:
        gov.spawn(["true"], containers=[users.mkdir("/ann"), users.mkdir("/bob")])
    assert caught.value.errno == errno.EINVAL


def test_container_with_a_process_cannot_be_removed(gov: Governor) -> None:
    ann = gov.mount("users", ["numtasks"]).mkdir("/ann")
    with puppet(gov, ann):
        with pytest.raises(GovernorError, match="/ann") as caught:
            ann.rmdir()
        assert caught.value.errno == errno.EBUSY
    assert ann["numtasks.limit"] == "max"


def test_a_container_and_one_above_it_are_removed_at_once(gov: Governor) -> None:
    """Whoever removes the one below is told of success as well, whoever comes first."""
    outer = gov.mount("users", ["numtasks"]).mkdir("/outer")
    inner = outer.mkdir("inner")
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    ready, theirs = os.pipe()
    gov.spawn([sys.executable, "-c", code], containers=[inner], stdout=theirs)
    assert os.read(ready, 1)
    os.close(ready)
    os.close(theirs)
    with ThreadPoolExecutor(1) as threads:
        removal = threads.submit(inner.remove, kill=True, grace=60.0)
        eventually(lambda: _is_being_removed(inner), "the removal has begun")
        with pytest.raises(GovernorError, match="inner is being removed"):
            outer.remove(recursive=True)
        outer.remove(recursive=True, kill=True, grace=0.0)
        removal.result()
    assert not gov.hierarchy("users").root.children


def _is_being_removed(container: Container) -> bool:
    with pytest.raises(GovernorError) as caught:
        container.rmdir()
    return "is being removed" in caught.value.message


# -- eight hierarchies that all count tasks -----------------------------------------------


@pytest.fixture
def toys(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Governor, list[Hierarchy]]]:
    """Eight subsystems of another package, each counting tasks in a hierarchy of its own."""
    (tmp_path / "some_toys.py").write_text(TOY_MODULE)
    metadata = tmp_path / "some_toys-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-toys\nVersion: 1.0\n")
    points = [f"toy{number} = some_toys:Toy{number}\n" for number in range(TOYS)]
    (metadata / "entry_points.txt").write_text("[governor.subsystems]\n" + "".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    with governor.Governor() as gov:
        yield gov, [gov.mount(f"h{number}", [f"toy{number}"]) for number in range(TOYS)]


def test_limit_of_any_of_eight_hierarchies_is_met(
    toys: tuple[Governor, list[Hierarchy]],
) -> None:
    gov, hierarchies = toys
    boxes = [hierarchy.mkdir("/a").mkdir("b").mkdir("c") for hierarchy in hierarchies]
    with puppet(gov, *boxes) as job:
        job.fill(2)
        for number, (box, hierarchy) in enumerate(zip(boxes, hierarchies, strict=True)):
            held = f"toy{number}.held"
            parent = hierarchy["/a"]
            limited: Container = box if number % 2 else parent
            limited[f"toy{number}.limit"] = 3
            assert job.is_refused()
            assert job.is_refused("t")
            assert limited[f"toy{number}.failcnt"] == 2
            assert [c[held] for c in (hierarchy.root, parent, box)] == [3, 3, 3]
            limited[f"toy{number}.limit"] = "max"
            assert not job.is_refused()
            job.end()
        failures = {
            (report.hierarchy, report.path): value
            for report in gov.containers()
            for file, value in report.files.items()
            if file.endswith(".failcnt") and value
        }
        expected = {(f"h{n}", "/a/b/c" if n % 2 else "/a"): 2 for n in range(TOYS)}
        assert failures == expected


def test_process_moves_in_one_of_eight_hierarchies(
    toys: tuple[Governor, list[Hierarchy]],
) -> None:
    gov, hierarchies = toys
    boxes = [hierarchy.mkdir("/a") for hierarchy in hierarchies]
    others = [hierarchy.mkdir("/b") for hierarchy in hierarchies]
    others[5]["toy5.limit"] = 2
    with puppet(gov, *boxes) as job:
        job.make()
        others[5].attach(job.pid)
        assert not job.is_refused()
        assert job.is_refused()
        in_boxes = [box[f"toy{number}.held"] for number, box in enumerate(boxes)]
        in_others = [other[f"toy{number}.held"] for number, other in enumerate(others)]
        assert in_boxes == [3, 3, 3, 3, 3, 1, 3, 3]
        assert in_others == [0, 0, 0, 0, 0, 2, 0, 0]
        assert others[5]["toy5.failcnt"] == 1
