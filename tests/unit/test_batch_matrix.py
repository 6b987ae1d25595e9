"""Tables that stand for many jobs, and jobs that come after others: what a batch file means."""

from __future__ import annotations

from pathlib import Path

import pytest

from governor.batch import matrix
from governor.batch.load import load
from governor.batch.plan import BatchPlan, Retry, Success
from tests.unit.test_batch_file import batch_file, mistakes

CONVERT = """\
[[jobs]]
name = "convert"
command = ["convert", "{input}", "-{level}", "${input}", "{other}"]
matrix = { input = ["a b/c.txt", "d"], level = [1, 2.5, true] }
stdout = "{input.stem}-{level}.out"
env = { NAME = "{input.name}" }
"""


def table(*lines: str) -> str:
    return "\n".join(["[[jobs]]", *lines, ""])


def loaded(directory: Path, text: str) -> BatchPlan:
    return load(batch_file(directory, text))


def test_a_matrix_is_every_combination(tmp_path: Path) -> None:
    jobs = loaded(tmp_path, CONVERT).jobs
    assert [job.name for job in jobs] == [
        *("convert-a_b_c.txt-1", "convert-a_b_c.txt-2.5", "convert-a_b_c.txt-true"),
        *("convert-d-1", "convert-d-2.5", "convert-d-true"),
    ]
    second = jobs[1]
    assert second.argv == ("convert", "a b/c.txt", "-2.5", "${input}", "{other}")
    assert second.stdout == str(tmp_path / "c-2.5.out")
    assert second.env == {"NAME": "c.txt"}
    assert second.values == {"input": "a b/c.txt", "level": "2.5"}
    assert {job.table for job in jobs} == {"convert"}


def test_files_are_values(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "c.txt", "deep/d.csv"):
        (tmp_path / "data" / name).touch()
    text = table(
        'name = "sum-{file.stem}"',
        'command = "sum {file}"',
        'matrix = { file = { glob = "data/**/*.csv" } }',
    )
    jobs = loaded(tmp_path, text).jobs
    assert [job.name for job in jobs] == ["sum-a", "sum-b", "sum-d"]
    assert jobs[0].argv == ("/bin/sh", "-c", "sum data/a.csv")


def test_a_shell_reads_a_value_as_one_word(tmp_path: Path) -> None:
    text = table(
        'name = "a"', 'command = "cat {f} | wc"', """matrix = { f = ["x; rm -rf y", "it's"] }"""
    )
    first, second = loaded(tmp_path, text).jobs
    assert first.argv[2] == "cat 'x; rm -rf y' | wc"
    assert second.argv[2] == """cat 'it'"'"'s' | wc"""


def test_who_comes_after_a_table_comes_after_all_of_its_jobs(tmp_path: Path) -> None:
    axis = 'matrix = { n = [1, "a b"] }'
    text = (
        table('name = "get"', 'command = "x"', axis)
        + table(
            'name = "put-{n}"',
            'command = "x"',
            'matrix = { n = [1, "a b"] }',
            'after = ["get-{n}"]',
        )
        + table('name = "end"', 'command = "x"', 'after = ["get", "put-{n}", "get-1"]')
    )
    after = {job.name: job.after for job in loaded(tmp_path, text).jobs}
    assert after["put-a_b"] == ("get-a_b",)
    assert after["end"] == ("get-1", "get-a_b", "put-1", "put-a_b")


def test_the_other_keys(tmp_path: Path) -> None:
    text = (
        """\
[hierarchies.load]
subsystems = ["numtasks"]
containers."/builds" = { max_jobs = 3, "numtasks.limit" = 9 }
"""
        + table('name = "first"', 'command = "x"')
        + table(
            'name = "a"',
            'command = "x"',
            'after = ["first"]',
            "priority = -3",
            'cpu_timeout = "1m"',
            "retries = 4",
            'retry_delay = "100ms"',
            "retry_max_delay = 9",
            'retry_on = ["timeout", 75]',
            "success.exit_codes = [0, 1]",
            'success.files = ["f"]',
            'success.nonempty_files = ["/g"]',
            'success.output = "t"',
            'stdin = "made/by/first"',
            'cwd = "made"',
            'stdout = "made/out"',
        )
    )
    plan = loaded(tmp_path, text)
    [container] = plan.hierarchies[0].containers
    assert (container.max_jobs, len(container.settings)) == (3, 1)
    job = plan.jobs[1]
    assert (job.priority, job.cpu_timeout, job.line) == (-3, 60.0, 7)
    assert job.retry == Retry(4, 0.1, 9.0, ("timeout", 75))
    assert job.success == Success((0, 1), (str(tmp_path / "f"),), ("/g",), "t")


@pytest.mark.parametrize(
    ("line", "piece"),
    [
        ('after = ["b"]', 'unknown job "b"; allowed: a, other'),
        ('after = ["othr"]', 'did you mean "other"?'),
        ('after = ["a"]', '"a" waits for itself'),
        ("retries = 101", "allowed are 0 to 100"),
        ("retries = true", "retries must be a whole number"),
        ('retry_delay = "soon"', '"soon" is not a duration'),
        ('retry_on = ["ok"]', 'unknown end of a job "ok"'),
        ("retry_on = [256]", "256 is no exit code: allowed are 0 to 255"),
        ("cpu_timeout = 0", "longer than nothing"),
        ("success = { exit_codes = [-1] }", "-1 is no exit code"),
        ("success = { exit_codes = [] }", "at least one is needed"),
        ('success = { output = "" }', "the text is empty"),
        ("success = { exit_code = [1] }", 'unknown key "exit_code"; did you mean "exit_codes"?'),
        ('success = "yes"', "success must be a table, such as"),
        ("success = { files = 3 }", "files must be a list of files' paths"),
        ("matrix = { n = [] }", '"n" has no values'),
        ("matrix = { n = 3 }", "n must be a list of texts or numbers, or a table"),
        ('matrix = { n = { glob = "*", of = 3 } }', "n must be a list of texts or numbers"),
        ('matrix = { n = { glob = "no*such" } }', "no file matches"),
        ('matrix = { "a b" = [1] }', '"a b" cannot be the name of an axis'),
        ("matrix = { c = [1, 1] }", 'two jobs of the matrix are named "a-1"'),
        ("matrix = [1]", "matrix must be a table of lists"),
        ('matrix = { c = [1] }\nstdout = "{c.base}"', '"{c.base}" is no part of a value'),
        ('matrix = { c = [1, 2] }\nstdin = "no-{c}"', 'no-1" cannot be read (and 1 more of its'),
        ('matrix = { c = [] }\ntimeout = "x"', '"x" is not a duration'),
        ('matrix = { c = [] }\nafter = ["{c}", "othr"]', 'did you mean "other"?'),
    ],
)
def test_a_mistake_in_a_job(tmp_path: Path, line: str, piece: str) -> None:
    text = table('name = "other"', 'command = "x"') + table('name = "a"', 'command = "x"', line)
    found = mistakes(tmp_path, text)
    assert any(piece in message for _, message in found), found
    assert {number for number, _ in found} <= {5, 7, 8}


@pytest.mark.parametrize("value", ["0", '"3"'])
def test_a_mistake_in_max_jobs(tmp_path: Path, value: str) -> None:
    text = f"""\
[hierarchies.load]
subsystems = ["numtasks"]
[hierarchies.load.containers."/"]
max_jobs = {value}
[[jobs]]
name = "a"
command = "x"
"""
    [(line, message)] = mistakes(tmp_path, text)
    assert (line, "max_jobs must be a whole number from 1" in message) == (4, True)


def test_every_cycle_is_told_once(tmp_path: Path) -> None:
    axis = "matrix = { n = [1, 2] }"
    text = (
        table('name = "a"', 'command = "x"', 'after = ["c"]')
        + table('name = "b"', 'command = "x"', 'after = ["a"]')
        + table('name = "c"', 'command = "x"', 'after = ["b"]')
        + table('name = "p-{n}"', 'command = "x"', 'after = ["q-{n}"]', axis)
        + table('name = "q-{n}"', 'command = "x"', 'after = ["p-{n}"]', axis)
        + table('name = "fine"', 'command = "x"', 'after = ["a"]')
    )
    found = mistakes(tmp_path, text)
    assert len(found) == 2
    assert "wait for each other, so that none could start: " in found[0][1]
    assert set(found[0][1].rpartition(": ")[2].split(" -> ")) == {"a", "b", "c"}
    assert {line for line, _ in found} <= {4, 8, 12, 16, 21}


def test_a_matrix_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "MOST_JOBS", 5)
    text = table('name = "a"', 'command = "x"', "matrix = { n = [1, 2, 3] }")
    assert len(loaded(tmp_path, text).jobs) == 3
    [(line, message)] = mistakes(tmp_path, text + text.replace('"a"', '"b"'))
    assert (line, message) == (8, "the matrix has 3 combinations, and a file at most 5 jobs")
