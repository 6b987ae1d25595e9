"""Where a running governor is looked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from governor import rundir
from governor.errors import GovernorError, NotRunning


@pytest.mark.parametrize(
    ("given", "environment", "user", "expected"),
    [
        ("/x", {"GOVERNOR_DIR": "/g", "XDG_RUNTIME_DIR": "/r"}, 1000, "/x"),
        (None, {"GOVERNOR_DIR": "/g", "XDG_RUNTIME_DIR": "/r"}, 1000, "/g"),
        (None, {"GOVERNOR_DIR": "", "XDG_RUNTIME_DIR": "/r"}, 1000, "/r/governor"),
        (None, {"XDG_RUNTIME_DIR": "/r"}, 0, "/r/governor"),
        (None, {}, 0, "/run/governor"),
        (None, {}, 1000, "/tmp/governor-1000"),
    ],
)
def test_the_usual_places(
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    environment: dict[str, str],
    user: int,
    expected: str,
) -> None:
    for name in ("GOVERNOR_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert rundir.directory(given) == expected


def test_a_path_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(GovernorError) as refused:
        rundir.directory("/" + "x" * 200)
    assert refused.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize(
    "use",
    [rundir.claim, rundir.open_log, lambda path: rundir.record(path, 1, 2)],
    ids=["claim", "log", "record"],
)
def test_a_place_that_cannot_be_used_is_named_and_what_to_do(use: Callable[[str], object]) -> None:
    with pytest.raises(GovernorError) as refused:
        use("/proc/nowhere/g")
    assert refused.value.errno == errno.ENOENT
    assert refused.value.message == (
        "cannot run a governor at /proc/nowhere/g: No such file or directory; "
        "choose another place with --dir or GOVERNOR_DIR"
    )


def test_a_claim_is_exclusive_and_clears_what_was_left(tmp_path: Path) -> None:
    place = tmp_path / "g"
    place.mkdir(0o700)
    (place / "pid").write_text("1\n")
    (place / "nonce").write_text("rubbish\n")
    (place / "log").write_text("governor: first\ngovernor: it was dark\n")
    lock = rundir.claim(str(place))
    assert os.listdir(place) == ["log"]
    with pytest.raises(NotRunning) as refused:
        rundir.find(str(place))
    assert "it was dark" in refused.value.message
    rundir.leave(str(place), lock)
    assert os.listdir(place) == ["log"]
    os.close(rundir.open_log(str(place)))
    rundir.leave(str(place), rundir.claim(str(place)))
    assert not place.exists()
