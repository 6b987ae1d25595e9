"""What ``governor run -- true`` imports, in all of its processes.

Starting is part of every run, and what is imported is most of starting. Python's own trace of
imports (``-v``; ``-X importtime`` leaves out what importlib imports) goes to stderr, which
client, supervisor, spawner, agent and worker share.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgpack
import pytest
import zmq

ROOT = Path(__file__).parents[2]
PINNED = Path(__file__).parent / "golden" / "startup_imports.txt"
OWN = ("governor", "subsystems", "workers")

FORBIDDEN = """
    asyncio bz2 concurrent dataclasses dill email http importlib.metadata inspect logging
    lzma multiprocess multiprocessing prometheus_client pydantic rich shutil sqlite3 ssl subprocess
    tempfile
    tomllib unittest urllib.request xml
""".split()

# No anchor: a line and its end are two writes, and another process may write between them.
TRACE = re.compile(r"import '([\w.]+)' # ")


def _imports(*arguments: str) -> Counter[str]:
    """What Python and its forked children import, and how often, run with these arguments."""
    places = {str(Path(package.__path__[0]).parent) for package in (msgpack, zmq)}
    done = subprocess.run(
        # Without site: what it imports depends on what else is installed.
        [sys.executable, "-S", "-v", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sorted(places)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    modules = Counter(TRACE.findall(done.stderr))
    assert done.returncode == 0, done.stderr[-4000:]
    return modules


@pytest.fixture(scope="module")
def counted() -> Counter[str]:
    """How many processes of ``governor run -- true`` import a module that they do not inherit."""
    return _imports("-m", "governor", "run", "--", "true")


@pytest.fixture(scope="module")
def imported(counted: Counter[str]) -> set[str]:
    """Every module that any of these processes imports."""
    return set(counted)


@pytest.fixture(scope="module")
def inevitable() -> set[str]:
    """What the two packages of others import by themselves: inspect, on some Pythons."""
    return set(_imports("-c", "import msgpack, zmq"))


@pytest.mark.parametrize(
    "module",
    ["governor.cli.run", "governor.supervisor.server", "workers.spawner", "workers.agent",
     "workers.bootstrap"],
)  # fmt: skip
def test_the_trace_covers_every_process(imported: set[str], module: str) -> None:
    assert module in imported


@pytest.mark.parametrize("module", FORBIDDEN)
def test_what_takes_long_is_not_imported(
    imported: set[str], inevitable: set[str], module: str
) -> None:
    ours = imported - inevitable
    assert not {name for name in ours if name == module or name.startswith(f"{module}.")}


def test_no_process_imports_what_another_does(counted: Counter[str]) -> None:
    """What several of them need is imported before they part."""
    twice = {name for name, times in counted.items() if times > 1}
    assert not {name for name in twice if name.partition(".")[0] in {*OWN, "msgpack", "zmq"}}


def test_packages_of_others_are_the_two_that_are_needed(imported: set[str]) -> None:
    tops = {name.partition(".")[0] for name in imported}
    others = tops - sys.stdlib_module_names - set(OWN)
    assert others - {"__main__"} == {"msgpack", "zmq"}


def test_our_own_modules_are_those_that_are_pinned(imported: set[str]) -> None:
    """A module that is new here is one more file to find, read and run at every start."""
    own = sorted(name for name in imported if name.partition(".")[0] in OWN)
    assert own == PINNED.read_text().split()
