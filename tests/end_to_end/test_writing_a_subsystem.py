"""docs/writing-a-subsystem.md, followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-subsystem.md").read_text()
FILE = r"^`([\w.]+)`\n\n(?:<!-- [^\n]* -->\n)?```\w+\n(.*?)^```$"
FILES = dict(re.findall(FILE, PAGE, re.MULTILINE | re.DOTALL))
CONSOLE = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The package of the page, unpacked as an installer would; where it is found."""
    assert set(FILES) == {"gate.py", "pyproject.toml", "try_gate.py"}
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name, text in FILES.items():
        (source / name).write_text(text)
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    site.mkdir()
    (site / "gate.py").write_text(FILES["gate.py"])
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["governor.subsystems"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[governor.subsystems]", *lines, ""]))
    path = os.pathsep.join([str(site), str(ROOT), *filter(None, sys.path)])
    return os.environ | {"PYTHONPATH": path}


def test_the_page_does_what_it_says(installed: dict[str, str], tmp_path: Path) -> None:
    """Every command of the page prints what it prints there, but for a pid."""
    said = ""
    for command in re.findall(r"^\$ (.*)$", CONSOLE, re.MULTILINE):
        said += f"$ {command}\n"
        if command == "pip install .":
            continue  # it is
        argv = command.replace("governor", f"{sys.executable} -m governor", 1).split()
        argv[0] = sys.executable
        done = subprocess.run(
            argv, env=installed, cwd=tmp_path / "source", capture_output=True, text=True, timeout=60
        )
        said += done.stdout + done.stderr
    assert _without_pids(said) == _without_pids(CONSOLE)


def test_the_example_has_about_sixty_lines_of_code() -> None:
    code = [line for line in FILES["gate.py"].splitlines() if line.strip()]
    assert len(code) < 90


def test_the_class_with_four_names_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counted resource of the page can be mounted."""
    (text,) = re.findall(r'^```python\n("""terminals.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(text, names)
    from governor import registry
    from governor.subsystem import CountedSubsystem

    monkeypatch.setattr(registry, "_registered", {})  # other tests count those there are
    cls = names["Terminals"]
    assert isinstance(cls, type)
    assert issubclass(cls, CountedSubsystem)
    assert isinstance(registry.register(cls)(), CountedSubsystem)


def _without_pids(text: str) -> str:
    return re.sub(r"process \d+", "process PID", text)
