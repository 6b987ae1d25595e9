"""The far side of the benchmark: a process with a governor of its own, in one shape.

    python -m governor.bench.served PROGRAM... -- SHAPE...

with the paths of `helpers.Programs` and the words of a `shape.Shape` mounts the hierarchies, says
``ready``, and then answers every line with ``ok NUMBER...`` or ``error REASON``, until its input
ends:

    mean OPERATION COUNT            do it so often; nanoseconds of one
    each|... OPERATION COUNT        what `loop.c` prints in that way
    gather OPERATION COUNT JOBS     start so many loops as jobs that wait for each other
    release                         let them go
    collect                         when each of them began and ended
    fill CONTAINERS                 make so many containers more
    idle PROCESSES                  start so many processes that do nothing
    weigh                           bytes of supervisor, agent and spawner (`site.Weight`)

A process apart for each shape, so that those of one run share nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import IO

from governor.bench.controls import Controls
from governor.bench.crew import Crew
from governor.bench.helpers import Programs
from governor.bench.operations import LOOP_NAMES
from governor.bench.shape import Shape
from governor.bench.site import GovernorSite
from governor.errors import GovernorError


class _Server:
    """Does what is asked for."""

    def __init__(self, site: GovernorSite, programs: Programs, controls: Controls) -> None:
        self._site, self._programs, self._controls = site, programs, controls
        self._crew = Crew(site.start, [programs.loop])

    def close(self) -> None:
        """End the loops that nobody has let go."""
        self._crew.close()

    def answer(self, request: str) -> Sequence[float]:
        """Return the numbers; GovernorError or OSError when something is refused or fails."""
        match request.split():
            case ["gather", operation, count, jobs]:
                self._crew.gather(operation, int(count), int(jobs))
                return []
            case ["release"]:
                self._crew.release()
                return []
            case ["collect"]:
                return self._crew.collect()
            case ["fill", containers]:
                self._site.fill(int(containers))
                return []
            case ["idle", processes]:
                self._controls.start_idle(int(processes))
                return []
            case ["weigh"]:
                return self._site.weigh()
            case ["mean", operation, count] if operation not in LOOP_NAMES:
                return [self._controls.run(operation, int(count))]
            case words:
                return self._site.loop([self._programs.loop, *words])


def serve(programs: Programs, shape: Shape, requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are no more."""
    from governor.api import Governor

    with Governor(metrics=0) as governor:
        site = GovernorSite(governor, shape)
        with (
            contextlib.closing(Controls(site, programs)) as controls,
            contextlib.closing(_Server(site, programs, controls)) as server,
        ):
            controls.populate(shape)
            print("ready", file=replies, flush=True)
            for request in requests:
                try:
                    reply = " ".join(["ok", *map(str, server.answer(request))])
                except (GovernorError, OSError) as error:
                    reply = f"error {error}"
                print(reply, file=replies, flush=True)


def _end(number: int, _: object) -> None:
    """End in order, with the governor: nobody wants it any more."""
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    """The command above; what goes wrong before ``ready`` is an ``error`` line too."""
    signal.signal(signal.SIGTERM, _end)
    end = arguments.index("--")
    shape = Shape.from_words(arguments[end + 1 :])
    try:
        serve(Programs(*arguments[:end]), shape, sys.stdin, sys.stdout)
    except GovernorError as error:
        print("error", error, flush=True)
        return 1
    except BrokenPipeError:
        # Nobody is there any more to be told. What is still buffered is not to be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
