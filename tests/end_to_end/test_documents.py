"""What the documents show: links that lead somewhere, examples that run, lists that are whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import governor
from governor import registry
from governor.cli.events import KINDS
from tests.capabilities import need
from tests.end_to_end.runner import Runner, end
from tests.end_to_end.running import Shell

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(found[1]) for found in re.finditer(r"^#+ (.*)$", page.read_text(), re.M)}


def dead_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        name, _, part = link.partition("#")
        target = page.parent / name if name else page
        if not (target.exists() and (not part or part in anchors(target))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(dead_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_are_named_are_there(page: Path) -> None:
    text, absent = "", []
    for file, names in re.findall(r"`(tests/[\w/]+\.py)?((?:::\w+)*)`", page.read_text()):
        if file:
            text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
        absent += [
            f"{file}::{name}"
            for name in names.split("::")[1:]
            if not re.search(rf"(def |class |^){name}", text, re.M)
        ] + [file] * (not text)
    assert [name for name in absent if name] == []


def test_every_subsystem_is_in_the_lists() -> None:
    ours = {name for name in registry.names() if (ROOT / "subsystems" / f"{name}.py").exists()}
    first_table, *_ = README.read_text().split("A limit holds for a container")
    assert {name for name in ours if f"`{name}`" in first_table} == ours
    files, *_ = (ROOT / "docs/control-files.md").read_text().split("## Core files")
    assert {name for name in ours if f"`{name}`" in files} == ours
    for page in ("docs/cli.md", "docs/batch-file.md"):
        for listed in re.findall(
            r"(?:there are|allowed:) (cpuacct,.*)$", (ROOT / page).read_text()
        ):
            assert listed.split(", ") == sorted(ours)


def test_the_batch_of_the_readme_runs(runner: Runner) -> None:
    found = re.search(r"```toml\n(# team.toml\n.*?)```", README.read_text(), re.S)
    assert found is not None
    cpus_of_ours = found[1].replace('"cpuset.cpus" = "0"', "")  # not everybody may use CPU 0
    (runner.directory / "team.toml").write_text(cpus_of_ours.replace("/usr/sbin", "/usr/lib/apt"))
    ended = runner.through("governor batch team.toml --report team.json")
    report = json.loads((runner.directory / "team.json").read_text())
    need(report["enforcement"]["numtasks"] == "enforced", "numtasks is not enforced on this host")
    assert (ended.exit_code, ended.errors) == (1, "")
    assert "bob-sleeps: exit 2; the end of its output:" in ended.output
    assert re.search(
        r"^work:/sleep refused \d+ forks? at its limit of 8 tasks$", ended.output, re.M
    )


def documented_events() -> dict[str, set[str]]:
    """Kinds of events and their fields, of the table in the documents."""
    _, table = (ROOT / "docs/control-files.md").read_text().split("\n## Events\n")
    known: dict[str, set[str]] = {}
    for kinds, fields in re.findall(r"^\| (`[^|]*) \| ([^|]*)\|", table.split("\n## ")[0], re.M):
        for kind in re.findall(r"`([^`]+)`", kinds):
            known.setdefault(kind, set()).update(re.findall(r"`([^`]+)`", fields))
    return known


def test_events_are_as_documented(shell: Shell) -> None:
    shell.up("--hierarchy", "load=numtasks")
    shell.say("mkdir", "-p", "load:/a/b")
    shell.say("mv", "load:/a/b", "c")
    shell.say("set", "load:/a:numtasks.limit=1", "load:/a/c:auto_remove=1")
    shell.governor("run", "--at", "--in", "load:/a", "--", "sh", "-c", "(exit 0); exit 0")
    shell.say("run", "--at", "--in", "load:/a/c", "--", "true")
    shell.say("mount", "cpu", "cpuacct")
    shell.say("remount", "cpu", "cpuacct,cpuset")
    shell.say("umount", "cpu")
    known = documented_events()
    assert set(KINDS) == set(known)
    said = set()
    with shell.start("events", "--json", "--after", "0") as stream:
        assert stream.stdout is not None
        for line in stream.stdout:
            event = json.loads(line)
            said.add(event["kind"])
            assert event["fields"].keys() <= known[event["kind"]], event
            if event["kind"] == "umount":
                break
        stream.terminate()
        end(stream, "")
    assert said >= {"mount", "mkdir", "rename", "change", "job-start", "job-end", "remount"}


def test_the_reference_has_all_public_names() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.rst"))
    listed = {
        name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: (\S+)$", pages, re.M)
    }
    assert set(governor.__all__) - listed == {"__version__", "aio"}
