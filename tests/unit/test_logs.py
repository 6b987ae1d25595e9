"""Logs that are kept: one for every attempt, so many of each job, and none without a bound."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from governor.batch.listener import Now, Running
from governor.batch.logs import Logs
from governor.errors import GovernorError


def write(logs: Logs, job: str, text: str) -> None:
    logs.begin(job)
    Path(logs.path(job)).write_text(text)


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_every_start_has_a_log_and_the_oldest_goes(tmp_path: Path) -> None:
    logs = Logs(str(tmp_path / "new" / "logs"), keep=2)
    for text in "1234":
        write(logs, "a", text)
    write(logs, "a.log", "x")
    assert contents(tmp_path / "new" / "logs") == {
        "a.log": "4",
        "a.log.1": "3",
        "a.log.2": "2",
        "a.log.log": "x",
    }


def test_without_older_ones_there_is_only_the_newest(tmp_path: Path) -> None:
    logs = Logs(str(tmp_path), keep=0)
    write(logs, "a", "1")
    write(logs, "a", "2")
    assert contents(tmp_path) == {"a.log": "2"}


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_log_that_grows_too_large_is_cut(tmp_path: Path, keep: int) -> None:
    logs = Logs(str(tmp_path), keep=keep, most=10)
    now = Now([Running("a", 0.0, [])], 0, 0)
    logs.begin("a")
    file = os.open(logs.path("a"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for text in (b"0123456789", b"more", b"0123456789abcdef", b"end"):
        os.write(file, text)
        logs.tick(now)
    os.close(file)
    # Ten bytes are no more than ten; four more are, and so are sixteen.
    expected = {"a.log": "end", "a.log.1": "0123456789abcdef", "a.log.2": "0123456789more"}
    assert contents(tmp_path) == dict(list(expected.items())[: keep + 1])
    newest = "".join(Path(path).read_text() for path in logs.parts("a"))
    assert newest == ("0123456789abcdefend" if keep else "end")


def test_a_log_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    Logs(str(tmp_path), most=10).tick(Now([Running("a", 0.0, [])], 0, 0))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, number in (("file", errno.EEXIST), ("file/logs", errno.ENOTDIR)):
        with pytest.raises(GovernorError, match="cannot keep logs in") as caught:
            Logs(str(tmp_path / name))
        assert caught.value.errno == number


def test_links_that_somebody_planted_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("0123456789abcdef")
    directory = tmp_path / "logs"
    logs = Logs(str(directory), keep=1, most=10)
    now = Now([Running("a", 0.0, [])], 0, 0)
    Path(logs.path("a")).symlink_to(precious)
    logs.tick(now)
    Path(logs.path("a")).unlink()
    write(logs, "a", "0123456789abcdef")
    (directory / "a.log.1").symlink_to(precious)
    logs.tick(now)
    assert precious.read_text() == "0123456789abcdef"
    assert contents(directory) == {"a.log": "", "a.log.1": "0123456789abcdef"}
