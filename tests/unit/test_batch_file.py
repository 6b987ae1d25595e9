"""Batch files: what they mean, and that every mistake is told, at its line, with what is right."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.batch.load import load
from governor.batch.locate import Lines
from governor.batch.plan import BatchFileError, Setting

CPU = min(os.sched_getaffinity(0))

GOOD = f"""\
title = "University server"

[hierarchies.cpu]
subsystems = ["cpuset", "cpuacct"]
[hierarchies.cpu.containers."/professors/jane"]
[hierarchies.cpu.containers."/professors"]
"cpuset.cpus" = "{CPU}"

[hierarchies.load]
subsystems = ["numtasks", "numfiles"]
containers."/builds" = {{ "numtasks.limit" = 64, "numfiles.limit" = "4k" }}

[[jobs]]
name = "build"
command = ["make", "-j4"]
containers = ["cpu:/professors/jane", "load:/builds"]
env = {{ LANG = "C" }}
timeout = "2m"
stdin = "input"

[[jobs]]
name = "pipeline"
command = "ls | wc -l"
timeout = 1.5
cwd = "sub"
containers = ["load:/"]
"""


def batch_file(directory: Path, text: str) -> str:
    (directory / "input").write_text("")
    (directory / "sub").mkdir(exist_ok=True)
    file = directory / "batch.toml"
    file.write_text(text)
    return str(file)


def mistakes(directory: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(BatchFileError) as caught:
        load(batch_file(directory, text))
    return [(line, text) for line, text in caught.value.mistakes]


def test_a_good_file_becomes_a_plan(tmp_path: Path) -> None:
    plan = load(batch_file(tmp_path, GOOD))

    assert plan.title == "University server"
    cpu, load_ = plan.hierarchies
    assert cpu.subsystems == ("cpuset", "cpuacct")
    assert [container.path for container in cpu.containers] == ["/professors", "/professors/jane"]
    assert cpu.containers[0].settings == (Setting("cpuset.cpus", str(CPU), 7),)
    assert load_.containers[0].settings == (
        Setting("numtasks.limit", 64, 11),
        Setting("numfiles.limit", "4k", 11),
    )
    build, pipeline = plan.jobs
    assert build.argv == ("make", "-j4")
    assert build.containers == (("cpu", "/professors/jane"), ("load", "/builds"))
    assert (build.cwd, build.stdin) == (str(tmp_path), str(tmp_path / "input"))
    assert (build.env, build.timeout) == ({"LANG": "C"}, 120)
    assert pipeline.argv == ("/bin/sh", "-c", "ls | wc -l")
    assert (pipeline.cwd, pipeline.timeout, pipeline.stdin) == (str(tmp_path / "sub"), 1.5, None)


def test_a_file_without_a_title_is_called_by_its_name(tmp_path: Path) -> None:
    plan = load(batch_file(tmp_path, '[[jobs]]\nname = "a"\ncommand = "true"\n'))
    assert (plan.title, plan.hierarchies) == ("batch", ())


def test_all_mistakes_are_told_at_once_in_order_of_their_lines(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """\
titel = "x"
[hierarchies.cpu]
subsystems = ["cpuset", "cpuact"]
[hierarchies.cpu.containers."/a"]
"cpuset.cpus" = "8190"
"cpuset.cpu" = "0"
"numtasks.limit" = 3
[hierarchies.load]
subsystems = [
  "numtasks",
  "cpuset",
]
[hierarchies.load.containers."/b"]
"numtasks.limit" = -1
"numtasks.held" = 1
[[jobs]]
name = "one"
containers = ["cpu:/a", "cpu:/", "load:/c", "lode:/b", "b"]
[[jobs]]
name = "one"
command = "true"
cwd = "nowhere"
timeout = "soon"
comand = "x"
""",
    )
    expected = [
        (1, 'unknown key "titel"; did you mean "title"?'),
        (3, 'unknown subsystem "cpuact"; did you mean "cpuacct"? allowed: cpuacct, cpuset,'),
        (5, "cpuset.cpus: there are no CPUs 8190 here; usable are"),
        (6, 'unknown control file "cpuset.cpu"; did you mean "cpuset.cpus"?'),
        (7, '"numtasks.limit" needs "numtasks" among the subsystems of this hierarchy'),
        (11, 'subsystem "cpuset" is bound to hierarchy "cpu" already (line 3)'),
        (14, "numtasks.limit: -1 is not a count: allowed are whole numbers from 0"),
        (15, '"numtasks.held" is read-only; can be written: '),
        (16, "a job needs a command"),
        (18, 'it is in "cpu:/a" already'),
        (18, 'unknown container of hierarchy "load" "/c"'),
        (18, 'unknown hierarchy "lode"; did you mean "load"?'),
        (18, '"b" is not a container: write HIERARCHY:/PATH'),
        (20, 'another job is named "one" (line 17)'),
        (22, "is not a directory"),
        (23, '"soon" is not a duration'),
        (24, 'unknown key "comand"; did you mean "command"?'),
    ]
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (_, told), (_, piece) in zip(found, expected, strict=True):
        assert piece in told


JOB = '[[jobs]]\nname = "a"\ncommand = "true"\n'


@pytest.mark.parametrize(
    ("text", "line", "piece"),
    [
        ("", 1, "no jobs: at least one [[jobs]] table"),
        ("jobs = []\n", 1, "no jobs"),
        ("x = [\n", 1, "not TOML"),
        ("a = 1\nb = = 2\n", 2, "not TOML: Invalid value (column 5)"),
        ("a = 1\na = 2\n", 2, "not TOML: Cannot overwrite a value"),
        (f"{JOB}x = 1\n", 4, 'unknown key "x"'),
        (f"{JOB}env = {{ A = 1 }}\n", 4, 'env must be a table of texts, such as { LANG = "C" }'),
        (f'{JOB}env = {{ "A=B" = "1" }}\n', 4, 'a variable\'s name has no "="'),
        (f"{JOB}timeout = 0\n", 4, "longer than nothing"),
        (f"{JOB}timeout = true\n", 4, 'timeout must be a duration, such as "1m30s"'),
        (f"{JOB}timeout = nan\n", 4, "nan is not a duration"),
        (f'{JOB}stdin = "absent"\n', 4, "cannot be read"),
        (f'{JOB}stdin = "/dev/null"\nstdin_text = ""\n', 5, '"stdin_text", and not both'),
        (f"{JOB}stdin_text = 1\n", 4, "stdin_text must be a text, in place of a file"),
        (f'{JOB}stdout = "sub"\n', 4, "is a directory"),
        (f'{JOB}stderr = "absent/log"\n', 4, "cannot be written"),
        (f'{JOB}containers = "cpu:/"\n', 4, 'containers must be a list such as ["cpu:'),
        (f"{JOB}containers = [1]\n", 4, "containers must be a list"),
        (f"{JOB}[[job]]\n", 4, 'unknown key "job"; did you mean "jobs"?'),
        ('[[jobs]]\nname = "a"\ncommand = []\n', 3, "the command is empty"),
        ('[[jobs]]\nname = "a"\ncommand = [""]\n', 3, "the command is empty"),
        ('[[jobs]]\nname = "a"\ncommand = " "\n', 3, "the command is empty"),
        ('[[jobs]]\nname = "a"\ncommand = 3\n', 3, "command must be a list of texts"),
        ('[[jobs]]\nname = "a"\ncommand = ["x", "a\\u0000"]\n', 3, "cannot contain NUL"),
        ('[[jobs]]\ncommand = "true"\n', 1, "a job needs a name"),
        ('[[jobs]]\nname = "a b"\ncommand = "true"\n', 2, "letters, digits"),
        ("jobs = [\n  3,\n]\n", 2, "a job must be a table"),
        ("[jobs]\n", 1, "jobs must be tables, each written [[jobs]]"),
        (f"{JOB}[hierarchies.x]\n", 4, "at least one of cpuacct, cpuset"),
        (f"{JOB}[hierarchies.x]\nsubsystems = []\n", 5, "at least one of cpuacct, cpuset"),
        (f"{JOB}[hierarchies.x]\nsubsystems = 'numtasks'\n", 5, "subsystems must be a list"),
        (f"{JOB}[hierarchies]\nx = 1\n", 5, '"x" must be a table'),
        (f'{JOB}[hierarchies."x y"]\nsubsystems = ["numtasks"]\n', 4, "cannot be the name of a"),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, text: str, line: int, piece: str) -> None:
    [(where, what)] = mistakes(tmp_path, text)
    assert where == line
    assert piece in what


LOAD = f'{JOB}[hierarchies.load]\nsubsystems = ["numtasks"]\n[hierarchies.load.containers]\n'


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ('"/a" = 3', '"/a" must be a table'),
        ('"a" = {}', "must start with '/'"),
        ('"/a/" = {}', 'must be written "/a"'),
        ('"/a/../b" = {}', "cannot be a container's name"),
        (
            '"/a" = { numtasks.limit = 3 }',
            'write the name of a control file in quotes: "numtasks.limit"',
        ),
        ('"/a" = { "numtasks.limit" = 1.5 }', '"numtasks.limit" must be a whole number or a text'),
        ('"/a" = { "numtasks.limit" = "many" }', '"many" is not a count'),
        (
            '"/a" = { "numtasks.limt" = 3 }',
            'did you mean "numtasks.limit"? allowed: max_jobs, numtasks.barrier,',
        ),
        ('"/a" = { "what.limit" = 3 }', 'unknown control file "what.limit"'),
        ('"/a" = { "no\\nline" = 3 }', 'unknown control file "no\\nline"'),
    ],
)
def test_one_mistake_in_a_container(tmp_path: Path, text: str, piece: str) -> None:
    with pytest.raises(BatchFileError) as caught:
        load(batch_file(tmp_path, f"{LOAD}{text}\n"))
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/batch.toml:7: ")
    assert piece in line


def test_rules_between_containers_are_checked_too(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        f"""\
{JOB}
[hierarchies.cpu]
subsystems = ["cpuset"]
[hierarchies.cpu.containers."/"]
"cpuset.cpus" = "{CPU}"
""",
    )
    assert [line for line, _ in found] == [8]
    assert "the CPUs of the root cpu:/ are fixed" in found[0][1]


def test_implied_parents_can_be_named(tmp_path: Path) -> None:
    job = f'{JOB}containers = ["load:/a"]\n'
    text = f'{job}[hierarchies.load]\nsubsystems = ["numtasks"]\ncontainers."/a/b" = {{}}\n'
    assert load(batch_file(tmp_path, text)).jobs[0].containers == (("load", "/a"),)


@pytest.mark.parametrize(
    ("name", "piece"),
    [("absent", "No such file"), ("sub", "Is a directory"), ("input/x", "Not a directory")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, piece: str) -> None:
    batch_file(tmp_path, "")
    with pytest.raises(BatchFileError, match=f"{name}: cannot be read: {piece}"):
        load(str(tmp_path / name))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "batch.toml"
    file.write_bytes(b"title = 'a'\n# \xff\n")
    with pytest.raises(BatchFileError, match=r"batch\.toml:2: not UTF-8"):
        load(str(file))


TRICKY = (
    r'''
# a comment with [brackets] = "quotes
a = """
[not.a.header]
b = 1
"""""
'quoted = key' . "with \" and \u0041" = [ 1, # one ]
  { x = 1, y.z = [[2]] },
  "]", '}',
]
[ t . "u.v" ]  # trailing
w = { }
date = 1979-05-27 07:32:00
when = 1979-05-27T07:32:00Z
[[t.list]]
k = '''
    + """'''
a = 'b''
''''
"""
    + r"""
[t.list.sub]
deep = -inf
[[t.list]]
[[t.list.inner]]
x = "#"
"""
)


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from paths(inner, (*path, key))


def test_the_lines_of_a_tricky_document() -> None:
    lines = Lines(TRICKY)
    assert lines.paths() == set(paths(tomllib.loads(TRICKY)))
    for path, line in {
        ("a",): 3,
        ("quoted = key", 'with " and A', 1, "y", "z", 0): 8,
        ("quoted = key", 'with " and A', 3): 9,
        ("t", "u.v", "when"): 14,
        ("t", "list", 0, "k"): 16,
        ("t", "list", 0, "sub", "deep"): 21,
        ("t", "list", 1): 22,
        ("t", "list", 1, "inner", 0, "x"): 24,
        ("t", "list", 1, "missing", "deeper"): 22,
    }.items():
        assert lines.of(path) == line, path


KEYS = st.text(alphabet="ab.\"'#[]= \\\né-1", max_size=4)
VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def toml_text(value: Any) -> str:
    """TOML of a value; JSON's strings, numbers and booleans are TOML's as well."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_text(k)} = {toml_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n ".join(map(toml_text, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return str(value)


@given(
    st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.dictionaries(KEYS, VALUES, max_size=3))
)
def test_every_path_of_any_document_has_a_line(
    top: dict[str, Any], tables: list[dict[str, Any]]
) -> None:
    text = "".join(f"{toml_text(key)} = {toml_text(value)}\n" for key, value in top.items())
    for table in tables:
        text += "[[tables]] # one\n"
        text += "".join(f"{toml_text(key)} = {toml_text(value)}\n" for key, value in table.items())
    lines = Lines(text)
    assert lines.paths() == set(paths(tomllib.loads(text)))
    headers = [n for n, line in enumerate(text.split("\n"), 1) if line.startswith("[[tables]]")]
    assert [lines.of(("tables", index)) for index in range(len(tables))] == headers
