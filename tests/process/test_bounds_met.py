"""Events of limits and barriers that are met: at once, every one counted, none of them lost."""

from __future__ import annotations

import os
from collections.abc import Callable

from governor.api import Governor
from governor.results import Event
from tests.capabilities import need
from tests.process.helpers import puppet, run_job
from tests.process.running import program
from workers.privilege import privileged

ORDINARY = ["setpriv", "--bounding-set=-sys_resource,-sys_admin"]


def until(gov: Governor, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """The bounds that were met so far, once there are enough; following ends by itself."""
    met: list[Event] = []
    for event in gov.events(after=0):
        if event.kind in ("limit", "barrier"):
            met.append(event)
            if enough(met):
                return met
    raise AssertionError("the events have an end")


def test_the_first_refusal_is_told_at_once_with_who_met_what(gov: Governor) -> None:
    users = gov.mount("users", ["numtasks"]).mkdir("/users")
    users["numtasks.limit"] = 2
    with puppet(gov, users.mkdir("ann")) as job:
        job.make()
        assert job.is_refused()
        [event] = until(gov, lambda met: True)
    assert (event.kind, event.hierarchy, event.path) == ("limit", "users", "/users")
    assert event.fields == {
        "resource": "tasks",
        "bound": 2,
        "held": 2,
        "times": 1,
        "pid": job.pid,
        "job": 1,
        "answer": "refused",
    }


def test_hundreds_of_refusals_are_a_few_events_that_add_up(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"] = 6
    _, output = run_job(gov, [program("tasks_bomb"), "5", "0"], [box])
    refused = int(output.split()[1])

    def times(met: list[Event]) -> int:
        return sum(int(event.fields["times"]) for event in met)

    met = until(gov, lambda met: times(met) >= refused)
    assert times(met) == refused == box["numtasks.failcnt"]
    assert met[0].fields["times"] == 1


def test_ordinary_callers_meet_the_barrier(gov: Governor) -> None:
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"], box["numtasks.barrier"] = 9, 4
    bomb = [program("tasks_bomb"), "1", "0"]
    run_job(gov, [*ORDINARY, *bomb] if os.geteuid() == 0 else bomb, [box])
    event = until(gov, lambda met: True)[0]
    assert (event.kind, event.fields["bound"], event.fields["answer"]) == ("barrier", 4, "refused")


def test_a_privileged_caller_that_goes_over_the_barrier_is_told_of(gov: Governor) -> None:
    need(privileged(os.getpid()), "nobody here may pass a barrier", root=True)
    box = gov.mount("load", ["numtasks"]).mkdir("/box")
    box["numtasks.limit"], box["numtasks.barrier"] = 4, 3
    with puppet(gov, box) as job:
        job.fill(3)  # one over it: a second one may be told of before the limit is met
        assert job.is_refused()
        met = until(gov, lambda met: len(met) == 2)
    assert [(event.kind, event.fields["answer"]) for event in met] == [
        ("barrier", "admitted"),
        ("limit", "refused"),
    ]
