"""What the commands on a running governor are given, read into parts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.cli import target
from governor.cli.layout import parse_setting
from governor.cli.target import Assignment, Target

NAMES = st.text("abcxyz019_-.@", min_size=1, max_size=6)
PATHS = st.lists(NAMES, max_size=4).map(lambda names: "/" + "/".join(names))


@given(NAMES, PATHS, NAMES)
def test_parts_come_back(hierarchy: str, path: str, file: str) -> None:
    whole = Target(hierarchy, path)
    assert target.container(f"{hierarchy}:{path}") == whole
    assert target.branch(f"{hierarchy}:{path}") == whole
    assert target.container_or_file(f"{hierarchy}:{path}") == whole
    assert target.container_or_file(f"{hierarchy}:{path}:{file}") == whole._replace(file=file)


@given(NAMES, PATHS, NAMES, st.text(max_size=8))
def test_a_value_may_be_anything(hierarchy: str, path: str, file: str, value: str) -> None:
    text = f"{hierarchy}:{path}:{file}={value}"
    assert target.assignment(text) == Assignment(Target(hierarchy, path, file), file, value)
    setting = parse_setting(text)
    assert (setting.place, setting.file, setting.value) == ((hierarchy, path), file, value)


@given(NAMES)
def test_a_hierarchy_is_its_root(hierarchy: str) -> None:
    assert target.branch(hierarchy) == Target(hierarchy, "/")


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (target.container, "load"),
        (target.container, "load:builds"),
        (target.container, ":/builds"),
        (target.container, ""),
        (target.branch, ""),
        (target.container_or_file, "load:/builds:"),
        (target.container_or_file, "load:numtasks.limit"),
        (target.assignment, "load:/builds=3"),
        (target.assignment, "load:/builds:numtasks.limit"),
        (target.assignment, "=3"),
        (target.subsystems, "a,,b"),
        (target.subsystems, ""),
        (target.pid, "0"),
        (target.pid, "-1"),
        (target.pid, "99999999999999"),
        (target.pid, "\N{SUPERSCRIPT TWO}"),
        (target.signal_number, "NOSUCH"),
        (target.signal_number, "65"),
        (target.signal_number, "-1"),
    ],
)
def test_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse(text)


@given(st.text(max_size=20))
def test_rubbish_is_refused_by_a_value_error_only(text: str) -> None:
    for parse in (target.container, target.branch, target.container_or_file, target.assignment,
                  target.subsystems, target.pid, target.signal_number):  # fmt: skip
        with contextlib.suppress(ValueError):
            parse(text)


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "sigterm", "15"])
def test_signals(text: str) -> None:
    assert target.signal_number(text) == signal.SIGTERM
