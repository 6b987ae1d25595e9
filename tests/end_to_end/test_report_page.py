"""``governor report``: from a batch to a page, and the page in a browser."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.capabilities import need
from tests.end_to_end import png
from tests.end_to_end.runner import Runner

pytestmark = pytest.mark.once

BATCH = """
title = "Nightly"
[hierarchies.load]
subsystems = ["numtasks", "numfiles"]
[hierarchies.load.containers."/builds"]
"numtasks.limit" = 4
[hierarchies.cpu]
subsystems = ["cpuacct"]
[hierarchies.cpu.containers."/alice"]
[[jobs]]
name = "build"
command = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
containers = ["load:/builds", "cpu:/alice"]
[[jobs]]
name = "broken"
command = "exit 3"
containers = ["load:/builds"]
"""

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")

LIGHT, DARK = (0xF7, 0xF8, 0xFA), (0x12, 0x16, 0x1C)
"""The page's own background."""


@pytest.fixture
def made(runner: Runner) -> dict[str, Any]:
    """The report of a batch, beside which there is its page."""
    (runner.directory / "night.toml").write_text(BATCH)
    ended = runner.through(
        "governor batch night.toml --report night.json && exit 9; governor report night.json"
    )
    assert (ended.exit_code, ended.errors) == (0, "")
    assert ended.output.endswith("night.html\n")
    report = json.loads((runner.directory / "night.json").read_text())
    assert isinstance(report, dict)
    return report


def test_a_batch_tells_the_course_of_its_figures(made: dict[str, Any]) -> None:
    assert made["title"] == "Nightly"
    assert all(0 <= job["began_seconds"] <= made["wall_seconds"] for job in made["jobs"])
    samples = made["samples"]
    files = {
        (one["hierarchy"], one["path"], name): values
        for one in samples["containers"]
        for name, values in one["files"].items()
    }
    used = files["cpu", "/alice", "cpuacct.usage"]
    assert len(used) == len(samples["seconds"]) >= 2
    assert used == sorted(used)
    final = {one["path"]: one["files"] for one in made["containers"] if one["hierarchy"] == "cpu"}
    assert used[-1] == final["/alice"]["cpuacct.usage"]


def test_mistakes_are_one_line(runner: Runner) -> None:
    (runner.directory / "x.json").write_text("[]")
    for arguments, code in (("x.json", 1), ("none.json", 1), ("", 2), ("x.json --nonsense", 2)):
        ended = runner.through(f"governor report {arguments}")
        assert (ended.exit_code, ended.output) == (code, "")
        assert ended.errors.count("\n") == 1
    assert not (runner.directory / "x.html").exists()


def test_a_page_can_go_to_standard_output(runner: Runner, made: dict[str, Any]) -> None:
    page = (runner.directory / "night.html").read_text()
    for command in ("governor report -o - night.json", "governor report - <night.json"):
        output = runner.through(command).output
        assert output.strip() == page.strip()


def test_of_a_run_there_is_a_page_too(runner: Runner) -> None:
    ended = runner.through(
        "governor run --report run.json -- true && governor report run.json -o r"
    )
    assert (ended.exit_code, ended.output) == (0, "r\n")
    assert "1 of 1" in (runner.directory / "r").read_text()


# -- in a browser ---------------------------------------------------------------------------


Browse = Callable[..., str]


@pytest.fixture
def browse(runner: Runner, tmp_path: Path) -> Browse:
    """A browser without a screen, network or anybody's settings; what it prints."""
    found = [name for name in BROWSERS if which(name)]
    need(bool(found), "no chromium")
    home = tmp_path / "home"
    home.mkdir()

    def browse(page: Path, *options: str) -> str:
        command = [
            # Its own sandbox needs what an ordinary user, or root, may not have.
            found[0], "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={home}", *options, page.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=90,
            env={**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return browse


@pytest.mark.parametrize(("scheme", "background"), [("1", LIGHT), ("0", DARK)])
def test_a_browser_shows_the_page(
    runner: Runner,
    made: dict[str, Any],
    browse: Browse,
    scheme: str,
    background: tuple[int, int, int],
) -> None:
    picture = runner.directory / "page.png"
    browse(
        runner.directory / "night.html",
        f"--screenshot={picture}",
        "--window-size=600,900",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    pixels = png.rows(picture)
    colours = Counter(pixel for row in pixels for pixel in row)
    assert (len(pixels), len(pixels[0])) == (900, 600)
    assert pixels[2][2] == background
    bars = {"green": 0, "red": 0}
    for (red, green, blue), count in colours.items():
        bars["green"] += count if green > red + 60 and green > blue + 20 else 0
        bars["red"] += count if red > green + 80 and red > blue + 80 else 0
    assert min(bars.values()) > 20, bars  # the bars of a job that went well and of one that failed
    assert len(colours) > 50


def test_a_browser_runs_nothing_of_a_report(
    runner: Runner, made: dict[str, Any], browse: Browse
) -> None:
    evil = "</style></title><script>document.body.innerHTML = 'owned'</script><img src=x>"
    made["title"] = made["jobs"][0]["name"] = made["containers"][0]["path"] = evil
    made["jobs"][0]["command"] = [evil]
    file = runner.directory / "evil.json"
    file.write_text(json.dumps(made))
    assert runner.through("governor report evil.json").exit_code == 0
    page = browse(runner.directory / "evil.html", "--dump-dom")
    assert "2 jobs" not in page
    assert "1 of 2" in page
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 4
