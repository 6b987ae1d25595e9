"""Which environment a job gets, on hosts of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from workers import shim


@pytest.fixture
def preload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host that needs the shim and has it; the LD_PRELOAD entry that loads it."""
    library = tmp_path / os.uname().machine / "shim.so"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(shim, "_PRELOAD", str(tmp_path))
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.36")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return f"{tmp_path}/$PLATFORM/shim.so"


def _libc(answer: str | None) -> Callable[[str], str | None]:
    return lambda _: answer


@pytest.mark.parametrize(
    ("libc", "needed"),
    [
        ("glibc 2.28", True),
        ("glibc 2.40", True),
        ("glibc 2.41", False),
        ("glibc 2.41.9000", False),
        ("glibc 3.0", False),
        (None, False),
        ("", False),
        ("other 1.0", False),
        ("glibc", False),
    ],
)
def test_needed(monkeypatch: pytest.MonkeyPatch, libc: str | None, needed: bool) -> None:
    monkeypatch.setattr(os, "confstr", _libc(libc))
    assert shim.needed() is needed


def test_a_libc_without_the_name_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise ValueError(name)

    monkeypatch.setattr(os, "confstr", unknown)
    assert not shim.needed()


def test_preloads(preload: str) -> None:
    assert shim.environment({"A": "b"}) == {
        "A": "b",
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "verify_asan_link_order=0",
    }
    assert shim.state()[0] == "active"


def test_keeps_what_is_there_and_first(preload: str) -> None:
    env = {"LD_PRELOAD": "/lib/mine.so yours.so", "ASAN_OPTIONS": "detect_leaks=0"}
    assert shim.environment(env) == {
        "LD_PRELOAD": f"/lib/mine.so yours.so:{preload}",
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
    }


def test_leaves_the_argument_alone(preload: str) -> None:
    env = {"A": "b"}
    shim.environment(env)
    assert env == {"A": "b"}


def test_twice_is_once(preload: str) -> None:
    once = shim.environment({})
    assert shim.environment(once) == once


def test_a_choice_about_the_link_order_stands(preload: str) -> None:
    env = shim.environment({"ASAN_OPTIONS": "verify_asan_link_order=1"})
    assert env["ASAN_OPTIONS"] == "verify_asan_link_order=1"


def test_switched_off(preload: str) -> None:
    assert shim.environment({"GOVERNOR_SHIM": "off"}) == {"GOVERNOR_SHIM": "off"}


def test_not_needed(preload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", _libc("glibc 2.41"))
    assert shim.environment({"A": "b"}) == {"A": "b"}
    assert shim.state()[0] == "not needed"


def test_missing(preload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(preload.replace("$PLATFORM", os.uname().machine)).unlink()
    assert shim.path() is None
    assert shim.environment({"A": "b"}) == {"A": "b"}
    state, explanation = shim.state()
    assert state == "missing"
    assert "compiler" in explanation


def test_a_place_that_cannot_be_preloaded(preload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LD_PRELOAD is split at spaces and colons, and has no way to quote them."""
    machine = os.uname().machine
    library = Path(preload.replace("$PLATFORM", machine))
    directory = library.parents[1] / "a place" / machine
    directory.mkdir(parents=True)
    library.rename(directory / "shim.so")
    monkeypatch.setattr(shim, "_PRELOAD", str(directory.parent))
    assert shim.environment({"A": "b"}) == {"A": "b"}
    assert "a place" in shim.state()[1]
