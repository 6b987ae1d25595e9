"""What is raised for a job that did not succeed: which error, what it carries, what it says."""

from __future__ import annotations

import errno
import pickle

import pytest

import governor
from governor.errors import GovernorError, JobFailed, JobTimeout, LimitExceeded
from governor.results import JobResult, Refusal

OK = JobResult(0, None, 1.5, 0.25, False, None)
TASKS = Refusal("load:/builds", "tasks", 64, 64, 12)
FILES = Refusal("load:/", "files", 4, 3, 1)


def failure(result: JobResult) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        result.check("build")
    return caught.value


def test_success_is_no_failure_whatever_was_refused() -> None:
    result = OK._replace(refusals=(TASKS,))
    assert result.check() is result


@pytest.mark.parametrize(
    ("result", "kind", "number", "words"),
    [
        (OK._replace(exit_code=3), JobFailed, errno.ECHILD, "job build failed with exit code 3"),
        (
            OK._replace(exit_code=137, signal=9),
            JobFailed,
            errno.ECHILD,
            "job build was ended by signal 9",
        ),
        (
            OK._replace(exit_code=125, error="load:/ is full; job build was not started"),
            JobFailed,
            errno.ECHILD,
            "load:/ is full; job build was not started",
        ),
        (
            OK._replace(exit_code=124, timed_out=True, refusals=(FILES,)),
            JobTimeout,
            errno.ETIMEDOUT,
            "job build timed out after 1.5 s; "
            "it was refused files at load:/ once (limit 4, held 3)",
        ),
        (
            OK._replace(exit_code=1, refusals=(FILES, TASKS)),
            LimitExceeded,
            errno.EAGAIN,
            "job build failed with exit code 1; it was refused files at load:/ once "
            "(limit 4, held 3); tasks at load:/builds 12 times (limit 64, held 64)",
        ),
    ],
)
def test_a_failure_says_what_happened_and_survives_pickling(
    result: JobResult, kind: type[JobFailed], number: int, words: str
) -> None:
    error = failure(result)
    assert type(error) is kind
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, kind)
        assert isinstance(one, GovernorError)
        assert (one.result, one.name, one.errno, str(one)) == (result, "build", number, words)


def test_exceeding_a_limit_names_what_was_refused_most() -> None:
    error = failure(OK._replace(exit_code=1, refusals=(FILES, TASKS)))
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, LimitExceeded)
        assert (one.container, one.resource, one.limit, one.held) == TASKS[:4]


def test_a_limit_can_be_exceeded_without_a_job() -> None:
    error = LimitExceeded("load:/x", "files", 4, 4)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert (one.errno, one.result) == (errno.EMFILE, None)
        assert str(one) == "load:/x is at its limit of 4 files"


def test_a_result_of_an_older_record_has_no_refusals() -> None:
    assert JobResult.read(list(OK)[:7]) == OK
    known = OK._replace(refusals=(TASKS,))
    assert JobResult.read([*OK[:7], [list(TASKS)]]) == known


def test_they_are_public() -> None:
    assert governor.LimitExceeded is LimitExceeded
    assert governor.JobTimeout is JobTimeout
    assert governor.Refusal is Refusal
