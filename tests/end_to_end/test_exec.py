"""``governor exec``, as cgexec; and properties of jobs of a running governor."""

from __future__ import annotations

import pytest

from tests.end_to_end.running import Shell

pytestmark = pytest.mark.once

LAYOUT = ("--hierarchy", "load=numtasks,numfiles", "--hierarchy", "cpu=cpuacct")


def mistake(shell: Shell, *arguments: str) -> str:
    """The one line a command says that starts nothing."""
    ended = shell.governor(*arguments)
    assert (ended.exit_code, ended.output) == (125, "")
    (line,) = ended.errors.splitlines()
    return line


@pytest.fixture
def up(shell: Shell) -> Shell:
    shell.up(*LAYOUT)
    shell.say("mkdir", "load:/a", "load:/a/b", "cpu:/a")
    return shell


@pytest.mark.parametrize(
    ("groups", "places"),
    [
        (["numtasks:/a/b", "cpuacct:a"], ["/a/b", "/a"]),
        (["numfiles,numtasks,cpuacct:/a/"], ["/a", "/a"]),
        (["*:a"], ["/a", "/a"]),
        (["name=load:a/b"], ["/a/b", "/"]),
    ],
)
def test_subsystems_name_the_hierarchies(up: Shell, groups: list[str], places: list[str]) -> None:
    options = [word for group in groups for word in ("-g", group)]
    with up.start("exec", "--sticky", *options, "sh", "-c", "echo $$; read x; exit 7") as process:
        assert process.stdout is not None
        where = up.say("where", process.stdout.readline().strip()).split()
        process.communicate("\n", timeout=60)
        assert process.returncode == 7
    assert [line.partition(":")[2] for line in where] == places


def test_mistakes_of_exec(up: Shell) -> None:
    assert "no hierarchy has numsock: load has numtasks,numfiles; cpu has cpuacct" in mistake(
        up, "exec", "-g", "numsock:a", "true"
    )
    for words, arguments in {
        "no container load:/x": ["-g", "numtasks:x", "true"],
        "no hierarchy has load, but name=load is one": ["-g", "load:a", "true"],
        "there is no hierarchy lod": ["-g", "name=lod:a", "true"],
        "/a and /a/b are in one hierarchy": ["-g", "numtasks:a", "-g", "numfiles:a/b", "true"],
        "is not SUBSYS,...:/PATH": ["-g", "numtasks", "true"],
        "no container is named": ["true"],
        "no command": ["-g", "numtasks:a"],
    }.items():
        assert words in mistake(up, "exec", *arguments)
    assert up.governor("exec", "-g", "numtasks:a", "/no/such").exit_code == 127


def test_without_a_governor(shell: Shell) -> None:
    assert "no governor runs at" in mistake(shell, "exec", "-g", "numtasks:a", "true")


def test_properties_of_a_job_of_a_running_governor(up: Shell) -> None:
    line = ["run", "--at", "--in", "load:/a"]
    job = [
        "-p",
        "LimitNOFILE=50",
        "-p",
        "Environment=A=1",
        "--",
        "sh",
        "-c",
        "echo $(ulimit -n) $A",
    ]
    assert up.say(*line, *job) == "50 1\n"
    assert "-p TasksMax is for a governor of the command's own" in mistake(
        up, *line, "-p", "TasksMax=5", "true"
    )
    assert "--set NAME:/PATH:numsock.limit=5" in mistake(up, *line, "-p", "numsock.limit=5", "true")
