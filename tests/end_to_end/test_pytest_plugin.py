"""Tests under limits: what pytest says of them, and that others do not notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.end_to_end.examples import examples
from tests.process.helpers import PYTHONPATH, ROOT, nothing_left

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.once

MARKED = """
import os, sys, threading, time
import pytest

@pytest.fixture(scope="module")
def home():
    return os.getpid()

def test_before(home):
    assert home == os.getpid()

@pytest.mark.governor(tasks=2)
def test_fixtures_are_set_up_in_the_job(home, tmp_path):
    assert home == os.getpid() != int(os.environ["OUTER"])
    (tmp_path / "file").write_text("x")

@pytest.mark.governor(tasks=1)
@pytest.mark.parametrize("name", ["a::b"])
def test_tasks(name):
    print("said before")
    os.fork()

@pytest.mark.governor(files=40)
def test_files():
    with pytest.raises(OSError, match="Too many open files"):
        [open(os.devnull) for _ in range(40)]

@pytest.mark.governor(timeout="300ms")
def test_time():
    time.sleep(1000)

@pytest.mark.governor(tasks=1)
def test_death():
    os._exit(3)

@pytest.mark.governor(tasks=1)
def test_skipped():
    pytest.skip("for a reason")

@pytest.mark.governor(taks=1)
def test_mistake():
    pass

def test_after(home):
    assert home == os.getpid()
"""


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("OUTER", str(os.getpid()))
    return pytester


def test_reports(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(MARKED)
    with nothing_left(monkeypatch):
        ended = pytester.runpytest_subprocess(
            "-p", "governor.testing.plugin", "--strict-markers", "--junitxml=all.xml"
        )
    ended.assert_outcomes(passed=4, failed=4, skipped=1)
    ended.stdout.fnmatch_lines(
        [
            "*BlockingIOError*",
            "*said before*",
            "*Refused by governor*",
            "tasks at load:/test_tasks*",
            "job test_time timed out after *",
            "job test_death failed with exit code 3",
            "pytest.mark.governor takes tasks, files, cpus, timeout, not taks",
            "FAILED *::test_tasks[[]a::b[]]*",
        ]
    )
    assert (pytester.path / "all.xml").read_text().count("<testcase") == 9


def test_who_does_not_use_it_does_not_load_it() -> None:
    code = "import sys, governor.testing.plugin; print([n for n in sys.modules if 'zmq' in n])"
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said == "[]\n"


def test_the_page(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples(ROOT / "docs/testing.md")
    pytester.makepyfile(example.text)
    with nothing_left(monkeypatch):
        ended = pytester.runpytest_subprocess("-p", "governor.testing.plugin")
    ended.assert_outcomes(passed=3)
