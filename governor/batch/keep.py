"""Where the record of a run is kept, and what is said of it before and after the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from governor.batch.plan import BatchFileError, BatchPlan, Mistake
from governor.batch.record import OLD, Record, beside, claim
from governor.batch.resume import Resumption, sentences
from governor.report import OK, Report
from governor.table import wrapped


def keep(source: str, chosen: str | None, resume: bool) -> Record:
    """Return the record of a run, without a file where nobody asked for it and it cannot be.

    ``source`` is the batch file, ``chosen`` the record that the user named. Raises what
    `governor.batch.record.claim` does, but `BatchFileError` for what cannot be written.
    """
    path = chosen or beside(source)
    asked = resume or chosen is not None
    if path is None:
        if asked:
            reason = "is no file that a record could lie beside; name one by --record"
            raise BatchFileError(source, [Mistake(0, reason)])
        return Record("", None)
    try:
        return claim(path, resume)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        if asked:
            mistake = Mistake(0, f"{reason}; choose another by --record")
            raise BatchFileError(path, [mistake]) from None
        record = Record(path, None)
        record.complaint = f"no record is kept, so that --resume will not work: {path} {reason}"
        return record


def first_words(plan: BatchPlan, resume: bool, record: Record, found: Resumption) -> Iterator[str]:
    """Yield what is to be said of earlier runs. A record whose loss would hurt will be kept."""
    done, total = len(found.earlier), len(plan.jobs)
    if record.history.torn:
        yield wrapped("", f"the last line of {record.path} was cut short: it is left out")
    if resume and record.history.run is None:
        yield wrapped("", f"no earlier run is on record in {record.path}: all jobs are run")
    elif resume:
        yield from sentences(found, total)
    elif record.damaged:
        record.keep = True
        place = f"{record.path}:{record.damaged.line}"
        yield wrapped("starting anew; ", f"{place} is damaged, so it is kept as {record.path}{OLD}")
    elif 0 < done < total:
        record.keep = True
        yield wrapped(
            "starting anew: ",
            f"{done} of {total} jobs had succeeded, which --resume would not run again; that is "
            f"kept in {record.path}{OLD}",
        )


def last_words(source: str, chosen: str | None, record: Record, report: Report) -> Iterator[str]:
    """Yield what the record lacks, and how to go on where something has not succeeded."""
    if record.descriptor is None:
        return
    if not record.complete():
        yield f"{record.path} does not have all of this: --resume would run what it lacks again"
    if any(job.status != OK for job in report.jobs):
        where = [] if chosen is None else ["--record", chosen]
        command = shlex.join(["governor", "batch", "--resume", *where, source])
        yield f"to run what has not succeeded: {command}"
