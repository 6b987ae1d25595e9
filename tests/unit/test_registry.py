"""Finding subsystems: ours, registered ones, and those that other packages offer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import subsystems
from governor import registry
from governor.core.container import Container
from governor.errors import GovernorError
from governor.subsystem import CountedSubsystem, Subsystem

ROOT = Path(__file__).parents[2]

TOY = """
from collections.abc import Mapping

from governor.core.container import Container
from governor.subsystem import ControlFile, Subsystem


class Toy(Subsystem):
    name = "toy"

    def create(self, container: Container) -> dict[str, int]:
        return {"level": 1 if container.parent is None else 2}

    def destroy(self, container: Container, state: object) -> None:
        pass

    def populate(self) -> Mapping[str, ControlFile]:
        def write(container: Container, level: int) -> None:
            container.states["toy"]["level"] = level

        read = lambda container: container.states["toy"]["level"]
        return {"toy.level": ControlFile(read, int, write)}


class Misnamed(Toy):
    name = "other"


something = 3
"""


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten afterwards."""
    monkeypatch.setattr(registry, "_registered", {})


def make(name: object, **members: object) -> type[Subsystem]:
    return type("Made", (CountedSubsystem,), {"name": name, **members})


def refusal(operation: object, *args: object) -> GovernorError:
    assert callable(operation)
    with pytest.raises(GovernorError) as caught:
        operation(*args)
    return caught.value


# -- registering --------------------------------------------------------------------------


def test_a_registered_subsystem_is_loaded_anew_each_time() -> None:
    cls = registry.register(make("mine"))
    first, second = registry.load("mine"), registry.load("mine")
    assert type(first) is type(second) is cls
    assert first is not second
    assert "mine" in registry.names()


def test_a_duplicate_is_eexist_and_the_same_again_is_not() -> None:
    cls = registry.register(make("mine"))
    assert registry.register(cls) is cls
    error = refusal(registry.register, make("mine"))
    assert error.errno == errno.EEXIST
    assert "'mine'" in error.message
    assert type(registry.load("mine")) is cls


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "a-b", "_", "x" * 32, "a\n"])
def test_a_bad_name_is_einval(name: str) -> None:
    assert refusal(registry.register, make(name)).errno == errno.EINVAL
    assert name not in registry.names()


@pytest.mark.parametrize("name", ["a", "x" * 31, "cpu_set", "_a", "9"])
def test_a_good_name_is_taken(name: str) -> None:
    assert registry.register(make(name)).name == name


@pytest.mark.parametrize("missing", ["create", "destroy"])
def test_a_missing_callback_is_einval(missing: str) -> None:
    bare = getattr(Subsystem, missing)
    error = refusal(registry.register, make("mine", **{missing: bare}))
    assert error.errno == errno.EINVAL
    assert f"{missing}()" in error.message


def test_the_bare_contract_asks_for_create() -> None:
    class Bare(Subsystem):
        name = "bare"

        def destroy(self, container: Container, state: object) -> None:
            pass

    assert refusal(registry.register, Bare).errno == errno.EINVAL


# -- loading ------------------------------------------------------------------------------


OWN = sorted(
    path.stem for path in Path(subsystems.__path__[0]).glob("*.py") if path.stem[:1] != "_"
)
"""Our own subsystems: a file each."""


def test_our_own_are_found_by_their_modules() -> None:
    assert {"cpuacct", "cpuset", "numfiles", "numtasks"} <= set(OWN)
    assert [registry.load(name).name for name in OWN] == OWN
    assert set(OWN) <= set(registry.names())


def test_a_named_instance_is_one_of_its_kind() -> None:
    loaded = registry.load("numtasks@projects-2")
    assert (loaded.name, loaded.label) == ("numtasks", "numtasks@projects-2")
    for label in ("numtasks@", "numtasks@a b", "numtasks@a/b", "numtasks@a@b"):
        assert refusal(registry.load, label).errno == errno.EINVAL
    assert refusal(registry.load, "nosuch@x").errno == errno.ENOENT


@pytest.mark.parametrize("name", ["nosuch", "", "a.b", "os", "__init__", "../cpuset", "cpuset.x"])
def test_an_unknown_one_is_enoent_and_says_which_there_are(name: str) -> None:
    error = refusal(registry.load, name)
    assert error.errno == errno.ENOENT
    assert ", ".join(OWN) in error.message


def test_an_error_within_a_module_of_ours_is_not_taken_for_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subsystems

    (tmp_path / "broken_toy.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.setattr(subsystems, "__path__", [*subsystems.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        registry.load("broken_toy")


# -- a package of somebody else's ---------------------------------------------------------


def install(site: Path, distribution: str, entry_points: dict[str, str]) -> None:
    """Install a package as pip does: modules, and metadata beside them."""
    (site / "toypackage.py").write_text(TOY)
    metadata = site / f"{distribution}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    )
    lines = [f"{name} = {value}\n" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("".join(["[governor.subsystems]\n", *lines]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for packages, first on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toypackage", raising=False)
    return tmp_path


def test_an_entry_point_is_found(site: Path) -> None:
    install(site, "toys", {"toy": "toypackage:Toy"})
    assert registry.load("toy").name == "toy"
    assert "toy" in registry.names()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("toypackage:Misnamed", "calls itself 'other'"),
        ("toypackage:something", "is not a subsystem"),
        ("toypackage:Absent", "cannot be imported"),
        ("nosuchpackage:Toy", "cannot be imported"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_einval(site: Path, value: str, reason: str) -> None:
    install(site, "toys", {"toy": value})
    error = refusal(registry.load, "toy")
    assert error.errno == errno.EINVAL
    assert reason in error.message
    assert value in error.message


def test_two_packages_with_one_name_are_eexist(site: Path) -> None:
    install(site, "toys", {"toy": "toypackage:Toy"})
    install(site, "more_toys", {"toy": "toypackage:Misnamed"})
    error = refusal(registry.load, "toy")
    assert error.errno == errno.EEXIST
    assert "toypackage:Toy" in error.message
    assert "toypackage:Misnamed" in error.message


def test_what_is_ours_cannot_be_taken_over(site: Path) -> None:
    install(site, "toys", {"numtasks": "toypackage:Toy"})
    assert type(registry.load("numtasks")).__module__ == "subsystems.numtasks"


def governor(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "governor", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_governor_run_uses_a_package_of_somebody_elses(tmp_path: Path) -> None:
    install(tmp_path, "toys", {"toy": "toypackage:Toy"})
    report = tmp_path / "report.json"
    done = governor(
        tmp_path, "run", "--hierarchy", "x=toy", "--set", "x:/a:toy.level=7",
        "--report", str(report), "--", "sh", "-c", "exit 3",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    assert '"toy.level": 7' in report.read_text()


def test_governor_run_says_which_subsystems_there_are(tmp_path: Path) -> None:
    install(tmp_path, "toys", {"toy": "toypackage:Toy"})
    done = governor(tmp_path, "run", "--hierarchy", "x=tyo", "--", "true")
    assert done.returncode == 125
    there = ", ".join(sorted([*OWN, "toy"]))
    assert done.stderr == f"governor: no subsystem 'tyo'; there are {there}\n"


def test_governor_run_says_why_a_package_cannot_be_used(tmp_path: Path) -> None:
    install(tmp_path, "toys", {"toy": "nosuchpackage:Toy"})
    done = governor(tmp_path, "run", "--hierarchy", "x=toy", "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith("governor: subsystem 'toy' cannot be imported from")
    assert done.stderr.count("\n") == 1
