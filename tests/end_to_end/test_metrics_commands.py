"""Metrics of `governor run` and `governor up`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.prometheus import free_port
from tests.end_to_end.running import Shell
from tests.end_to_end.scraped import text
from tests.leftovers import Mark

pytestmark = pytest.mark.once

RUN = [sys.executable, "-m", "governor", "run"]


@pytest.fixture
def mark() -> Iterator[Mark]:
    mark = Mark()
    yield mark
    mark.kill()


def environment(mark: Mark) -> dict[str, str]:
    return {**os.environ, **mark.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_up_finds_files_from_where_it_is_given(shell: Shell, tmp_path: Path) -> None:
    """Who is detached is elsewhere."""
    (tmp_path / "passwords").touch(0o600)
    (tmp_path / "passwords").write_text("ada:secret\n")
    url = f"127.0.0.1:{free_port()}"
    ended = shell.governor(
        "up", "--detach", "--metrics", url, "--metrics-auth", "passwords", cwd=tmp_path
    )
    assert (ended.exit_code, ended.errors) == (0, "")
    asking = urllib.request.Request(f"http://{url}/metrics")
    with pytest.raises(urllib.error.HTTPError, match="Unauthorized") as refused:
        urllib.request.urlopen(asking, timeout=60)
    refused.value.close()
    asking.add_header("Authorization", "Basic " + b64encode(b"ada:secret").decode())
    with urllib.request.urlopen(asking, timeout=60) as answer:
        assert b"governor_build_info" in answer.read()


def test_run_serves_metrics_while_the_command_runs(mark: Mark) -> None:
    port = free_port()
    program = (
        "import urllib.request, sys;"
        f"sys.stdout.buffer.write(urllib.request.urlopen('http://127.0.0.1:{port}/metrics').read())"
    )
    done = subprocess.run(
        [*RUN, "--max-tasks", "50", "--metrics", str(port), "--", sys.executable, "-c", program],
        env=environment(mark),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'governor_numtasks_limit{container="/job",hierarchy="load"} 50.0' in done.stdout
    assert 'governor_numtasks_held{container="/job",hierarchy="load"} 1.0' in done.stdout
    assert mark.processes() == []


def test_run_with_metrics_passes_signals_on(mark: Mark) -> None:
    program = (
        "import signal, sys;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print('ready', flush=True);"
        "signal.pause()"
    )
    port = free_port()
    with subprocess.Popen(
        [*RUN, "--metrics", str(port), "--", sys.executable, "-c", program],
        env=environment(mark),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
        assert "governor_build_info" in text(port)
        command.send_signal(signal.SIGTERM)
        assert command.wait(60) == 7
    assert mark.processes() == []


def test_run_with_a_port_in_use_starts_nothing(mark: Mark, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*RUN, "--metrics", str(port), "--", "touch", str(tmp_path / "started")],
            env={**environment(mark), "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == (
        f"governor: cannot serve metrics: port {port} of 127.0.0.1 is in use; choose another\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert mark.processes() == []
