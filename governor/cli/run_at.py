"""``governor run --at``: a job of a running governor, and its exit code.

The job is no child of this process and not in its session. So nothing that is typed reaches it
by itself: signals are sent on, and those of the terminal to its whole process group.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from governor.cli.run import BY_TERMINAL, explain, signals_forwarded, signals_held
from governor.errors import GovernorError

if TYPE_CHECKING:
    from governor.api import Container, Governor, Job

_OF_ITS_OWN = (
    "max_tasks", "max_files", "cpus", "hierarchy", "report", "agent_timeout", "events", "metrics",
    "metrics_tls_cert", "metrics_tls_key", "metrics_auth", "metrics_keep",
)  # fmt: skip


def run(args: argparse.Namespace, command: list[str]) -> int:
    """Run the command there; returns its exit code."""
    for name in _OF_ITS_OWN:
        if getattr(args, name) not in (None, []):
            raise GovernorError(
                errno.EINVAL,
                f"{_spelling(args, name)} is for a governor of the command's own, without --at; "
                f"--in, --set, --timeout and --grace go with --at",
            )
    for setting in args.settings:
        if setting.place is None:
            raise GovernorError(
                errno.EINVAL,
                f"{setting.file} is for a container of the command's own, without --at; "
                f"say of which one: --set NAME:/PATH:{setting.file}={setting.value}",
            )
    from governor.api import Governor
    from governor.cli.target import Target
    from governor.cli.verb import container

    with Governor.connect(args.at or None) as governor:
        places = [container(governor, Target(*place)) for place in args.places]
        for setting in args.settings:
            assert setting.place is not None
            container(governor, Target(*setting.place))[setting.file] = setting.value
        return run_in(
            governor, places, command, args.prefix,
            cwd=args.cwd, env=args.env, timeout=args.timeout, grace=args.grace,
        )  # fmt: skip


def _spelling(args: argparse.Namespace, name: str) -> str:
    """An option as it was given, which may have been as a property."""
    from governor.cli.limits import OPTIONS

    for one, _ in args.properties:
        if OPTIONS.get(one.target) == name:
            return f"-p {one.name}"
    return f"--{name.replace('_', '-')}"


def run_in(
    governor: Governor,
    containers: list[Container],
    command: list[str],
    prefix: Sequence[str] = (),
    **options: Any,
) -> int:
    """Run a command in containers that are there, with its signals; returns its exit code.

    ``prefix``: a program, and its arguments, that becomes the command. ``options`` are
    `Governor.spawn`'s.
    """
    with signals_held():
        job = governor.spawn(
            [*prefix, *command], name=os.path.basename(command[0]), containers=containers, **options
        )
        with signals_forwarded(lambda received: _pass_on(job, received)):
            result = job.wait()
    explain(command[0], result)
    return result.exit_code


def _pass_on(job: Job, received: signal.struct_siginfo) -> None:
    """As the terminal would: what is typed is for the group, what is sent for its first process."""
    if received.si_code == BY_TERMINAL:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, received.si_signo)
    else:
        job.signal(received.si_signo)
