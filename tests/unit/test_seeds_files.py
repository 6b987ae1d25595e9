"""Every control file there is: those of the seed documents, and none that could not hold good."""

from __future__ import annotations

import pytest

from governor import registry
from governor.supervisor.corefiles import CORE_FILES

FIGURES = "held minheld maxheld"
COUNTED = f"{FIGURES} barrier limit failcnt"
SHARED = f"{COUNTED} shares amounts stats"
NODES = "mems mem_exclusive effective_mems memory_migrate"
FILES = {
    "cpuacct": "usage usage_user usage_sys usage_own stat load",
    "cpuset": f"cpus cpu_exclusive effective_cpus {NODES}",
    "memset": NODES,
    "ns": "",
    "numfiles": SHARED,
    "numflock": COUNTED,
    "numpty": COUNTED,
    "numsiginfo": FIGURES,
    "numsock": COUNTED,
    "numtasks": SHARED,
    "physpages": f"{COUNTED} action",
    "privvmpages": COUNTED,
    "rsspages": f"{COUNTED} action",
}
OF_ROOTS = {
    "cpuacct": "interval",
    "numfiles": "total",
    "numtasks": "total forkrate forkrate_interval",
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys of other tests are not there."""
    monkeypatch.setattr(registry, "_registered", {})


def names(kind: str, on: str) -> set[str]:
    return {name for name, file in registry.load(kind).populate().items() if file.on == on}


def test_every_file_there_is() -> None:
    assert set(registry.names()) == set(FILES)
    for kind, files in FILES.items():
        assert names(kind, "all") == {f"{kind}.{name}" for name in files.split()}
        of_roots = {f"{kind}.{name}" for name in OF_ROOTS.get(kind, "").split()}
        assert names(kind, "root") == of_roots
    assert set(CORE_FILES) == {"notify_on_release", "auto_remove", "release_agent"}


def test_names_of_files_begin_with_the_subsystems() -> None:
    for kind in FILES:
        for label in (kind, f"{kind}@elsewhere"):
            files = registry.load(label).populate()
            assert all(name.startswith(f"{kind}.") for name in files)
