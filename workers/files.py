"""Open files of processes: how many descriptors, and how many different files behind them.

A file is what the kernel calls a ``struct file``: a dup, an inherited or a received descriptor
shows the same one. kcmp(2) tells whether two descriptors do, and puts files into an order.

Everything here may be watched changing: a process or a descriptor that goes away meanwhile is
not counted, unless another holder of the same file was seen.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from workers.resources import NONE_KNOWN

KCMP_FILE = 0
KCMP_VM = 1
KCMP_FILES = 2
_EQUAL = 0
_LESS = 1

Holder = tuple[int, int]
"""A thread's id and the number of a descriptor in its table."""
_File = list[Holder]
"""One open file, as far as known: the descriptors that were found to show it."""


class _Process(NamedTuple):
    """A process whose descriptors are to be counted; ``tables`` are told by one thread each."""

    start: int
    pid: int
    ppid: int
    tables: dict[int, list[int]]


def kcmp(pid1: int, pid2: int, kind: int, index1: int = 0, index2: int = 0) -> int:
    """Compare a resource of two threads: 0 the same, 1 less, 2 greater, 3 different, -1 failed.

    It fails when either is gone or closed, or may not be inspected by us.
    """
    return _kcmp()(pid1, pid2, kind, index1, index2)


def descriptors(pid: int, proc: str = "/proc", threads: int | None = None) -> int | None:
    """Descriptors in all the tables of a process; 0 when it is gone, None when unreadable.

    ``threads`` is how many it has, if that is known: a single one has a single table. Where the
    kernel tells the number as a size (Linux 6.2) that of any process is readable, elsewhere not
    that of one which is not dumpable.
    """
    try:
        if threads == 1:
            return _table_size(f"{proc}/{pid}/fd")
        return sum(_table_size(f"{proc}/{pid}/task/{tid}/fd") for tid in _tables(pid, proc))
    except PermissionError:
        return None


def upper_bound(
    pids: Iterable[int], threads: Mapping[int, int] = NONE_KNOWN, proc: str = "/proc"
) -> int | None:
    """Descriptors of all these processes together; None when some process is unreadable.

    ``threads``: how many these have, if that is known.
    """
    total = 0
    for pid in pids:
        number = descriptors(pid, proc, threads.get(pid))
        if number is None:
            return None
        total += number
    return total


def distinct(pids: Iterable[int], proc: str = "/proc") -> tuple[int, list[int]]:
    """How many different open files these processes hold, and the pids that are unreadable.

    Most descriptors are inherited: each is first compared with the same number in the parent.
    What is left can only be the same file if /proc names it alike, and is put into kcmp's order
    name by name.
    """
    processes, unreadable = _processes(pids, proc)
    by_name: defaultdict[str, list[_File]] = defaultdict(list)
    for file in _apart_from_parents(processes):
        name = _name(file, proc)
        if name is not None:
            by_name[name].append(file)
    return sum(_count_different(files) for files in by_name.values()), unreadable


def holders(pids: Iterable[int], proc: str = "/proc") -> tuple[list[Holder], list[int]]:
    """All descriptors of these processes, and the pids that are unreadable."""
    processes, unreadable = _processes(pids, proc)
    found = [
        (tid, number)
        for process in processes
        for tid, numbers in process.tables.items()
        for number in numbers
    ]
    return found, unreadable


def name(holder: Holder, proc: str = "/proc") -> str | None:
    """What /proc calls the file behind a descriptor, which asks no file system; None: closed."""
    return _name([holder], proc)


def details(holder: Holder, proc: str = "/proc") -> bytes:
    """What /proc tells of a descriptor (``fdinfo``, proc(5)); empty when it is closed."""
    try:
        with open(f"{proc}/{holder[0]}/fdinfo/{holder[1]}", "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def count_different(found: Iterable[Holder]) -> int:
    """How many different open files these descriptors show, which must be of one kind."""
    return _count_different([[holder] for holder in found])


def exiting(pid: int, proc: str = "/proc") -> bool:
    """Whether a process is on its way out: without memory, not even its owner may look into it."""
    try:
        with open(f"{proc}/{pid}/statm", "rb", buffering=0) as file:
            return file.read().startswith(b"0 ")
    except (FileNotFoundError, ProcessLookupError):
        return True


def _processes(pids: Iterable[int], proc: str) -> tuple[list[_Process], list[int]]:
    """The processes with their descriptors, parents before children, and the unreadable ones."""
    processes: list[_Process] = []
    unreadable: list[int] = []
    for pid in pids:
        try:
            processes.append(_process(pid, proc))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            if descriptors(pid, proc) != 0:
                unreadable.append(pid)
    return sorted(processes), unreadable


def _process(pid: int, proc: str) -> _Process:
    with open(f"{proc}/{pid}/stat", "rb", buffering=0) as file:
        fields = file.read().rpartition(b")")[2].split()
    tables: dict[int, list[int]] = {}
    for tid in _tables(pid, proc):
        try:
            tables[tid] = [int(name) for name in os.listdir(f"{proc}/{pid}/task/{tid}/fd")]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return _Process(int(fields[22 - 3]), pid, int(fields[4 - 3]), tables)


def _apart_from_parents(processes: list[_Process]) -> list[_File]:
    """All files, those that children have under their parents' numbers taken together."""
    compare = _kcmp()
    files: list[_File] = []
    known: dict[int, tuple[int, dict[int, _File]]] = {}
    for process in processes:
        above = known.get(process.ppid)
        for tid, numbers in process.tables.items():
            parent, inherited = above if above is not None else (0, {})
            own: dict[int, _File] = {}
            for number in numbers:
                same = inherited.get(number)
                if same and compare(tid, parent, KCMP_FILE, number, number) == _EQUAL:
                    same.append((tid, number))
                    own[number] = same
                else:
                    own[number] = [(tid, number)]
                    files.append(own[number])
            # A thread with a table of its own got it from a thread of the same process.
            above = known.setdefault(process.pid, (tid, own))
            # Brothers whose parent is no member have much in common all the same.
            known.setdefault(process.ppid, (tid, own))
    return files


def _count_different(files: list[_File]) -> int:
    """How many of these files, which all have the same name, are different and still open."""
    if len(files) == 1:
        return 1
    ordered: list[_File] = []
    for file in files:
        _insert(ordered, file)
    return len(ordered)


def _insert(ordered: list[_File], file: _File) -> None:
    """Put a file where it belongs, unless it is there already or has been closed."""
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        other = ordered[middle]
        result = _compare(file, other)
        if not file:
            return
        if not other:
            del ordered[middle]
            high -= 1
        elif result == _EQUAL:
            other.extend(file)
            return
        elif result == _LESS:
            high = middle
        else:
            low = middle + 1
    ordered.insert(low, file)


def _compare(one: _File, other: _File) -> int:
    """kcmp of two files. Holders that turn out to be gone are dropped from the lists."""
    compare = _kcmp()
    while one and other:
        (tid1, number1), (tid2, number2) = one[0], other[0]
        result = compare(tid1, tid2, KCMP_FILE, number1, number2)
        if result >= 0:
            return result
        gone = [file for file in (one, other) if not _is_open(*file[0])]
        if not gone:
            break
        for file in gone:
            del file[0]
    return -1


def _is_open(tid: int, number: int) -> bool:
    return os.path.lexists(f"/proc/{tid}/fd/{number}")


def _name(file: _File, proc: str) -> str | None:
    """What /proc calls a file, which asks no file system; None when nobody holds it any more."""
    for tid, number in file:
        try:
            return os.readlink(f"{proc}/{tid}/fd/{number}")
        except OSError:
            continue
    return None


def _tables(pid: int, proc: str) -> list[int]:
    """One thread for each table of descriptors in a process; none when it is gone.

    Threads share a table but for those that called unshare(CLONE_FILES), and a leader that
    exited before the others has none.
    """
    try:
        if os.stat(f"{proc}/{pid}/task").st_nlink == 3:
            return [pid]
        threads = [int(name) for name in os.listdir(f"{proc}/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    if len(threads) > 1 and _table_size(f"{proc}/{pid}/fd") == 0:
        threads.remove(pid)
    found = threads[:1]
    for tid in threads[1:]:
        if all(kcmp(tid, other, KCMP_FILES) > _EQUAL for other in found):
            found.append(tid)
    return found


def _table_size(path: str) -> int:
    try:
        return os.stat(path).st_size if _size_is_number() else len(os.listdir(path))
    except (FileNotFoundError, ProcessLookupError):
        return 0


@cache
def _size_is_number() -> bool:
    """Whether the size of a descriptor directory is the number of descriptors (Linux 6.2)."""
    fd = os.open("/proc/self/fd", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fstat(fd).st_size > 0
    finally:
        os.close(fd)


@cache
def _kcmp() -> Callable[[int, int, int, int, int], int]:
    """The system call, without a function of Python's around it: it is called by the thousand."""
    import ctypes
    from functools import partial

    from workers.syscalls import table

    syscall: Callable[..., int] = ctypes.PyDLL(None).syscall
    return partial(syscall, table().kcmp)
