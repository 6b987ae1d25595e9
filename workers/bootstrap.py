"""From a fresh fork of the spawner to the job: the worker's first steps.

Everything that must hold for the job is in place before it runs: stdio, working
directory, affinity, filter. Then the worker says so and waits until it has been put into
its containers; only then does it become the job.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from typing import NoReturn

from governor.results import NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE
from governor.wire.codec import encode
from governor.wire.job import SPEC, TO_WORKER, Bind, Failed, Go, JobSpec, Ready
from workers import channel
from workers.membership import STARTING

_OBJECTS = 64
_LARGEST = 480
"""How many objects of each size up to how many bytes there is room for when memory is trapped."""
_BLOCK = 60_000
"""The same for what is larger, in bytes altogether."""


def main(spec_fd: int, stdin: int, stdout: int, stderr: int, report_fd: int) -> NoReturn:
    """Become the job described in the memory file ``spec_fd``. Never returns."""
    report = socket.socket(fileno=report_fd)
    step = "read the job's specification"
    try:
        spec = _read_spec(spec_fd)
        step = "set up standard input and output"
        _set_stdio(stdin, stdout, stderr)
        step = "join the process group"
        _set_session(spec.pgid)
        _handle_nothing()
        step = f"enter the working directory {os.fsdecode(spec.cwd)}"
        os.chdir(spec.cwd)
        os.umask(spec.umask)
        step = "set the CPU affinity"
        if spec.cpus:
            os.sched_setaffinity(0, spec.cpus)
        if not spec.callable:
            _call_oneself(STARTING)
        step = "install the seccomp filter"
        _install_filter(spec.filter, report)
        step = "bind its memory to nodes"
        _wait_for_go(report)
    except Exception as error:
        _fail(report, error, step)
    _ignore_nothing()
    if spec.callable:
        _call(spec, report)
    _exec(spec, report)


def _read_spec(spec_fd: int) -> JobSpec:
    size = os.fstat(spec_fd).st_size
    spec: JobSpec = SPEC.decode(os.pread(spec_fd, size, 0))
    os.close(spec_fd)
    return spec


def _set_stdio(stdin: int, stdout: int, stderr: int) -> None:
    for target, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, target)
    for descriptor in (stdin, stdout, stderr):
        if descriptor > 2:
            os.close(descriptor)


def _set_session(pgid: int) -> None:
    """Share the caller's terminal and its signals, or be out of their reach."""
    if pgid:
        os.setpgid(0, pgid)
    else:
        os.setsid()


def _install_filter(program: bytes, report: socket.socket) -> None:
    """From here on trapped calls wait for the agent, so nothing may make one before it listens.

    Not even for memory: what it takes to hand the listener over is there before.
    """
    from governor.errors import GovernorError
    from workers import seccomp
    from workers.syscalls import table

    ready = encode(Ready(""))
    memory = table().memory
    room = _make_room() if seccomp.tests(program, {memory.mmap, memory.brk}) else None
    try:
        listener = seccomp.install(program)
    except (OSError, GovernorError) as error:
        # The job is not harmed; that nothing is enforced for it is said by the supervisor.
        channel.send(report, Ready(str(error)))
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        socket.send_fds(report, [ready], [listener])
    os.close(listener)
    del room


def _make_room() -> object:
    """Have some free memory, which Python and the C library keep while the result exists.

    Python's arenas go back to the kernel when nothing is left in them; a C library keeps more
    than a block of this size.
    """
    bytearray(_BLOCK)
    small = [[bytes(size) for _ in range(_OBJECTS)] for size in range(0, _LARGEST, 16)]
    return [objects[-1] for objects in small]


def _call_oneself(name: bytes) -> None:
    """Set the name that a process has until its next exec."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(name)


def _wait_for_go(report: socket.socket) -> None:
    """Until the process is in its containers, which may have a say in where its memory lies."""
    while (received := channel.receive(report, TO_WORKER)) is not None:
        match received[0]:
            case Bind(nodes):
                from workers import memory

                memory.bind(nodes)
            case Go():
                return
    os._exit(OWN_FAILURE)


def _handle_nothing() -> None:
    """Let a signal do to the worker what it would do to the job: it may be meant for that already.

    What the caller ignores stays ignored.
    """
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _ignore_nothing() -> None:
    """Give the job what Python itself ignores, and the caller never asked for."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _exec(spec: JobSpec, report: socket.socket) -> NoReturn:
    """Run the program; the report socket closes with the exec, which tells that it worked."""
    try:
        _find_and_exec(spec)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError | NotADirectoryError) else None
        _fail(report, error, f"run {os.fsdecode(spec.argv[0])}", code or NOT_EXECUTABLE)


def _find_and_exec(spec: JobSpec) -> NoReturn:
    """As execvp(3): searched for in PATH, and a file that says no interpreter is for the shell."""
    if not spec.argv[0]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        os.execvpe(spec.argv[0], spec.argv, spec.env)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execve("/bin/sh", [b"/bin/sh", error.filename, *spec.argv[1:]], spec.env)


def _call(spec: JobSpec, report: socket.socket) -> NoReturn:
    """Run a callable that came pickled by multiprocess; its exception gives exit code 1."""
    code = 1
    try:
        report.close()
        # There is no exec here to close what the spawner has open.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        code = _run_callable(spec)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _run_callable(spec: JobSpec) -> int:
    import sys

    os.environb.clear()
    os.environb.update(spec.env)
    sys.path[:] = spec.modules
    # The spawner's own streams were set up for other descriptors.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    from workers.pickles import unpack

    try:
        # What names suffice for does not mention dill, which takes a while to import.
        function, args, kwargs = unpack(spec.callable, whole=b"dill" in spec.callable)
        function(*args, **kwargs)
    except SystemExit as exit:
        return _exit_code(exit)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _exit_code(exit: SystemExit) -> int:
    """What the interpreter would exit with: a code, 0 for None, 1 for a message."""
    import sys

    if exit.code is None or isinstance(exit.code, int):
        return (exit.code or 0) & 0xFF
    print(exit.code, file=sys.stderr)
    return 1


def _fail(report: socket.socket, error: Exception, step: str, code: int = OWN_FAILURE) -> NoReturn:
    number = getattr(error, "errno", None) or 0
    channel.send(report, Failed(number, step))
    os._exit(code)
