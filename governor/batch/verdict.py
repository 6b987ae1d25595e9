"""What comes of the end of a job: a success or none, and another attempt or none."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable

from governor.batch.plan import Retry, Success
from governor.report import FAILED, OK, TIMEOUT, JobReport
from governor.results import NOT_EXECUTABLE, NOT_FOUND

_JITTER = 0.25
"""The part of a delay that chance may take away, so that jobs that failed together come apart."""


def judged(report: JobReport, success: Success, outputs: Iterable[str]) -> JobReport:
    """Return the report of a job that has ended, with the status that its file wants.

    ``outputs``: the files that have what it wrote.
    """
    if report.status not in (OK, FAILED) or report.error is not None:
        return report
    if report.exit_code not in success.exit_codes:
        return report._replace(status=FAILED)
    unmet = missing(success) or _unsaid(success.output, outputs)
    return report._replace(status=FAILED if unmet else OK, unmet=unmet)


def missing(success: Success) -> str | None:
    """Return which of the files that there have to be there is not, or is empty."""
    for path in (*success.files, *success.nonempty_files):
        try:
            size = os.stat(path).st_size
        except OSError:
            return f"there is no {path}"
        if size == 0 and path in success.nonempty_files:
            return f"{path} is empty"
    return None


def _unsaid(wanted: str | None, outputs: Iterable[str]) -> str | None:
    if wanted is None or any(_contains(path, wanted.encode()) for path in outputs):
        return None
    return f'its output has no "{wanted}"'


def _contains(path: str, wanted: bytes) -> bool:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(wanted) >= 0
    except (OSError, ValueError):  # it is gone, no regular file, or empty
        return False


def is_retried(report: JobReport, retry: Retry) -> bool:
    """Whether a job is started again after this end of the attempt that the report is of."""
    if report.status not in (FAILED, TIMEOUT) or len(report.attempts) > retry.times:
        return False
    if report.exit_code in retry.on:
        return True
    # A program that is not there will not be there in a second either.
    hopeless = report.exit_code in (NOT_FOUND, NOT_EXECUTABLE)
    return report.status in retry.on and not hopeless


def delay(retry: Retry, attempts: int, chance: float) -> float:
    """Return the seconds between so many attempts and the next one; ``chance`` is 0 to 1."""
    # More doublings than a float can take change nothing.
    full = min(retry.most, retry.delay * 2.0 ** min(attempts - 1, 64))
    return full * (1 - _JITTER * chance)
