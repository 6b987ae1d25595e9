"""A task, in the process of its job.

The call is a pickle in a memory file, which is standard input; the answer is left in its place.
The first byte says which of both it is. Whoever waits for the job reads the answer when that has
ended, with 0, or with 1 for an exception. So nobody has to read and write at once, and what a
killed one has left is not taken for an answer.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Final

from workers import stdin

CALL: Final = b"C"
ANSWER: Final = b"A"
RAISED: Final = 1
"""The exit code after an exception, as that of a program in Python."""


def main() -> None:
    """Carry out the call. What ends a process (SystemExit, KeyboardInterrupt) ends this one."""
    own = os.getpid()
    with open(stdin.take(), "r+b") as file:
        answer: tuple[bool, Any, Any]
        try:
            answer = True, _take_call(file)(), None
        except Exception as error:
            answer = False, error, error.__traceback__
        if os.getpid() == own:  # and not a fork of the task that has come back as well
            _leave(file, answer)
    if not answer[0]:
        sys.exit(RAISED)


def _take_call(file: IO[bytes]) -> Callable[[], Any]:
    """The call; the memory that its pickle took is free afterwards."""
    file.seek(len(CALL))
    task, data = pickle.load(file)
    file.seek(0)
    file.truncate()
    return partial(task, data)


def _leave(file: IO[bytes], answer: tuple[bool, Any, Any]) -> None:
    """Write the answer; in the place of one that cannot be sent, an exception that says so."""
    succeeded, value, trace = answer
    if not succeeded:
        from tblib import pickling_support

        pickling_support.install()
    try:
        data = _pickled(answer)
    except Exception as error:
        what = "result" if succeeded else "exception"
        text = f"the {what}, of type {type(value).__name__}, cannot be sent: {error}"
        data = _pickled((False, pickle.PicklingError(text), trace))
    file.seek(0)
    file.write(ANSWER + data)


def _pickled(answer: tuple[bool, Any, Any]) -> bytes:
    """As Dask does it: what is of ``__main__``, which is another one elsewhere, by value."""
    try:
        data = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        if b"__main__" not in data:
            return data
    except Exception:  # cloudpickle knows more, or says why not
        pass
    import cloudpickle

    whole: bytes = cloudpickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    return whole
