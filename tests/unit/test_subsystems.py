"""Our own subsystems: their files, their rules, and what must stay true of their source."""

from __future__ import annotations

import ast
import errno
import io
import os
import pkgutil
import re
import tokenize
from pathlib import Path

import pytest

import governor.core
import subsystems
from governor import registry
from governor.core.forest import Forest, control_files
from governor.core.plan import compile_plan
from governor.core.usage import Meter
from governor.errors import GovernorError
from governor.subsystem import CountedSubsystem
from governor.units import format_cpus

MODULES = sorted(module.name for module in pkgutil.iter_modules(subsystems.__path__))
OWN = [name for name in MODULES if not name.startswith("_")]
LINES_MAX = 110
SOURCES = Path(subsystems.__path__[0])
CORE = Path(governor.core.__path__[0])

CPUS = sorted(os.sched_getaffinity(0))
two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="the machine lets us use one CPU only")


@pytest.fixture
def forest() -> Forest:
    return Forest(registry.load)


def test_they_are_there() -> None:
    assert {"cpuacct", "cpuset", "memset", "numfiles", "numtasks"} <= set(OWN)


# -- the source ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_a_file_of_a_subsystem_is_small(name: str) -> None:
    assert len((SOURCES / f"{name}.py").read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", OWN)
def test_a_subsystem_says_what_it_does_not_promise(name: str) -> None:
    source = (SOURCES / f"{name}.py").read_text()
    head = ast.get_docstring(ast.parse(source)) or ""
    assert head.startswith(f"{name}: ")
    assert "Not promised:" in head


def words(source: str) -> set[str]:
    """Identifiers and words in strings and comments of a source text."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {word for token in tokens for word in re.findall(r"\w+", token.string)}


@pytest.mark.parametrize("file", sorted(CORE.glob("*.py")), ids=lambda path: path.name)
def test_the_core_never_names_a_subsystem(file: Path) -> None:
    assert words(file.read_text()).isdisjoint(OWN)


# -- all of them --------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
def test_it_mounts_nests_and_goes_without_a_trace(forest: Forest, name: str) -> None:
    hierarchy = forest.mount("one", [name])
    container = forest.mkdir("one", "/a")
    group = forest.group([container])
    compile_plan(group)
    files = control_files(hierarchy.root)
    assert all(file.startswith(f"{name}.") for file in files)
    for file in files.values():
        assert isinstance(file.read(container), int | str)
        assert (file.write is None) == (file.parse is None)
    forest.rmdir("one", "/a")
    assert forest.umount("one")


@pytest.mark.parametrize("name", OWN)
def test_what_it_writes_it_reads_back(forest: Forest, name: str) -> None:
    hierarchy = forest.mount("one", [name])
    child = forest.mkdir("one", "/a")
    files = control_files(hierarchy.root) | control_files(child)
    for file_name, file in files.items():
        if file.writable:
            container = hierarchy.root if file.on == "root" else child
            value = file.read(container)
            forest.write(container, file_name, value)
            assert file.read(container) == value


# -- counted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "resource", "trap"),
    [
        ("numtasks", "tasks", "tasks"),
        ("numfiles", "files", "files"),
        ("numsock", "sockets", "sockets"),
        ("numpty", "ptys", "ptys"),
        ("numflock", "locks", "locks"),
    ],
)
def test_a_counted_resource(forest: Forest, name: str, resource: str, trap: str) -> None:
    subsystem = registry.load(name)
    assert isinstance(subsystem, CountedSubsystem)
    assert (subsystem.resource, subsystem.traps) == (resource, frozenset({trap}))
    hierarchy = forest.mount("one", [name])
    figures = ("held", "minheld", "maxheld", "barrier", "limit", "failcnt")
    assert list(control_files(hierarchy.root)) == [f"{name}.{figure}" for figure in figures]
    root = hierarchy.root
    assert [f.read(root) for f in control_files(root).values()] == [0, 0, 0, "max", "max", 0]


def test_what_cannot_be_limited_has_no_limit(forest: Forest) -> None:
    files = control_files(forest.mount("one", ["numsiginfo"]).root)
    assert {"numsiginfo.held", "numsiginfo.maxheld"} <= files.keys()
    assert not {"numsiginfo.limit", "numsiginfo.barrier", "numsiginfo.failcnt"} & files.keys()


# -- cpuacct ------------------------------------------------------------------------------


def test_cpuacct_measures_in_the_container_and_all_above(forest: Forest) -> None:
    root = forest.mount("one", ["cpuacct"]).root
    for path in ("/a", "/a/b", "/c"):
        forest.mkdir("one", path)
    plan = compile_plan(forest.group([forest.lookup("one", "/a/b")]))
    for meter in plan.meters:
        assert isinstance(meter, Meter)
        meter.add(5)
    usage = forest.control_file(root, "cpuacct.usage")
    used = {path: usage.read(forest.lookup("one", path)) for path in ("/", "/a", "/a/b", "/c")}
    assert used == {"/": 5, "/a": 5, "/a/b": 5, "/c": 0}
    for name in ("usage", "usage_user", "usage_sys", "usage_own", "stat", "load"):
        with pytest.raises(GovernorError) as caught:
            forest.write(root, f"cpuacct.{name}", 0)
        assert caught.value.errno == errno.EACCES


# -- cpuset -------------------------------------------------------------------------------


def cpus_refusal(forest: Forest, path: str, value: str | int) -> GovernorError:
    container = forest.lookup("cpu", path)
    before = forest.control_file(container, "cpuset.cpus").read(container)
    with pytest.raises(GovernorError) as caught:
        forest.write(container, "cpuset.cpus", value)
    assert forest.control_file(container, "cpuset.cpus").read(container) == before
    return caught.value


@pytest.fixture
def cpu(forest: Forest) -> Forest:
    forest.mount("cpu", ["cpuset"])
    forest.mkdir("cpu", "/a")
    forest.mkdir("cpu", "/a/b")
    return forest


def test_a_new_cpuset_is_its_parents(cpu: Forest) -> None:
    for path in ("/", "/a", "/a/b"):
        container = cpu.lookup("cpu", path)
        assert cpu.control_file(container, "cpuset.cpus").read(container) == format_cpus(CPUS)


def test_a_cpuset_confines_the_group(cpu: Forest) -> None:
    inner = cpu.lookup("cpu", "/a/b")
    cpu.write(inner, "cpuset.cpus", str(CPUS[0]))
    assert compile_plan(cpu.group([inner])).confined == {"cpus": CPUS[:1]}
    assert compile_plan(cpu.group([])).confined == {"cpus": CPUS}


@pytest.mark.parametrize("value", ["x", "-1", "3-1", str(CPUS[-1] + 1), "0,,1", "0,", "0 1"])
def test_cpus_that_cannot_be_are_einval(cpu: Forest, value: str) -> None:
    error = cpus_refusal(cpu, "/a", value)
    assert error.errno == errno.EINVAL
    assert "cpuset.cpus of cpu:/a" in error.message


@pytest.mark.parametrize("value", ["8192", "0-8192", "999999999"])
def test_cpus_that_no_kernel_has_are_erange(cpu: Forest, value: str) -> None:
    assert cpus_refusal(cpu, "/a", value).errno == errno.ERANGE


def test_the_cpus_of_the_root_are_fixed(cpu: Forest) -> None:
    assert cpus_refusal(cpu, "/", str(CPUS[0])).errno == errno.EACCES


@two_cpus
def test_a_cpuset_lies_within_its_parents(cpu: Forest) -> None:
    cpu.write(cpu.lookup("cpu", "/a/b"), "cpuset.cpus", str(CPUS[0]))
    cpu.write(cpu.lookup("cpu", "/a"), "cpuset.cpus", str(CPUS[0]))
    error = cpus_refusal(cpu, "/a/b", str(CPUS[1]))
    assert error.errno == errno.EACCES
    assert "cpu:/a" in error.message


@two_cpus
def test_a_cpuset_cannot_leave_out_a_childs(cpu: Forest) -> None:
    error = cpus_refusal(cpu, "/a", str(CPUS[0]))
    assert error.errno == errno.EBUSY
    assert "cpu:/a/b" in error.message
