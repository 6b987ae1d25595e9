"""Ctrl-C while a command is still being imported: it ends, and nobody sees where it was."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.end_to_end.runner import Runner, end
from tests.end_to_end.runner import runner as runner

pytestmark = pytest.mark.once

INTERRUPTED = f"""
import signal, sys, weakref
class Thing: pass
def interrupt(*_):
    signal.raise_signal({int(signal.SIGINT)})
def hear(event, args):
    if event == "import" and args[0] == module:
        if where == "callback":
            thing = Thing()
            reference = weakref.ref(thing, interrupt)
            del thing
        else:
            interrupt()
module, where = sys.argv.pop(1), sys.argv.pop(1)
sys.addaudithook(hear)
from governor.__main__ import entry
entry()
"""
"""The installed command, to which SIGINT is sent just as it imports a module."""


def interrupted_at(runner: Runner, module: str, *arguments: str, where: str = "hook") -> int:
    """The status of a command that hears SIGINT when it imports the module; it says nothing."""
    with runner.command([sys.executable, "-c", INTERRUPTED, module, where, *arguments]) as process:
        ended = end(process, "")
    assert (ended.output, ended.errors) == ("", "")
    return ended.exit_code


def test_until_there_is_something_to_tidy_up_it_dies_of_it(runner: Runner) -> None:
    assert interrupted_at(runner, "governor.cli", "run", "--", "true") == -signal.SIGINT


@pytest.mark.parametrize("module", ["zmq", "argparse", "governor.cli.arguments", "governor.api"])
def test_then_it_tidies_up_first(runner: Runner, module: str) -> None:
    assert interrupted_at(runner, module, "run", "--", "true") == 128 + signal.SIGINT


def test_it_is_heard_where_nothing_can_be_raised(runner: Runner) -> None:
    """Importing is full of such moments, each of them short."""
    codes = {interrupted_at(runner, "argparse", "run", "--", "true", where="callback")}
    codes |= {interrupted_at(runner, "governor.cli.manual", "man", "run", where="callback")}
    assert codes == {128 + signal.SIGINT}


@pytest.mark.parametrize("module", ["argparse", "governor.cli.verb"])
def test_another_command_dies_of_it_until_its_arguments_are_read(
    runner: Runner, module: str
) -> None:
    assert interrupted_at(runner, module, "ls") == -signal.SIGINT
    assert interrupted_at(runner, "governor.cli.manual", "man", "run") == 128 + signal.SIGINT


@pytest.mark.parametrize("ours", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_job_has_what_governors_caller_had(runner: Runner, ours: signal.Handlers) -> None:
    ask = "import signal; print(int(signal.getsignal(signal.SIGINT) is signal.SIG_IGN))"
    before = signal.signal(signal.SIGINT, ours)
    try:
        process = runner.start("--", sys.executable, "-c", ask)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert end(process, "").output == f"{int(ours is signal.SIG_IGN)}\n"
