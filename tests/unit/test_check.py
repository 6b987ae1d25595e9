"""``governor check``, and the JSON schema that editors are given."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from governor import registry
from governor.batch import editor
from governor.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """\
[hierarchies.load]
subsystems = ["numtasks", "numfiles@projects"]
[hierarchies.load.containers."/builds"]
"numtasks.limit" = "4k"
[[jobs]]
name = "a"
command = "true"
timeout = 1.5
"""


def check(file: Path, *others: str) -> int:
    return main(["check", str(file), *others])


def test_a_file_without_mistakes_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "batch.toml"
    file.write_text(GOOD.replace("@projects", ""))
    assert check(file) == 0
    told = capsys.readouterr()
    assert told.out == f"{file}: 1 job in 1 container of 1 hierarchy: no mistakes\n"
    assert told.err == ""
    file.write_text('[[jobs]]\nname = "a"\ncommand = "true"\n')
    assert check(file) == 0
    assert capsys.readouterr().out == f"{file}: 1 job without limits: no mistakes\n"


def test_all_mistakes_of_all_files_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, good = tmp_path / "wrong.toml", tmp_path / "good.toml"
    wrong.write_text('titel = "x"\n[[jobs]]\nname = "a"\ncwd = "nowhere"\n')
    good.write_text('[[jobs]]\nname = "a"\ncommand = "true"\n')
    assert check(wrong, str(tmp_path / "none.toml"), str(good)) == 2
    told = capsys.readouterr()
    assert told.out == f"{good}: 1 job without limits: no mistakes\n"
    first, second, third, absent, count = told.err.splitlines()
    assert first.startswith(f'{wrong}:1: unknown key "titel"')
    assert second.startswith(f"{wrong}:2: a job needs a command")
    assert third.startswith(f"{wrong}:4: ")
    assert absent == f"{tmp_path}/none.toml: cannot be read: No such file or directory"
    assert count == "governor: 4 mistakes"


@pytest.mark.parametrize("arguments", [[], ["--schema", "x.toml"], ["--shema"]])
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", *arguments])
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("; see 'governor check --help'")


# ------------------------------------------------------------------------------------ the schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return editor.schema()


def test_the_schema_of_the_examples_is_that_of_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else: governor check --schema > examples/batch.schema.json."""
    assert main(["check", "--schema"]) == 0
    assert capsys.readouterr().out == (EXAMPLES / "batch.schema.json").read_text()


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft7Validator.check_schema(schema)
    assert "null" not in json.dumps(schema)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("**/*.toml")), ids=lambda file: file.name)
def test_the_examples_validate_and_name_the_schema(file: Path, schema: dict[str, Any]) -> None:
    text = file.read_text()
    jsonschema.validate(tomllib.loads(text), schema)
    first = text.splitlines()[0]
    assert first.startswith("#:schema ./")
    assert (file.parent / first.removeprefix("#:schema ")).is_file()


@pytest.mark.parametrize(
    ("good", "wrong"),
    [
        ("[hierarchies.load]", 'titel = "x"\n[hierarchies.load]'),
        ("command", "comand"),
        ('name = "a"\n', ""),
        ("timeout = 1.5", "timeout = true"),
        ('"numtasks.limit"', '"numtasks.limits"'),
        ('"numtasks.limit"', '"numtasks.held"'),
        ('"4k"', "4.5"),
        ('"numtasks"', '"numtask"'),
        ("@projects", "@not a name"),
        ("load", '"not a name"'),
        ("timeout = 1.5", 'retries = "often"'),
        ("timeout = 1.5", "success = { exit_code = 1 }"),
        ("timeout = 1.5", "matrix = { level = 3 }"),
    ],
)
def test_what_is_wrong_in_a_file_is_seen(schema: dict[str, Any], good: str, wrong: str) -> None:
    jsonschema.validate(tomllib.loads(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(GOOD.replace(good, wrong)), schema)


def test_every_file_that_can_be_written_is_in_it(schema: dict[str, Any]) -> None:
    containers = schema["$defs"]["Hierarchy"]["properties"]["containers"]
    known = set(containers["additionalProperties"]["properties"])
    for name in registry.names():
        files = registry.load(name).populate().items()
        assert known >= {file for file, found in files if found.writable}


@pytest.mark.stress
def test_taplo_understands_the_schema(tmp_path: Path) -> None:
    """The program itself, where it is installed: most editors for TOML use it."""
    taplo = shutil.which("taplo")
    if taplo is None:
        pytest.skip("taplo is not installed")
    (tmp_path / "batch.schema.json").write_text(editor.text())
    for text, code in ((GOOD, 0), (GOOD.replace('"numtasks"', '"numtask"'), 1)):
        (tmp_path / "a.toml").write_text(f"#:schema ./batch.schema.json\n{text}")
        ended = subprocess.run(
            [taplo, "check", "a.toml"], cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == code, ended.stderr
        assert ('"numtask" is not valid' in ended.stderr) == bool(code)
